"""Bringing a coarse alpha to the edges of its photograph: guided filter, closed-form matting.

Shapes: H x W the photograph's size, h x w the bounded size at which the work is done; pixels_HW3
uint8, alpha_HW float32 0..1 with 1 = foreground. Lengths are shares of sqrt(h w), so that a
picture gives the same at every size. The constants are those with the lowest errors on hk's
training mattes, coarsened in several ways; docstrings give the errors before and after.
"""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Timer
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segzoo.errors import SegzooError
from segzoo.inference.settings import check_refinement

# One core solves this size in 0.5 s, in 8 s where all is unsure; the full size refines it after.
WORK_PIXELS = 500_000
LOW, HIGH = 0.05, 0.95  # What lies between is unsure.
REACH = 0.012  # 8 pixels at 600 x 800: the filter's radius, and the band to each side of the edge.
VARIANCE = 1e-5  # He et al.'s epsilon, of colours 0..1: contrast far below its root is no edge.
GAIN_GUIDED, GAIN_MATTING = 3.0, 4.0
WINDOW_VARIANCE = 1e-5  # Levin et al.'s epsilon.
PRIOR = 0.01  # The given alpha's weight; without it a weak network's IoU fell from 85 to 83 %.

Pixels = NDArray[np.uint8]
Alpha = NDArray[np.float32]

log = logging.getLogger("segzoo")
one_at_a_time = Lock()  # numba's fallback thread pool ends the process when two threads meet in it.
_loading = Lock()
SLOW_SECONDS = 8.0  # Compiled, pymatting is imported in 1.5 s, or in 4 where the machine is busy.


def refine(pixels: NDArray[np.generic], alpha: NDArray[np.generic], how: str) -> Alpha:
    """Return an alpha that follows the photograph's edges, float32 H x W, 0..1.

    `pixels` is uint8 H x W x 3 (grey and RGBA are taken too), `alpha` H x W in 0..1. `how` is
    `none`, `guided` or `matting`. For coarse alphas; a sharp, true matte is best left alone, for
    both sharpen what is soft. Raises SegzooError for another `how` or for sizes that differ.
    """
    check_refinement(how)
    pixels_HW3, alpha_HW = matched(pixels, alpha)
    if how == "none":
        return alpha_HW
    with torch.inference_mode():
        return (_guided if how == "guided" else _matting)(pixels_HW3, alpha_HW)


def matched(pixels: NDArray[np.generic], alpha: NDArray[np.generic]) -> tuple[Pixels, Alpha]:
    """Return (uint8 H x W x 3, float32 H x W in 0..1): grey repeated, a fourth channel dropped.

    Raises SegzooError where one is not a picture or their sizes differ.
    """
    pixels_HWC = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels_HWC.ndim != 3 or pixels_HWC.dtype != np.uint8 or pixels_HWC.shape[2] not in (1, 3, 4):
        raise SegzooError(
            f"a {pixels.dtype} array {pixels.shape} is not a picture", "give uint8 H x W x 3"
        )
    if alpha.shape != pixels_HWC.shape[:2] or not alpha.size:
        raise SegzooError(
            f"an alpha {alpha.shape} does not fit a picture {pixels.shape}",
            "give H x W for both, at one size",
        )
    three_HW3 = pixels_HWC[..., :3] if pixels_HWC.shape[2] > 1 else pixels_HWC.repeat(3, axis=2)
    sound_HW = np.nan_to_num(alpha.astype(np.float32)).clip(0, 1)
    return np.ascontiguousarray(three_HW3, dtype=np.uint8), sound_HW


@contextmanager
def _told_if_slow() -> Iterator[None]:
    """Say what the import of pymatting waits for, once, and only where it compiles."""
    if "pymatting" in sys.modules or _is_compiled():
        yield
        return
    slow = Timer(SLOW_SECONDS, log.info, ["pymatting compiles on its first use, about a minute"])
    slow.daemon = True
    slow.start()
    try:
        yield
    finally:
        slow.cancel()


def _is_compiled() -> bool:
    """Whether numba keeps compiled code of pymatting for this Python, where it usually does."""
    spec = importlib.util.find_spec("pymatting")
    own = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    given = os.environ.get("NUMBA_CACHE_DIR")
    of_user = [Path.home() / ".cache" / "numba", Path.home() / "Library" / "Caches" / "numba"]
    tag = f"py{sys.version_info.major}{sys.version_info.minor}"
    places = [Path(given)] if given else [*own, *of_user]
    return any(next(place.rglob(f"*laplacian*.{tag}.nbi"), None) for place in places)


def load_pymatting() -> ModuleType:
    """Return the package pymatting; SegzooError where it is missing. Its import takes 1.5 s.

    The import loads numba, which gives OpenMP in the calling thread as many threads as there are
    cores; torch's number is put back.
    """
    threads = torch.get_num_threads()
    try:
        with _loading, _told_if_slow():
            import pymatting
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pymatting":
            raise
        raise SegzooError(
            "cut-outs, backgrounds and `--refine matting` need pymatting, which is not installed",
            "`pip install pymatting`",
        ) from error
    torch.set_num_threads(threads)
    return pymatting


def _guided(pixels_HW3: Pixels, alpha_HW: Alpha) -> Alpha:
    """Filter with the colours as guide (He, Sun, Tang, Guided Image Filtering, TPAMI 2013).

    The linear coefficients are found at h x w and used at H x W (He and Sun, Fast Guided Filter,
    2015). The alpha is sharpened first: the filter cannot undo a blur wider than its radius.
    MAD x 1000 on 600 x 800 portraits: mattes at 64 x 64 and back 12.2 to 4.5, mattes as masks 8.2
    to 3.2, masks at 64 x 64 12.3 to 7.6.
    """
    guide_13HW, alpha_11HW = _guide(pixels_HW3), _tensor(alpha_HW)
    guide_13hw, alpha_11hw = _shrunk(guide_13HW), _shrunk(alpha_11HW)
    sharp_11hw = _sharpened(alpha_11hw, GAIN_GUIDED)
    reach = _reach(alpha_11hw)
    filtered_11HW = _guided_to_size(guide_13HW, guide_13hw, sharp_11hw, reach)
    return _kept(alpha_11HW, filtered_11HW, _band(alpha_11hw, reach), reach)


def _matting(pixels_HW3: Pixels, alpha_HW: Alpha) -> Alpha:
    """Solve for the alpha near the edge (Levin et al., A Closed-Form Solution, TPAMI 2008).

    Unknown is what is unsure, and a band along the edge; elsewhere the result is 0 or 1. Solved
    at h x w; a guided filter as narrow as one h x w pixel brings it to H x W. MAD x 1000 as in
    `_guided`: 12.2 to 3.8, 8.2 to 3.6, 12.3 to 5.7.
    """
    guide_13HW, alpha_11HW = _guide(pixels_HW3), _tensor(alpha_HW)
    guide_13hw, alpha_11hw = _shrunk(guide_13HW), _shrunk(alpha_11HW)
    reach = _reach(alpha_11hw)
    unknown_11hw = _band(alpha_11hw, reach)
    solved_hw = solve(
        guide_13hw[0].permute(1, 2, 0).numpy(),
        _sharpened(alpha_11hw, GAIN_MATTING)[0, 0].numpy(),
        unknown_11hw[0, 0].numpy() > 0,
    )
    if solved_hw.shape == alpha_HW.shape:
        return solved_hw
    solved_11hw = _tensor(solved_hw)
    fine_11HW = _guided_to_size(guide_13HW, guide_13hw, solved_11hw, 1)
    coarse_11HW = (alpha_11HW > 0.5).float()
    return _kept(coarse_11HW, fine_11HW, unknown_11hw, 1)


def solve(image_hw3: NDArray[np.floating], alpha_hw: Alpha, unknown_hw: NDArray[np.bool_]) -> Alpha:
    """Solve (L + p I) x = p alpha for the unknown pixels, L the matting Laplacian, p PRIOR.

    The other pixels are 0 or 1, whichever `alpha_hw` is nearer to. float32 h x w, 0..1.
    """
    unknown = unknown_hw.ravel()
    values = alpha_hw.ravel().astype(np.float64)
    values[~unknown] = values[~unknown] > 0.5
    if unknown.any():
        pymatting = load_pymatting()
        with one_at_a_time:
            laplacian = pymatting.cf_laplacian(
                image_hw3.astype(np.float64), epsilon=WINDOW_VARIANCE, is_known=~unknown_hw
            )[unknown]
            system = laplacian[:, unknown]
            system.setdiag(system.diagonal() + PRIOR)
            given = PRIOR * values[unknown] - laplacian[:, ~unknown] @ values[~unknown]
            # The prior makes the system definite enough for Jacobi; ichol wants 4 GB and prints.
            values[unknown] = pymatting.cg(
                system, given, x0=values[unknown], M=pymatting.jacobi(system), rtol=1e-4
            )
    return values.reshape(alpha_hw.shape).clip(0, 1).astype(np.float32)


def _guide(pixels_HW3: Pixels) -> Tensor:
    # Around zero: products of small numbers lose less in the variances.
    return torch.from_numpy(pixels_HW3.astype(np.float32) / 255 - 0.5).permute(2, 0, 1)[None]


def _tensor(alpha_HW: Alpha) -> Tensor:
    return torch.from_numpy(alpha_HW)[None, None]


def _shrunk(values_BCHW: Tensor) -> Tensor:
    """Average down to WORK_PIXELS at most."""
    height, width = values_BCHW.shape[-2:]
    scale = (WORK_PIXELS / (height * width)) ** 0.5
    if scale >= 1:
        return values_BCHW
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return functional.interpolate(values_BCHW, size, mode="bilinear", antialias=True)


def _sharpened(alpha: Tensor, gain: float) -> Tensor:
    return ((alpha - 0.5) * gain + 0.5).clamp(0, 1)


def _reach(alpha_11hw: Tensor) -> int:
    height, width = alpha_11hw.shape[-2:]
    return max(1, round(REACH * (height * width) ** 0.5))


def _band(alpha_11hw: Tensor, reach: int) -> Tensor:
    """Return 1 where the alpha is unsure or within `reach` of its edge at 0.5, else 0."""
    inside_11hw = (alpha_11hw > 0.5).float()
    edge_11hw = _dilated(inside_11hw, reach) + _dilated(1 - inside_11hw, reach) - 1
    unsure_11hw = ((alpha_11hw > LOW) & (alpha_11hw < HIGH)).float()
    return torch.maximum(edge_11hw, unsure_11hw)


def _dilated(mask_11hw: Tensor, reach: int) -> Tensor:
    wide = functional.max_pool2d(mask_11hw, (1, 2 * reach + 1), 1, (0, reach))
    return functional.max_pool2d(wide, (2 * reach + 1, 1), 1, (reach, 0))


def _kept(alpha_11HW: Tensor, refined_11HW: Tensor, band_11hw: Tensor, reach: int) -> Alpha:
    """Return the refined alpha in the band and the given one elsewhere, with no seam between."""
    size = (alpha_11HW.shape[-2], alpha_11HW.shape[-1])
    weight_11hw = box_mean(band_11hw, max(1, reach // 2))
    weight_11HW = functional.interpolate(weight_11hw, size, mode="bilinear")
    return torch.lerp(alpha_11HW, refined_11HW, weight_11HW).clamp(0, 1)[0, 0].numpy()


def _guided_to_size(
    guide_13HW: Tensor, guide_13hw: Tensor, alpha_11hw: Tensor, radius: int
) -> Tensor:
    """Fit the alpha at h x w to the colours, and return the fit at H x W, 0..1."""
    coefficients_14hw = guided_coefficients(guide_13hw, alpha_11hw, radius)
    size = (guide_13HW.shape[-2], guide_13HW.shape[-1])
    fit_14HW = functional.interpolate(coefficients_14hw, size, mode="bilinear")
    return ((fit_14HW[:, :3] * guide_13HW).sum(1, keepdim=True) + fit_14HW[:, 3:]).clamp(0, 1)


def guided_coefficients(guide_13hw: Tensor, alpha_11hw: Tensor, radius: int) -> Tensor:
    """Return (a, b) of alpha = a . colour + b, smoothed over the windows, float32 1 x 4 x h x w.

    Equations 14 to 16 of He et al.: a solves (S + epsilon I) a = cov(colour, alpha), S the
    window's 3 x 3 covariance of the colours, and b = mean(alpha) - a . mean(colour).
    """
    # In float64: at narrow windows float32 leaves variances below zero and S singular.
    guide, alpha = guide_13hw.double(), alpha_11hw.double()
    mean_guide, mean_alpha = box_mean(guide, radius), box_mean(alpha, radius)
    covariance = box_mean(guide * alpha, radius) - mean_guide * mean_alpha
    r, g, b = guide.unbind(1)
    products = torch.stack([r * r, r * g, r * b, g * g, g * b, b * b], dim=1)
    mr, mg, mb = mean_guide.unbind(1)
    means = torch.stack([mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb], dim=1)
    rr, rg, rb, gg, gb, bb = (box_mean(products, radius) - means).unbind(1)
    rr, gg, bb = rr + VARIANCE, gg + VARIANCE, bb + VARIANCE
    # The inverse by cofactors: solving a 3 x 3 system per pixel is several times slower.
    irr, irg, irb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    igg, igb, ibb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    inverse = [[irr, irg, irb], [irg, igg, igb], [irb, igb, ibb]]
    determinant = irr * rr + irg * rg + irb * rb
    cr, cg, cb = covariance.unbind(1)
    slopes = torch.stack([(x * cr + y * cg + z * cb) / determinant for x, y, z in inverse], dim=1)
    offset = mean_alpha - (slopes * mean_guide).sum(1, keepdim=True)
    return box_mean(torch.cat([slopes, offset], dim=1), radius).float()


def box_mean(values_BCHW: Tensor, radius: int) -> Tensor:
    """Return the mean over (2 radius + 1)^2 windows, cut off at the border; time without radius."""
    return _line_mean(_line_mean(values_BCHW, radius, -1), radius, -2)


def _line_mean(values: Tensor, radius: int, dim: int) -> Tensor:
    length = values.shape[dim]
    sums = torch.cat([torch.zeros_like(values.narrow(dim, 0, 1)), values.cumsum(dim)], dim)
    at = torch.arange(length)
    first, last = (at - radius).clamp(min=0), (at + radius + 1).clamp(max=length)
    count = (last - first).reshape([-1] + [1] * (-1 - dim))
    return (sums.index_select(dim, last) - sums.index_select(dim, first)) / count
