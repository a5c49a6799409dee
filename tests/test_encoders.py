"""Encoders of timm: features, weights from packages, files and the hub, and what is refused."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from segzoo.errors import SegzooError
from segzoo.model.encoders import logit_gain, make_encoder
from segzoo.model.network import create_model
from segzoo.model.pixels import normalization

SMALL = "mobilenetv3_small_050"


def make(name=SMALL, weights=None, in_channels=3, **how):
    return make_encoder(name, weights, in_channels=in_channels, owner="unet", **how)


@pytest.mark.parametrize(
    ("name", "reductions"),
    [
        (SMALL, (2, 4, 8, 16, 32)),
        ("resnet10t", (2, 4, 8, 16, 32)),
        ("convnext_atto", (4, 8, 16, 32)),
        ("pvt_v2_b0", (4, 8, 16, 32)),
    ],
)
def test_features_are_at_the_reductions_that_are_said(name, reductions):
    made = make(name, in_channels=4)
    assert made.reductions == reductions
    maps = made.network(torch.randn(2, 4, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 64 // r, 96 // r) for c, r in zip(made.channels, reductions, strict=True)
    ]
    assert (made.mean, made.std) == (None, None)


def test_only_the_levels_asked_for_are_made_and_the_rest_is_frozen():
    made = make(finest=4, coarsest=8)
    assert made.reductions == (4, 8)
    total = torch.stack([m.sum() for m in made.network(torch.randn(2, 3, 64, 64))]).sum()
    total.backward()
    for name, parameter in made.network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [SMALL, "convnext_atto"])
def test_weights_come_from_a_file(tmp_path, suffix, name):
    torch.manual_seed(3)
    whole = timm.create_model(name).state_dict()
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": whole}, file)
    else:
        save_file(whole, file)
    made = make(name, str(file))
    by_name = {re.sub("[._]", "", key): value for key, value in whole.items()}
    for key, value in made.network.state_dict().items():
        assert torch.equal(value, by_name[re.sub("[._]", "", key)]), key
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    assert (made.mean, made.std) == (tuple(config.mean), tuple(config.std))


def test_the_first_convolution_is_adapted_to_other_channels(tmp_path):
    whole = timm.create_model(SMALL).state_dict()
    save_file(whole, tmp_path / "w.safetensors")
    grey = make(SMALL, str(tmp_path / "w.safetensors"), in_channels=1)
    stem = whole["conv_stem.weight"]
    got = grey.network.state_dict()["conv_stem.weight"]
    assert torch.allclose(got, stem.sum(1, keepdim=True), atol=1e-6)
    assert grey.mean == (sum((0.485, 0.456, 0.406)) / 3,)
    four = make(SMALL, str(tmp_path / "w.safetensors"), in_channels=4)
    assert four.mean is not None and len(four.mean) == 4


def test_weights_of_a_trained_model_are_taken_from_its_encoder(tmp_path):
    options = {"encoder": SMALL, "encoder_weights": "none", "width": 2}
    trained = create_model("unet", options=options).network
    save_file(trained.state_dict(), tmp_path / "best.safetensors")
    again = create_model(
        "unet", options={**options, "encoder_weights": str(tmp_path / "best.safetensors")}
    ).network
    one, two = (n.get_submodule("encoder").state_dict() for n in (trained, again))
    assert all(torch.equal(one[key], two[key]) for key in one)


PACKAGE = """
from segzoo import EncoderWeightsSpec
def segzoo_encoder_weights():
    return [EncoderWeightsSpec(encoder="mobilenetv3_small_050", tag="{tag}", load="{module}.w:load",
                               mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))]
"""
LOAD = """
import timm, torch
def load():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return timm.create_model("mobilenetv3_small_050").state_dict()
"""


def test_weights_come_from_an_installed_package(install):
    install("acme", PACKAGE.format(tag="imagenet", module="acme"), files={"w.py": LOAD})
    made = make(weights="imagenet")
    assert (made.mean, made.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    network = create_model("unet", options={"encoder": SMALL, "width": 2}).network
    assert normalization("auto", 3, network) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert normalization("half", 3, network)[0] == (0.5, 0.5, 0.5)
    install("bolt", PACKAGE.format(tag="imagenet", module="bolt"), files={"w.py": LOAD})
    with pytest.raises(SegzooError, match="come with several packages\nsay which: acme/"):
        make(weights="imagenet")
    assert make(weights=f"bolt/{SMALL}.imagenet").mean == (0.1, 0.2, 0.3)


def test_the_hub_is_asked_for_timm_s_own_weights(monkeypatch):
    asked = []

    def create(name, *, pretrained, **how):
        asked.append((name, pretrained))
        return original(name, pretrained=False, **how)

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    assert make("resnet18", "imagenet").mean == (0.485, 0.456, 0.406)
    assert asked[-1] == ("resnet18", True)
    make("resnet18", "a1_in1k")
    assert asked[-1] == ("resnet18.a1_in1k", True)


def test_a_hub_that_does_not_answer_is_one_error(monkeypatch):
    def create(name, *, pretrained, **how):
        if pretrained:
            raise OSError("no route to host")
        return original(name, **how)

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(SegzooError, match="no route to host\n.*encoder_weights=FILE"):
        make("resnet18", "imagenet")


def refused(tmp_path):
    whole = timm.create_model(SMALL).state_dict()
    save_file({k: v for k, v in whole.items() if k != "blocks.1.0.conv_pw.weight"},
              tmp_path / "part.safetensors")  # fmt: skip
    (tmp_path / "text.pth").write_text("no tensors")
    return [
        (("mobilenetv3_smal_050", None), "timm has no network .*\ndid you mean"),
        (("vit_tiny_patch16_224", None), "its features have reductions"),
        (("swin_tiny_patch4_window7_224", None), "cannot use encoder=swin"),
        ((SMALL, "lion"), "has no weights `lion`\n.*lamb_in1k"),
        ((SMALL, str(tmp_path / "gone.pth")), "no such file"),
        ((SMALL, str(tmp_path / "text.pth")), "cannot be read"),
        ((SMALL, str(tmp_path / "part.safetensors")), "for `blocks.1.0.conv_pw.weight`"),
        (("resnet10t", str(tmp_path / "part.safetensors")), "do not fit encoder=resnet10t"),
    ]


def test_what_cannot_be_used_is_refused_by_name(tmp_path):
    for arguments, message in refused(tmp_path):
        with pytest.raises(SegzooError, match=message):
            make(*arguments)


def test_the_options_of_the_networks_exclude_what_has_no_meaning():
    for options, message in (
        ({"up": "unpool"}, "up=unpool needs U-Net"),
        ({"down": "avg"}, "halves in its own way"),
    ):
        with pytest.raises(SegzooError, match=message):
            create_model("unet", options={"encoder": SMALL, **options})


def test_few_weights_and_many_classes_need_a_gain():
    assert logit_gain(144, 2) == logit_gain(576, 2) == logit_gain(144, 1) == 1
    assert logit_gain(144, 16) == pytest.approx(4)
    assert logit_gain(32, 2) == pytest.approx(4.5)
