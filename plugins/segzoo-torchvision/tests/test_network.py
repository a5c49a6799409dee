"""The networks against torchvision's own."""

import pytest
import torch
from torchvision.models import get_model_weights, segmentation

import segzoo
from segzoo.model.network import count_parameters
from segzoo_torchvision import network as networks
from segzoo_torchvision.plugin import AuxNetworkOptions, NetworkOptions

WITH_AUX = [
    *("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
    "deeplabv3_mobilenet_v3_large",
]
LRASPP = "lraspp_mobilenet_v3_large"


def build(name, in_channels=3, num_classes=21, **options):
    kind = NetworkOptions if name == LRASPP else AuxNetworkOptions
    make = getattr(networks, f"build_{name}")
    return make(in_channels=in_channels, num_classes=num_classes, options=kind(**options))


def torchvisions(name, num_classes=21, **options):
    make = getattr(segmentation, name)
    return make(weights=None, weights_backbone=None, num_classes=num_classes, **options)


@pytest.mark.parametrize("name", [*WITH_AUX, LRASPP])
def test_parameters_and_keys_are_torchvisions(name):
    aux = {"aux": True} if name in WITH_AUX else {}
    with torch.device("meta"):
        model = build(name, **aux)
        other = torchvisions(name, **({"aux_loss": True} if aux else {}))
    assert count_parameters(model) == get_model_weights(name)["DEFAULT"].meta["num_params"]
    assert list(model.state_dict()) == list(other.state_dict())


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_without_the_auxiliary_head_it_has_no_parameters(name):
    with torch.device("meta"):
        keys, other = build(name).state_dict(), torchvisions(name).state_dict()
    assert list(keys) == list(other)
    assert not [key for key in keys if key.startswith("aux")]


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", LRASPP])
def test_logits_are_torchvisions(name):
    aux = name in WITH_AUX
    model = build(name, num_classes=4, **({"aux": True} if aux else {}))
    other = torchvisions(name, num_classes=4, **({"aux_loss": True} if aux else {}))
    other.load_state_dict(model.state_dict())
    images_BCHW = torch.randn(2, 3, 32, 48)
    for mode in (True, False):
        torch.manual_seed(3)  # for the dropout
        expected = other.train(mode)(images_BCHW)
        torch.manual_seed(3)
        output = model.train(mode)(images_BCHW)
        if mode and aux:
            assert torch.equal(output["aux"], expected["aux"])
            output = output["out"]
        assert torch.equal(output, expected["out"])
        assert output.shape == (2, 4, 32, 48)


def test_evaluation_leaves_the_auxiliary_head_out():
    model = build("deeplabv3_mobilenet_v3_large", num_classes=2, aux=True).eval()
    ran = []
    model.aux_classifier.register_forward_hook(lambda *_: ran.append(True))
    model(torch.randn(1, 3, 16, 16))
    assert not ran
    model.train()(torch.randn(2, 3, 16, 16))
    assert ran


@pytest.mark.parametrize(("name", "stride"), [("fcn_resnet50", 8), (LRASPP, 16)])
def test_the_stride_is_the_smallest_picture(name, stride):
    model = build(name, num_classes=2)
    assert model.stride == stride
    assert model.eval()(torch.randn(1, 3, stride, stride)).shape == (1, 2, stride, stride)
    assert model.train()(torch.randn(2, 3, stride, stride)).shape == (2, 2, stride, stride)


@pytest.mark.parametrize(("name", "first"), [("fcn_resnet50", "conv1"), (LRASPP, "0.0")])
def test_the_first_convolution_takes_other_channels(name, first):
    with torch.device("meta"):
        model, other = build(name, in_channels=5), torchvisions(name)
    for key, value in other.state_dict().items():
        shape = list(value.shape)
        if key == f"backbone.{first}.weight":
            shape[1] = 5
        assert list(model.state_dict()[key].shape) == shape


def test_its_fresh_weights_have_torchvisions_spread():
    torch.manual_seed(0)
    spread = float(build(LRASPP, in_channels=6).backbone["0"][0].weight.detach().std())
    assert spread == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1)  # fan out: 16 filters of 3 x 3


def test_lraspp_has_no_option_aux():
    with pytest.raises(segzoo.SegzooError, match="has no option `aux`"):
        segzoo.create_model("tv-lraspp-mobilenet-v3-large", options={"aux": True})
