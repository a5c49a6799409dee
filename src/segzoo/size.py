"""Sizes of pictures, height before width: as a user writes them, and within what bounds."""

import math
import re
from typing import Any

from segzoo.errors import SegzooError
from segzoo.plugins.options import shown

Size = tuple[int, int]

SMALLEST_SIDE = 2  # torch cannot resize to a single pixel with antialiasing.
MOST_PIXELS = 1 << 26
MOST_AT_ONCE = 1 << 20  # pictures in a batch


def parse_size(value: Any) -> Size:
    """Turn ``256``, ``"192x256"`` or ``[192, 256]`` into (height, width)."""
    parts = value
    if isinstance(value, (int, str)):
        parts = re.split(r"[x,]", shown(value, str).strip("()[] "))
    try:
        numbers = [int(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < SMALLEST_SIDE or math.prod(numbers) > MOST_PIXELS:
        raise SegzooError(
            f"size {shown(value)}",
            "give one side, 256, or height x width, 192x256, each at least "
            f"{SMALLEST_SIDE} and together at most {MOST_PIXELS} pixels",
        )
    return (numbers[0], numbers[1])


def scaled(size: Size, scale: float) -> Size:
    """Return a size times a scale, not below what can be resized to."""
    height, width = (max(SMALLEST_SIDE, round(side * scale)) for side in size)
    return (height, width) if scale != 1 else size


def mean_side(size: Size) -> float:
    """Return the side of a square of as many pixels."""
    return math.sqrt(size[0] * size[1])
