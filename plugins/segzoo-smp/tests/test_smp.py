from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch

import segzoo
from segzoo import SegzooError
from segzoo.model.network import count_parameters
from segzoo.testing import ModelConformance

SMALL = {"encoder": "tu-test_resnet"}
VIT = {"encoder": "tu-test_vit"}
ARCHITECTURES = {
    f"smp-{kind.__name__.lower()}": kind for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()
}


def build(model, in_channels=3, num_classes=2, **options) -> Any:
    """Return the network without the core's wrapper; its encoder is tiny unless one is given."""
    small = VIT if model == "smp-dpt" else SMALL
    return segzoo.create_model(
        model, in_channels=in_channels, num_classes=num_classes, options={**small, **options}
    ).network


def test_all_of_smp_is_there():
    provided = {
        name
        for plugin in segzoo.get_manager().plugins
        if plugin.distribution == "segzoo-smp"
        for name in plugin.provides["models"]
    }
    assert provided == set(ARCHITECTURES)
    assert len(provided) == 12


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_default_options_are_smps_own_and_the_weights_are_interchangeable(model):
    small = VIT if model == "smp-dpt" else SMALL
    further = {"dynamic_img_size": True} if model == "smp-dpt" else {}
    plain = ARCHITECTURES[model](
        encoder_name=small["encoder"], encoder_weights=None, classes=5, **further
    ).eval()
    network = build(model, num_classes=5).eval()
    assert list(network.state_dict()) == list(plain.state_dict())
    network.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        assert torch.equal(network(images), plain(images))
        # Dropout and the like come into it in training.
        torch.manual_seed(0)
        ours = network.train()(images.repeat(2, 1, 1, 1))
        torch.manual_seed(0)
        assert torch.equal(ours, plain.train()(images.repeat(2, 1, 1, 1)))
    assert isinstance(network, ARCHITECTURES[model])


def test_golden_parameters():
    with torch.device("meta"):
        network = build("smp-unet", encoder="resnet34")
    assert count_parameters(network) == 24_436_514
    assert network.encoder.layer4[2].conv2.weight.requires_grad


@pytest.mark.parametrize(
    ("model", "options", "argument", "expected"),
    [
        ("smp-unet", {"decoder_width": 3}, "decoder_channels", (48, 24, 12, 6, 3)),
        ("smp-unet", {"decoder_width": 3, "depth": 3}, "decoder_channels", (12, 6, 3)),
        ("smp-unet", {"depth": 4}, "encoder_depth", 4),
        ("smp-unet", {"norm": "identity"}, "decoder_use_norm", "identity"),
        (
            "smp-unet",
            {"norm": "instancenorm"},
            "decoder_use_norm",
            {"type": "instancenorm", "affine": True},
        ),
        ("smp-unetplusplus", {"attention": "scse"}, "decoder_attention_type", "scse"),
        ("smp-manet", {"interpolation": "bicubic"}, "decoder_interpolation", "bicubic"),
        ("smp-manet", {"pab_channels": 3}, "decoder_pab_channels", 3),
        ("smp-linknet", {"norm": "identity"}, "decoder_use_norm", "identity"),
        ("smp-fpn", {"merge": "cat"}, "decoder_merge_policy", "cat"),
        ("smp-fpn", {"dropout": 0.0}, "decoder_dropout", 0.0),
        ("smp-fpn", {"depth": 4}, "upsampling", 2),
        ("smp-fpn", {"pyramid_channels": 8}, "decoder_pyramid_channels", 8),
        ("smp-fpn", {"segmentation_channels": 64}, "decoder_segmentation_channels", 64),
        ("smp-pspnet", {"psp_out_channels": 8}, "psp_out_channels", 8),
        ("smp-pspnet", {"depth": 4}, "upsampling", 16),
        ("smp-pspnet", {"dropout": 0.5}, "psp_dropout", 0.5),
        ("smp-deeplabv3", {"output_stride": 16}, "encoder_output_stride", 16),
        ("smp-deeplabv3", {"atrous_rate": 6}, "decoder_atrous_rates", (6, 12, 18)),
        ("smp-deeplabv3", {"separable": True}, "decoder_aspp_separable", True),
        ("smp-deeplabv3plus", {"decoder_channels": 8}, "decoder_channels", 8),
        ("smp-deeplabv3plus", {"dropout": 0.1}, "decoder_aspp_dropout", 0.1),
        ("smp-pan", {"output_stride": 32}, "encoder_output_stride", 32),
        ("smp-pan", {"interpolation": "nearest"}, "decoder_interpolation", "nearest"),
        ("smp-upernet", {"decoder_channels": 8}, "decoder_channels", 8),
        ("smp-segformer", {"segmentation_channels": 8}, "decoder_segmentation_channels", 8),
        ("smp-dpt", {"readout": "add", "decoder_width": 4}, "decoder_readout", "add"),
        (
            "smp-dpt",
            {"depth": 3, "decoder_width": 4},
            "decoder_intermediate_channels",
            [4, 8, 16],
        ),
        ("smp-dpt", {"fusion_channels": 8, "decoder_width": 4}, "decoder_fusion_channels", 8),
    ],
)
def test_options_reach_smp(model, options, argument, expected):
    network = build(model, **options)
    assert network.config[argument] == expected
    assert network.saved_options.items() >= options.items()


@pytest.mark.parametrize(
    ("model", "options", "stride", "minimum"),
    [
        ("smp-unet", {}, 32, 32),
        ("smp-unet", {"depth": 3}, 8, 8),
        ("smp-linknet", {"norm": "instancenorm"}, 32, 64),  # not defined on 1 x 1
        ("smp-pspnet", {}, 8, 8),
        ("smp-pspnet", {"encoder": "mit_b0"}, 8, 32),
        ("smp-deeplabv3", {"output_stride": 16}, 16, 16),
        ("smp-pan", {}, 16, 128),
        ("smp-dpt", {"decoder_width": 4}, 32, 32),
        ("smp-dpt", {"decoder_width": 4, "depth": 2}, 16, 16),
        ("smp-unet", {"encoder": "tu-test_maxvit"}, 160, 160),  # windows of 5 x 5
    ],
)
def test_stride_and_minimum_are_the_least_that_work(model, options, stride, minimum):
    network = build(model, **options).eval()
    assert (network.stride, network.minimum) == (stride, minimum)
    for height, width in ((stride, stride), (stride, 3 * stride), (minimum + stride, minimum)):
        assert network(torch.randn(1, 3, height, width)).shape == (1, 2, height, width)


def test_small_pictures_are_padded_by_their_border():
    network = build("smp-pan").eval()
    images = torch.randn(1, 3, 16, 32)
    padded = torch.nn.functional.pad(images, (0, 96, 0, 112), mode="replicate")
    with torch.inference_mode():
        assert torch.equal(network(images), network(padded)[..., :16, :32])


def test_parameters_that_the_logits_do_not_depend_on_are_frozen():
    network = build("smp-pspnet", encoder="tu-test_efficientnet").eval()
    idle = {n: p for n, p in network.named_parameters() if not p.requires_grad}
    assert idle
    assert len(idle) < len(dict(network.named_parameters()))
    assert idle.keys() <= network.state_dict().keys()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(images)
        for parameter in idle.values():
            parameter.fill_(torch.nan)
        assert torch.equal(before, network(images))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("smp-unet", {"attention": "scse", "decoder_width": 8}, "decoder_width=8"),
        ("smp-fpn", {"segmentation_channels": 48}, "segmentation_channels=48"),
        ("smp-unet", {"depth": 6}, "`depth`"),
        ("smp-pan", {"output_stride": 8}, "`output_stride`"),
        ("smp-unet", {"encoder": " "}, "encoder is empty"),
        ("smp-unet", {"encoder_weights": ""}, "encoder_weights is empty"),
    ],
)
def test_values_that_do_not_go_together_are_refused(model, options, message):
    with pytest.raises(SegzooError, match=message):
        build(model, **options)


class TestUnet(ModelConformance):
    model = "segzoo-smp/smp-unet"
    options = {**SMALL, "decoder_width": 4}


class TestUnetPlusPlus(ModelConformance):
    model = "segzoo-smp/smp-unetplusplus"
    options = {**SMALL, "decoder_width": 4}


class TestMAnet(ModelConformance):
    model = "segzoo-smp/smp-manet"
    # With fewer channels, all ReLUs of an attention block are dead at the start.
    options = {"encoder": "resnet18", "decoder_width": 4, "pab_channels": 8}


class TestLinknet(ModelConformance):
    model = "segzoo-smp/smp-linknet"
    options = SMALL


class TestFPN(ModelConformance):
    model = "segzoo-smp/smp-fpn"
    options = {**SMALL, "pyramid_channels": 16, "segmentation_channels": 32}


class TestPSPNet(ModelConformance):
    model = "segzoo-smp/smp-pspnet"
    options = {**SMALL, "psp_out_channels": 16}


class TestDeepLabV3(ModelConformance):
    model = "segzoo-smp/smp-deeplabv3"
    options = {**SMALL, "decoder_channels": 16}


class TestDeepLabV3Plus(ModelConformance):
    model = "segzoo-smp/smp-deeplabv3plus"
    options = {**SMALL, "decoder_channels": 16}


class TestPAN(ModelConformance):
    model = "segzoo-smp/smp-pan"
    options = {**SMALL, "decoder_channels": 16}


class TestUPerNet(ModelConformance):
    model = "segzoo-smp/smp-upernet"
    options = {**SMALL, "decoder_channels": 16}


class TestSegformer(ModelConformance):
    model = "segzoo-smp/smp-segformer"
    options = {**SMALL, "segmentation_channels": 16}


class TestDPT(ModelConformance):
    model = "segzoo-smp/smp-dpt"
    options = {**VIT, "decoder_width": 16, "fusion_channels": 16}
