import itertools
from typing import Any

import pytest
import torch

import segzoo
from segzoo.model.network import count_parameters
from segzoo.testing import ModelConformance
from segzoo_unet.network import build_unet
from segzoo_unet.plugin import UNetOptions

SMALL = {"width": 4, "depth": 3}
VARIANTS = [
    {"norm": norm, "down": down, "up": up}
    for norm, down, up in itertools.product(
        ("none", "batch", "group"),
        ("max", "avg", "conv"),
        ("deconv", "bilinear", "nearest", "unpool"),
    )
    if up != "unpool" or down == "max"
]


def build(in_channels=3, num_classes=2, **options) -> Any:
    return build_unet(
        in_channels=in_channels, num_classes=num_classes, options=UNetOptions(**options)
    )


def test_the_default_has_exactly_the_textbooks_parameters():
    with torch.device("meta"):
        assert count_parameters(build()) == 34_513_410


def test_golden_keys():
    keys = list(build(**SMALL).state_dict())
    assert keys == [
        *(f"encoder.{level}.{conv}.{part}" for level in range(3) for conv in (0, 2)
          for part in ("weight", "bias")),
        *(f"ups.{level}.conv.{part}" for level in range(2) for part in ("weight", "bias")),
        *(f"decoder.{level}.{conv}.{part}" for level in range(2) for conv in (0, 2)
          for part in ("weight", "bias")),
        "head.weight", "head.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))
def test_every_variant_gives_logits_of_the_input_size_and_gradients(variant):
    model = build(in_channels=4, num_classes=5, **SMALL, **variant)
    logits = model(torch.randn(2, 4, 16, 24))
    assert logits.shape == (2, 5, 16, 24)
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A bias before a batch norm has no effect, so its gradient is zero up to rounding.
        if not (variant["norm"] != "none" and name.endswith("bias")):
            assert parameter.grad.abs().sum() > 0, name


def test_unpooling_uses_the_indices_of_the_matching_pooling():
    model = build(width=1, depth=2, up="unpool")
    features = torch.arange(16.0).reshape(1, 1, 4, 4).flip(-1)
    pooled, indices = model.downs[0](features)
    model.ups[0].conv = torch.nn.Identity()
    restored = model.ups[0](pooled, indices)
    assert torch.equal(restored[restored > 0].sort().values, pooled[pooled > 0].sort().values)
    assert all(
        restored[0, 0].flatten()[i] == features[0, 0].flatten()[i] for i in indices.flatten()
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_stride_follows_the_depth(depth):
    model = segzoo.create_model("unet", options={"width": 2, "depth": depth})
    assert model.stride == 2 ** (depth - 1)
    assert model(torch.randn(1, 3, 19, 33)).shape == (1, 2, 19, 33)


def test_signals_keep_their_scale_at_the_start_and_logits_begin_near_zero():
    torch.manual_seed(0)
    model = build(width=16)
    features = {}
    model.decoder[-1].register_forward_hook(lambda *a: features.update(last=a[2].detach()))
    logits = model(torch.randn(1, 3, 64, 64)).detach()
    assert 0.1 < float(features["last"].square().mean().sqrt()) < 10
    assert float(logits.abs().mean()) < 0.5


class TestUNet(ModelConformance):
    model = "segzoo-unet/unet"
    options = {"width": 8}


class TestUNetWithNormsAndUnpooling(ModelConformance):
    model = "segzoo-unet/unet"
    options = {"width": 8, "norm": "batch", "up": "unpool"}


class TestUNetOverEncoder(ModelConformance):
    model = "segzoo-unet/unet"
    options = {"encoder": "mobilenetv3_small_050", "encoder_weights": "none", "width": 4}


class TestUNetOverAnEncoderThatBeginsAtAQuarter(ModelConformance):
    model = "segzoo-unet/unet"
    options = {
        "encoder": "convnext_atto", "encoder_weights": "none", "width": 4, "up": "deconv",
        "norm": "group", "depth": 4,
    }  # fmt: skip


def test_over_an_encoder_training_has_a_second_head_and_scoring_has_not():
    options = {"encoder": "resnet10t", "encoder_weights": "none", "width": 2}
    network = segzoo.create_model("unet", in_channels=3, num_classes=3, options=options)
    images = torch.randn(2, 3, 64, 96)
    output = network.train()(images)
    assert set(output) == {"out", "aux"}
    assert output["out"].shape == output["aux"].shape == (2, 3, 64, 96)
    output["aux"].sum().backward()
    head = network.get_submodule("network.head").weight
    deepest = network.get_submodule("network.decoder.0")
    assert head.grad is None
    assert all(p.grad is not None for p in deepest.parameters())
    assert isinstance(network.eval()(images), torch.Tensor)
