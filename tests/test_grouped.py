"""Grouped convolutions that stay in fp32 within bf16."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from segzoo import fit
from segzoo.compute import grouped
from segzoo.compute.grouped import better_in_fp32, keep_grouped_fp32

CPU = torch.device("cpu")


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))


def types_of(model: nn.Module) -> tuple[list[torch.dtype], torch.Tensor]:
    """Return what the convolutions compute in under bf16, and the result."""
    seen: list[torch.dtype] = []
    own = nn.functional.conv2d

    def conv2d(input, weight, *more):
        # Autocast converts below this function, so its state says what a type becomes.
        enabled = torch.is_autocast_enabled("cpu")
        seen.append(torch.bfloat16 if enabled else torch.float32)
        return own(input, weight, *more)

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(nn.functional, "conv2d", conv2d)
        patch.setattr("torch.nn.modules.conv.F.conv2d", conv2d)
        return seen, model(torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8))


def test_only_grouped_ones_compute_in_fp32_and_give_bf16():
    model = small()
    both = [torch.bfloat16, torch.bfloat16]
    seen, before = types_of(model)
    assert seen == both
    keep_grouped_fp32(model, True)
    seen, after = types_of(model)
    assert seen == [torch.bfloat16, torch.float32]
    assert before.dtype == after.dtype == torch.bfloat16
    torch.testing.assert_close(after, before, rtol=0.02, atol=0.02)
    keep_grouped_fp32(model, False)
    assert types_of(model)[0] == both
    assert type(model[1]) is nn.Conv2d


def test_nothing_changes_in_fp32_nor_in_what_a_file_holds():
    model, images_BCHW = small(), torch.randn(2, 3, 8, 8)
    before, names = model(images_BCHW), list(model.state_dict())
    keep_grouped_fp32(model, True)
    assert torch.equal(model(images_BCHW), before)
    assert list(model.state_dict()) == names
    assert isinstance(model[1], nn.Conv2d)
    assert type(model[1]).__name__ == "Conv2d"


def test_a_copy_has_weights_of_its_own():
    model = small()
    keep_grouped_fp32(model, True)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other[1].parameters():
            parameter.zero_()
    images_BCHW = torch.randn(1, 3, 8, 8)
    assert not other(images_BCHW).any()
    assert model(images_BCHW).any()


def test_it_is_measured_only_where_it_can_matter(monkeypatch):
    measured = []
    monkeypatch.setattr(grouped, "_slow_in_bf16", lambda: measured.append(1) or True)
    assert better_in_fp32(small(), CPU, "bf16")
    assert len(measured) == 1
    assert not better_in_fp32(small(), CPU, "fp32")
    assert not better_in_fp32(small()[:1], CPU, "bf16")
    assert not better_in_fp32(small(), torch.device("cuda"), "bf16")
    assert len(measured) == 1


def test_the_measurement_is_one_and_disturbs_nothing():
    grouped._slow_in_bf16.cache_clear()
    state = torch.get_rng_state()
    with torch.inference_mode():
        first = grouped._slow_in_bf16()
    assert first in (True, False)
    assert grouped._slow_in_bf16() is first
    assert torch.equal(torch.get_rng_state(), state)


PLUGIN = """
from segzoo import ModelSpec
def segzoo_models():
    return [ModelSpec(name="depthwise", summary="d", build="acme.net:build", stride=1)]
"""
NET = """
from torch import nn
def build(*, in_channels, num_classes, options):
    inner = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    return nn.Sequential(nn.Conv2d(in_channels, 8, 1), inner, nn.Conv2d(8, num_classes, 1))
"""


def test_a_resumed_run_keeps_what_was_measured_first(install, hk_root, tmp_path, monkeypatch):
    install("acme", PLUGIN, files={"net.py": NET})

    def train(name, *, slow, **more):
        monkeypatch.setattr(grouped, "_slow_in_bf16", lambda: slow)
        given = {"out": str(tmp_path / name)} if "resume" not in more else {}
        if given:
            given |= {
                "model": "depthwise", "data": "hk", "root": str(hk_root), "size": (32, 32),
                "batch_size": 4, "workers": 0, "device": "cpu", "precision": "bf16", "ema": 0.9,
            }  # fmt: skip
        fit(**given, **more, progress=False)
        return load_file(tmp_path / name / "best.safetensors")

    whole = train("whole", slow=True, epochs=3)
    assert any(
        not torch.equal(other, whole[name])
        for name, other in train("other", slow=False, epochs=3).items()
    )
    train("parted", slow=True, epochs=1)
    parted = train("parted", slow=False, epochs=3, resume=tmp_path / "parted")
    for name, value in whole.items():
        assert torch.equal(parted[name], value), name
