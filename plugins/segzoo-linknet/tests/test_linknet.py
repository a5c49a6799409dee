from typing import Any

import pytest
import torch
from torch import nn

import segzoo
from segzoo.model.network import count_parameters
from segzoo.testing import ModelConformance
from segzoo_linknet.network import build_linknet
from segzoo_linknet.plugin import LinkNetOptions


def build(in_channels=3, num_classes=2, width=64) -> Any:
    return build_linknet(
        in_channels=in_channels, num_classes=num_classes, options=LinkNetOptions(width=width)
    )


def test_the_default_has_exactly_the_textbooks_parameters():
    with torch.device("meta"):
        assert count_parameters(build()) == 12_952_614


def test_golden_keys():
    keys = set(build(width=4).state_dict())
    assert len(keys) == 249
    for key in (
        "stem.0.0.weight", "encoder.0.blocks.3.1.running_mean", "encoder.3.shortcut.0.bias",
        "decoder.0.0.0.weight", "decoder.3.1.0.weight", "classifier.0.0.weight",
        "classifier.2.weight", "classifier.3.scale_K",
    ):  # fmt: skip
        assert key in keys


@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, (64, 64)), (4, 21, (64, 128))])
def test_logits_have_the_input_size_and_every_parameter_a_gradient(channels, classes, size):
    model = build(channels, classes, width=4)
    logits = model(torch.randn(2, channels, *size))
    assert logits.shape == (2, classes, *size)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_skips_are_added():
    model = build(width=4)  # in training, where batch norm keeps the signal's scale
    images = torch.randn(2, 3, 128, 128)
    before = model(images)
    with torch.no_grad():
        # Silence the deepest decoder block: what remains can only have come over the skips.
        for parameter in model.decoder[0].parameters():
            parameter.zero_()
    without = model(images)
    assert not torch.equal(before, without)
    assert float(without.detach().std()) > 0


def test_the_scale_of_the_classes_begins_as_the_identity():
    model = build(width=4).eval()
    images = torch.randn(1, 3, 64, 64)
    full = model(images)
    model.classifier[3] = torch.nn.Identity()
    assert torch.equal(full, model(images))


def test_any_size_through_the_core():
    model = segzoo.create_model("linknet", options={"width": 4}).eval()
    assert model(torch.randn(1, 3, 65, 40)).shape == (1, 2, 65, 40)


class TestLinkNet(ModelConformance):
    model = "segzoo-linknet/linknet"
    options = {"width": 8}


class TestLinkNetOverEncoder(ModelConformance):
    model = "segzoo-linknet/linknet"
    options = {"encoder": "mobilenetv3_small_050", "encoder_weights": "none"}


def test_features_that_vary_much_do_not_drown_the_decoder_s():
    torch.manual_seed(0)
    options = {"encoder": "mobilenetv3_small_050", "encoder_weights": "none"}
    model = segzoo.create_model("linknet", in_channels=3, num_classes=2, options=options)
    network: Any = model.network
    seen = []
    for link in network.links:
        link.register_forward_hook(lambda _, given, out: seen.append((given[0].std(), out.std())))
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.mul_(3)
        network.train()(torch.rand(2, 3, 64, 64))
    assert all(after == pytest.approx(1, abs=0.05) for _, after in seen)
    assert not any(before == pytest.approx(1, abs=0.05) for before, _ in seen)


def test_resnet18_makes_it_the_paper_s_network_of_11_5_million():
    options = {"encoder": "resnet18", "encoder_weights": "none"}
    model = segzoo.create_model("linknet", num_classes=20, options=options)
    assert count_parameters(model) == 11_536_820
    network: Any = model.network
    assert all(isinstance(link, nn.Identity) for link in network.links)
