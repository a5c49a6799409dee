import sys
import time

import forked
import numpy as np
import pytest
import torch
from helpers import SHARED_DATA
from PIL import Image
from torch.nn import functional

from segzoo.errors import SegzooError
from segzoo.inference import refine as module
from segzoo.inference.refine import box_mean, guided_coefficients, matched, refine
from segzoo.inference.settings import REFINEMENTS

EDGE = 43
WAYS = [how for how in REFINEMENTS if how != "none"]


def halves(height=90, width=90, noise=4):
    """Return a dark half left of EDGE and a bright one with the foreground, and its alpha."""
    noisy = np.random.default_rng(0).normal(0, noise, (height, width, 3))
    inside = np.arange(width) >= EDGE * width // 90
    pixels = np.where(inside[None, :, None], (190, 150, 120), (40, 60, 90)) + noisy
    alpha = np.broadcast_to(inside, (height, width)).astype(np.float32)
    return pixels.clip(0, 255).astype(np.uint8), alpha.copy()


def blurred(alpha, size=24):
    whole = torch.from_numpy(alpha)[None, None]
    small = functional.interpolate(whole, (size, size), mode="area")
    return functional.interpolate(small, alpha.shape, mode="bilinear")[0, 0].numpy()


def test_torch_keeps_its_number_of_threads():
    code = (
        "import torch\n"
        "from segzoo.inference.refine import load_pymatting\n"
        "torch.set_num_threads(3)\n"
        "image, alpha = torch.zeros(9, 9, 3).numpy(), torch.ones(9, 9).numpy()\n"
        "load_pymatting().estimate_foreground_ml(image, alpha)\n"
        "print(torch.get_num_threads())\n"
    )
    told = forked.python(code).done()
    assert told.stdout == "3\n", told.stderr


@pytest.mark.parametrize(("seconds", "notes"), [(0.0, 1), (60.0, 0)])
def test_a_slow_import_is_told_once_and_a_quick_one_not(seconds, notes, monkeypatch, caplog):
    monkeypatch.setattr(module, "SLOW_SECONDS", seconds)
    monkeypatch.setattr(module, "_is_compiled", lambda: False)
    monkeypatch.delitem(sys.modules, "pymatting", raising=False)
    with caplog.at_level("INFO", "segzoo"):
        with module._told_if_slow():
            time.sleep(0.3)
        monkeypatch.setitem(sys.modules, "pymatting", module)
        with module._told_if_slow():
            time.sleep(0.1)
    assert len(caplog.records) == notes


def test_it_is_not_said_to_compile_where_its_code_is_kept(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not module._is_compiled()
    tag = f"py{sys.version_info.major}{sys.version_info.minor}"
    (tmp_path / "pymatting_1").mkdir()
    (tmp_path / "pymatting_1" / f"cf_laplacian._cf_laplacian-5.{tag}.nbi").touch()
    assert module._is_compiled()
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    monkeypatch.delitem(sys.modules, "pymatting", raising=False)
    with caplog.at_level("INFO", "segzoo"), module._told_if_slow():
        time.sleep(0.2)
    assert not caplog.records


def error(found, truth):
    return float(np.abs(found - truth).mean())


@pytest.mark.parametrize("how", WAYS)
def test_a_blurred_edge_returns_to_the_photograph(how):
    pixels, truth = halves()
    coarse = blurred(truth)
    found = refine(pixels, coarse, how)
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert error(found, truth) < error(coarse, truth) / 2


@pytest.mark.parametrize("how", WAYS)
def test_work_at_a_bounded_size_keeps_the_edge(how, monkeypatch):
    pixels, truth = halves(360, 270)
    monkeypatch.setattr(module, "WORK_PIXELS", 90 * 67)
    coarse = blurred(truth, 48)
    assert error(refine(pixels, coarse, how), truth) < error(coarse, truth) / 2


@pytest.mark.parametrize("how", WAYS)
def test_a_mask_drawn_a_pixel_wrong_is_pulled_to_the_edge(how):
    pixels, truth = halves()
    wrong = np.roll(truth, 1, axis=1)
    assert error(refine(pixels, wrong, how), truth) < error(wrong, truth)


@pytest.mark.parametrize("how", WAYS)
def test_what_is_certain_stays(how):
    pixels, truth = halves()
    pixels[40:48, 65:73] = (40, 60, 90)  # The background's colour inside the foreground: no hole.
    pixels[40:48, 10:18] = (190, 150, 120)
    found = refine(pixels, truth, how)
    far = np.r_[0 : EDGE - 12, EDGE + 12 : 90]
    assert np.array_equal(found[:, far], truth[:, far])


def test_the_guided_filter_keeps_a_certain_value_itself():
    pixels, truth = halves()
    nearly = truth * 0.96 + 0.02
    assert refine(pixels, nearly, "guided")[:, 80:] == pytest.approx(0.98)


def test_colours_alone_do_not_decide():
    # One colour everywhere: the photograph has no edge, and the given alpha must survive.
    pixels = np.full((60, 60, 3), 90, np.uint8)
    truth = np.zeros((60, 60), np.float32)
    truth[:, 25:] = 1
    for how in WAYS:
        found = refine(pixels, truth, how)
        assert np.mean((found > 0.5) == (truth > 0.5)) > 0.97


@pytest.mark.parametrize("how", REFINEMENTS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 7), (2, 2), (40, 3)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_tiny_and_uniform_pictures(how, size, value):
    alpha = np.full(size, value, np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert refine(pixels, alpha, how) == pytest.approx(alpha, abs=1e-3)


@pytest.mark.parametrize("how", REFINEMENTS)
def test_grey_and_rgba_pictures(how):
    pixels, truth = halves()
    grey = pixels[..., 0]
    alike = refine(grey[..., None].repeat(3, 2), blurred(truth), how)
    assert np.array_equal(refine(grey, blurred(truth), how), alike)
    assert np.array_equal(refine(grey[..., None], blurred(truth), how), alike)
    rgba = np.dstack([pixels, np.full_like(grey, 9)])
    assert np.array_equal(refine(rgba, blurred(truth), how), refine(pixels, blurred(truth), how))


def test_none_returns_the_alpha():
    pixels, truth = halves()
    assert np.array_equal(refine(pixels, truth, "none"), truth)


def test_wrong_calls_say_what_would_work():
    pixels, truth = halves()
    with pytest.raises(SegzooError, match="--refine takes .*not `guide`\ndid you mean `guided`"):
        refine(pixels, truth, "guide")
    with pytest.raises(SegzooError, match=r"an alpha \(90, 89\) does not fit"):
        refine(pixels, truth[:, 1:], "guided")
    with pytest.raises(SegzooError, match="float64 array .* is not a picture"):
        refine(pixels / 255, truth, "guided")
    with pytest.raises(SegzooError, match="is not a picture"):
        refine(pixels[..., :2], truth, "guided")


def test_nan_counts_as_background():
    pixels, truth = halves()
    truth[3, 3] = np.nan
    assert matched(pixels, truth)[1][3, 3] == 0


def test_box_mean_is_the_mean_of_the_window():
    values = torch.rand(1, 2, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for radius in (1, 3, 20):
        means = box_mean(values, radius)
        for y, x in ((0, 0), (3, 4), (6, 8)):
            top, left = max(0, y - radius), max(0, x - radius)
            window = values[:, :, top : y + radius + 1, left : x + radius + 1]
            assert torch.allclose(means[:, :, y, x], window.mean((2, 3)))


def test_guided_coefficients_recover_a_linear_alpha():
    guide = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(0)) - 0.5
    slopes = torch.tensor([0.2, -0.3, 0.4])
    alpha = (guide * slopes[:, None, None]).sum(1, keepdim=True) + 0.5
    found = guided_coefficients(guide, alpha, 4)
    assert torch.allclose(found[0, :3].mean((1, 2)), slopes, atol=1e-3)
    assert found[0, 3].mean().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.skipif(not (SHARED_DATA / "hk").is_dir(), reason="needs the photographs of hk")
@pytest.mark.parametrize("how", WAYS)
def test_photographs_get_better(how):
    folder = SHARED_DATA / "hk" / "training"
    with Image.open(folder / "00019.png") as photo, Image.open(folder / "00019_matte.png") as matte:
        pixels = np.asarray(photo.convert("RGB"))
        truth = np.asarray(matte.convert("L")).astype(np.float32) / 255
    for coarse in (blurred(truth, 64), (truth > 0.5).astype(np.float32)):
        assert error(refine(pixels, coarse, how), truth) < 0.6 * error(coarse, truth)
