"""The lowest and the highest value of pictures of more than 8 bits: stated, or a usual depth's."""

import math
from typing import Any

from segzoo.errors import SegzooError

Range = tuple[float, float]

DEPTHS = (8, 10, 12, 14, 16)
"""The usual bits of a picture's values, whatever they are stored in."""


def parse_range(value: Any, flag: str) -> Range | None:
    """Return (lowest, highest) of ``"0,4095"`` or a pair; None for None.

    Raises SegzooError naming the flag.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise SegzooError(
            f"{flag} {value}",
            "give the lowest and the highest value of the pictures, such as 0,4095 or 0,1",
        )
    return low, high


def range_text(of: Range) -> str:
    """Return a range as `parse_range` takes it."""
    return f"{of[0]:.10g},{of[1]:.10g}"


def usual_range(highest: float) -> Range:
    """Return the range of the smallest usual depth that holds whole values up to the highest."""
    return 0.0, next((2.0**bits - 1 for bits in DEPTHS if highest < 2**bits), float(highest))
