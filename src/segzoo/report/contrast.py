"""How different colours look, and a colour of errors that cannot be taken for a class."""

from collections.abc import Iterable

import numpy as np

from segzoo.plugins.specs import RGB

RED: RGB = (230, 0, 0)
ERRORS: tuple[RGB, ...] = (
    RED, (0, 80, 255), (230, 0, 230), (0, 150, 0), (110, 0, 200), (255, 230, 0), (0, 190, 230),
    (255, 140, 0), (0, 0, 0),
)  # fmt: skip
"""Colours that errors may have, bright ones first; red is what people expect."""
APART = 80.0
"""A distance in CIELAB at which nobody takes two colours for one: pure red from orange is 60."""
PALE: tuple[RGB, ...] = ((128, 128, 128), (255, 255, 255))
"""What errors are drawn over: a picture in greys between these."""

_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # sRGB's primaries, IEC 61966-2-1
_WHITE = _TO_XYZ.sum(1)


def error_colour(used: Iterable[RGB]) -> RGB:
    """Return the colour of errors beside colours in use: the first that is far enough from all of
    them, or where none is, the one that is furthest.
    """
    nearest = apart(ERRORS, [*used, *PALE]).min(1)
    far = np.flatnonzero(nearest >= APART)
    return ERRORS[far[0] if len(far) else nearest.argmax()]


def apart(first: Iterable[RGB], second: Iterable[RGB]) -> np.ndarray:
    """Return how different each of N colours looks from each of M: distances in CIELAB, N x M."""
    one_N3, two_M3 = _lab(first), _lab(second)
    return np.linalg.norm(one_N3[:, None] - two_M3[None], axis=2)


def _lab(colours: Iterable[RGB]) -> np.ndarray:
    """Return sRGB colours, 0..255, in CIELAB: L 0..100, a and b about -100..100."""
    share_N3 = np.array(list(colours), dtype=np.float64) / 255
    dark_N3 = share_N3 <= 0.04045
    linear_N3 = np.where(dark_N3, share_N3 / 12.92, ((share_N3 + 0.055) / 1.055) ** 2.4)
    xyz_N3 = linear_N3 @ _TO_XYZ.T / _WHITE
    root_N3 = np.where(xyz_N3 > 0.008856, np.cbrt(xyz_N3), 7.787 * xyz_N3 + 16 / 116)
    x, y, z = root_N3.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
