"""Blocks of a pretrained encoder left out at random, and the statistics of its norms."""

import copy
import time

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import DropPath  # pyright: ignore[reportPrivateImportUsage]
from torch import nn
from torchvision.ops import StochasticDepth

from segzoo.train.config import RunConfig
from segzoo.train.fit import fit, prepare
from segzoo.train.layers import drop_blocks
from segzoo.train.loop import train_epoch
from segzoo.train.recovery.saving import StateKeeper

NAME = "mobilenetv3_small_050"


def rates(module):
    return [m.p for m in module.modules() if isinstance(m, StochasticDepth)]


@pytest.mark.parametrize("name", [NAME, "resnet10t", "convnext_atto", "vit_tiny_patch16_224"])
def test_the_rate_rises_to_the_last_block_as_timm_s(name):
    encoder = timm.create_model(name)
    count = drop_blocks(encoder, 0.2)
    found = rates(encoder)
    assert found[0] == 0
    assert found[-1] == pytest.approx(0.2)
    assert found == sorted(found)
    assert len(set(found)) == count
    its_own = timm.create_model(name, drop_path_rate=0.2)
    theirs = [m.drop_prob for m in its_own.modules() if isinstance(m, DropPath)]
    if name.startswith(("vit", "convnext")):  # timm counts other blocks of the convolutional ones
        assert [rate for rate in found if rate] == pytest.approx(theirs)


def test_a_picture_loses_the_whole_branch_or_keeps_it_scaled():
    encoder = timm.create_model("resnet10t").train()
    drop_blocks(encoder, 0.5)
    last = [m for m in encoder.modules() if isinstance(m, StochasticDepth)][-1]
    torch.manual_seed(0)
    left_N = last(torch.ones(400, 3, 2, 2)).flatten(1)
    assert set(left_N.flatten().tolist()) == {0.0, 2.0}
    assert (left_N == left_N[:, :1]).all()
    assert left_N[:, 0].mean() == pytest.approx(1, abs=0.15)


def test_nothing_is_left_out_outside_of_training_nor_saved():
    torch.manual_seed(0)
    plain, dropping = timm.create_model("resnet10t"), timm.create_model("resnet10t")
    dropping.load_state_dict(plain.state_dict())
    drop_blocks(dropping, 0.9)
    assert dropping.state_dict().keys() == plain.state_dict().keys()
    images_BCHW = torch.rand(2, 3, 64, 64)
    assert torch.equal(dropping.eval()(images_BCHW), plain.eval()(images_BCHW))


def test_rates_of_its_own_are_kept_and_other_networks_left_alone():
    own = timm.create_model("convnext_atto", drop_path_rate=0.1)
    before = str(own)
    assert drop_blocks(own, 0.5) == 0
    assert str(own) == before
    assert drop_blocks(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), 0.5) == 0


def test_a_run_drops_blocks_of_a_pretrained_encoder_alone(hk_root, tmp_path):
    torch.manual_seed(5)
    weights = tmp_path / "w.safetensors"
    save_file(timm.create_model(NAME).state_dict(), weights)
    options = {"encoder": NAME, "width": 2, "encoder_weights": str(weights)}

    def model(**changes):
        how = {"model": "unet", "data": "hk", "root": str(hk_root), "model_options": options}
        return prepare(RunConfig(**{**how, **changes}), tmp_path / "run").model

    assert max(rates(model())) == pytest.approx(RunConfig().drop_path)
    assert rates(model(drop_path=0.0)) == []
    assert rates(model(model_options={**options, "encoder_weights": "none"})) == []


def test_a_resumed_run_leaves_out_the_same_blocks(hk_root, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_file(timm.create_model(NAME).state_dict(), weights)
    how = {
        "model": "unet", "data": "hk", "root": hk_root, "size": 64, "batch_size": 4, "workers": 0,
        "model_options": {"encoder": NAME, "width": 2, "encoder_weights": str(weights)},
        "schedule": "constant", "precision": "fp32", "drop_path": 0.5, "progress": False,
    }  # fmt: skip
    whole = fit(**how, epochs=2, out=tmp_path / "a")
    fit(**how, epochs=1, out=tmp_path / "b")
    assert fit(resume=tmp_path / "b", epochs=2, progress=False).scores == whole.scores


@pytest.mark.parametrize("kept", [True, False])
def test_norms_of_a_pretrained_encoder_keep_their_statistics(hk_root, tmp_path, kept):
    weights = tmp_path / "w.safetensors"
    save_file(timm.create_model(NAME).state_dict(), weights)
    options = {"encoder": NAME, "width": 2, "encoder_weights": str(weights)}
    config = RunConfig(
        model="unet", data="hk", root=str(hk_root), model_options=options, size=(64, 64),
        batch_size=4, workers=0, freeze_norms=kept,
    )  # fmt: skip
    run = prepare(config, tmp_path / "run")
    before = copy.deepcopy(run.model.state_dict())
    train_epoch(run, StateKeeper(0), time.perf_counter())
    changed = {
        name.rpartition(".")[0]
        for name, value in run.model.state_dict().items()
        if not torch.equal(value, before[name]) and name.endswith(("running_mean", "running_var"))
    }
    assert any("encoder" in name for name in changed) != kept
    assert any("decoder" in name for name in changed)
    learnt = run.model.state_dict()["network.encoder.bn1.weight"]
    assert not torch.equal(learnt, before["network.encoder.bn1.weight"])
