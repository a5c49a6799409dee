"""Training over a pretrained encoder: its learning rate, and freezing it at first."""

import pytest
import timm
import torch
from helpers import saved_tensors
from safetensors.torch import load_file, save_file

from segzoo.model.network import create_model
from segzoo.train.config import RunConfig
from segzoo.train.fit import fit
from segzoo.train.optim import make_optimizer

ENCODER = {"encoder": "mobilenetv3_small_050", "width": 2}


@pytest.fixture
def pretrained_weights(tmp_path):
    torch.manual_seed(5)
    save_file(timm.create_model(ENCODER["encoder"]).state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def encoder_run(hk_root, out, weights, **settings):
    options = {**ENCODER, "encoder_weights": str(weights)}
    return fit(
        model="unet", data="hk", root=hk_root, out=out, model_options=options, size=32,
        batch_size=4, precision="fp32", workers=0, ema=0.0, weight_decay=0.0, progress=False,
        **settings,
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{"freeze_epochs": 2}, {"encoder_lr": 0.0}])
def test_a_pretrained_encoder_can_be_held(hk_root, tmp_path, pretrained_weights, settings):
    result = encoder_run(hk_root, tmp_path / "run", pretrained_weights, epochs=2, **settings)
    before, after = load_file(pretrained_weights), load_file(result.weights)
    for name, value in after.items():
        if name.startswith("encoder."):
            known = before[name.removeprefix("encoder.")]
            moving = "running" in name or "tracked" in name
            assert torch.equal(value, known) or (moving and "encoder_lr" in settings), name
    fresh = create_model("unet", options={**ENCODER, "encoder_weights": "none"}).network
    assert not torch.equal(after["head.weight"], fresh.state_dict()["head.weight"])


def test_a_held_encoder_learns_later_also_after_a_resume(hk_root, tmp_path, pretrained_weights):
    class Stop:
        def segzoo_epoch_end(self, run, epoch):
            if epoch == 2:
                raise KeyboardInterrupt

    settings = {"epochs": 3, "freeze_epochs": 1}
    whole = encoder_run(hk_root, tmp_path / "a", pretrained_weights, **settings)
    with pytest.raises(KeyboardInterrupt):
        encoder_run(hk_root, tmp_path / "b", pretrained_weights, observers=[Stop()], **settings)
    assert fit(resume=tmp_path / "b", progress=False).scores == whole.scores
    states = [saved_tensors(tmp_path / run) for run in "ab"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    stem = "conv_stem.weight"
    assert not torch.equal(
        states[0][f"model/network.encoder.{stem}"], load_file(pretrained_weights)[stem]
    )


def test_the_encoder_s_rate_is_a_multiple_of_the_other(pretrained_weights):
    options = {**ENCODER, "encoder_weights": str(pretrained_weights)}
    model = create_model("unet", options=options)
    optimizer = make_optimizer(model, RunConfig(lr=1e-2, encoder_lr=0.1))
    rates = {(group["pretrained"], group["lr"]) for group in optimizer.param_groups}
    assert rates == {(False, 1e-2), (True, 1e-3)}
    own = create_model("unet", options={**ENCODER, "encoder_weights": "none"})
    groups = make_optimizer(own, RunConfig(encoder_lr=0.1)).param_groups
    assert {group["pretrained"] for group in groups} == {False}
