"""A convolution of enlarged features is the same without enlarging them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from segzoo import create_model
from segzoo_unet.enlarged import convolved


@pytest.mark.parametrize("skips", [0, 2])
@pytest.mark.parametrize("by", [2, 3, 4])
def test_values_and_gradients_are_those_of_the_plain_way(by, skips):
    torch.manual_seed(by)
    conv = nn.Conv2d(3 + skips, 4, 3, padding=1).double()
    coarse = torch.randn(2, 3, 6, 5, dtype=torch.double, requires_grad=True)
    skip = torch.randn(2, skips, 6 * by, 5 * by, dtype=torch.double, requires_grad=True)
    enlarged = functional.interpolate(coarse, scale_factor=by, mode="nearest")
    plain = conv(torch.cat([skip, enlarged], dim=1))
    fast = convolved(conv, coarse, skip if skips else None, by)
    assert torch.allclose(fast, plain, atol=1e-12)

    wanted = [coarse, conv.weight, conv.bias, *([skip] if skips else [])]
    seed = torch.randn_like(plain)
    gradients = [torch.autograd.grad((out * seed).sum(), wanted) for out in (plain, fast)]
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("options", [{"encoder": "resnet18"}, {"depth": 3, "width": 8}])
def test_an_exported_network_says_the_same_by_plain_operations(options, monkeypatch):
    torch.manual_seed(0)
    options = {"up": "nearest", **options}
    if "encoder" in options:
        options["encoder_weights"] = "none"
    model = create_model("unet", in_channels=3, num_classes=2, options=options).eval()
    image = torch.rand(1, 3, 64, 96)
    calls = []
    transposed = functional.conv_transpose2d
    monkeypatch.setattr(
        functional,
        "conv_transpose2d",
        lambda *given, **how: calls.append(1) or transposed(*given, **how),
    )
    with torch.inference_mode():
        fast = model(image)
        assert calls
        calls.clear()
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        plain = model(image)
        assert not calls
    assert torch.allclose(fast, plain, atol=1e-4)
