"""The connectivity error of a matte, on the host: it needs connected components."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segzoo.errors import SegzooError

STEPS = 10  # Levels 0, 0.1, ..., 1.
TOLERANCE = 0.15

Alpha = NDArray[np.float64]


def label_function() -> Callable[..., Any]:
    """Return scipy's labelling of connected components; SegzooError where scipy is missing."""
    try:
        # Not among the core's dependencies: this score alone needs it.
        from scipy.ndimage import label
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "scipy":
            raise
        raise SegzooError(
            "matting(connectivity=true) needs scipy, which is not installed",
            "`pip install scipy`, or leave the option out",
        ) from error
    return label


def connectivity_error(alpha_HW: Alpha, truth_HW: Alpha, label: Callable[..., Any]) -> float:
    """Return the sum over pixels of |phi(alpha) - phi(truth)| (Rhemann et al. 2009), unscaled.

    phi = 1 - d where d = alpha - l is at least 0.15, else 1; l is the highest level at which a
    pixel still belongs to the largest 4-connected region where both mattes reach that level.
    Levels go in steps of 0.1. float64 H x W in 0..1.
    """
    levels_HW = np.ones_like(truth_HW)
    open_HW = np.ones(truth_HW.shape, dtype=bool)
    for step in range(1, STEPS + 1):
        level = step / STEPS
        region_HW = _largest((alpha_HW >= level) & (truth_HW >= level), label)
        levels_HW[open_HW & ~region_HW] = (step - 1) / STEPS
        open_HW &= region_HW
    return float(np.abs(_phi(alpha_HW - levels_HW) - _phi(truth_HW - levels_HW)).sum())


def _phi(distance_HW: Alpha) -> Alpha:
    return 1 - distance_HW * (distance_HW >= TOLERANCE)


def _largest(mask_HW: NDArray[np.bool_], label: Callable[..., Any]) -> NDArray[np.bool_]:
    """Return the largest region of a mask; of equal ones the first, of an empty mask none."""
    parts_HW, count = label(mask_HW)
    if count == 0:
        return mask_HW
    return parts_HW == 1 + np.bincount(parts_HW.ravel())[1:].argmax()
