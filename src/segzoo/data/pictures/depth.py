"""Pictures deeper than 8 bits: their values, and the range that is brought to 0..255.

A 16-bit file says how its values are stored and not how far they go: cameras and microscopes write
10, 12 or 14 bits into it. The range is stated, or found over a data set (`segzoo.data.ranges`);
else it is that of the file's type, and a picture that uses a sliver of it is warned of.
"""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segzoo.data.pictures.value_range import Range as Range
from segzoo.data.pictures.value_range import range_text, usual_range
from segzoo.errors import SegzooError

log = logging.getLogger("segzoo")

Values = npt.NDArray[Any]

SLIVER = 1 << 14
"""A picture of 16 bits of which no value is above this uses a quarter of its range at most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Deep:
    """Values H x W or H x W x 3 of a picture of more than 8 bits, and how far its file says they
    go: `bits` is None for 32 bits and floats, which say nothing. `inverted`: 0 is white.
    """

    values: Values
    bits: int | None = 16
    inverted: bool = False


def deep_values(picture: Any, again: Callable[[], AbstractContextManager[Any]]) -> Deep | None:
    """Return the values of a picture of more than 8 bits a band, None for one of 8 bits.

    Pillow brings 16-bit colours to 8 by leaving their low bytes out; `again` opens the file once
    more, for those. The picture is loaded by this where there are any.
    """
    mode = picture.mode
    tags = getattr(picture, "tag_v2", None) if picture.format == "TIFF" else None
    if mode.startswith(("I", "F")):
        bits = 16
        if mode == "F" or (mode == "I" and picture.format != "PPM"):
            bits = None
        if tags is not None:
            stored = tags.get(258, (16,))
            bits = min(stored if isinstance(stored, tuple) else (stored,))
        inverted = tags is not None and tags.get(262) == 0
        return Deep(
            values=_plain(picture), bits=bits if bits in (12, 16) else None, inverted=inverted
        )
    rawmode = _rawmode(picture)
    if rawmode == "LA;16B":
        _set_rawmode(picture, "RGBA")  # the bytes of a pixel: high and low grey, then alpha
        return Deep(values=_joined(np.array(picture)[..., 0], np.array(picture)[..., 1]))
    low = _other_half(rawmode)
    if low is None:
        return None
    with again() as second:
        _set_rawmode(picture, rawmode)
        _set_rawmode(second, low)
        high_HWC, low_HWC = np.array(picture), np.array(second)
    return Deep(values=_joined(high_HWC[..., :3], low_HWC[..., :3]))


def is_deep(picture: Any) -> bool:
    """Whether `deep_values` would return values, told without reading pixels."""
    return picture.mode.startswith(("I", "F")) or (
        _rawmode(picture) == "LA;16B" or _other_half(_rawmode(picture)) is not None
    )


def _plain(picture: Any) -> Values:
    values = np.array(picture)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _joined(high: Values, low: Values) -> Values:
    return high.astype(np.uint16) << 8 | low


def _rawmode(picture: Any) -> str:
    tile = getattr(picture, "tile", None)
    if picture.format not in ("PNG", "TIFF", "PPM") or not tile:
        return ""
    args = tile[0][3]
    rawmode = args if isinstance(args, str) else args[0] if args else ""
    if tile[0][0] == "ppm" and rawmode == "RGB" and args[1] == 65535:
        return "RGB;16B"
    return rawmode if isinstance(rawmode, str) else ""


def _other_half(rawmode: str) -> str | None:
    """Return the name under which Pillow decodes the low bytes of 16-bit colours."""
    if rawmode not in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"):
        return None
    native = "L" if sys.byteorder == "little" else "B"
    stored = native if rawmode[-1] == "N" else rawmode[-1]
    return rawmode[:-1] + ("B" if stored == "L" else "L")


def _set_rawmode(picture: Any, rawmode: str) -> None:
    kind = type(picture.tile[0])  # a tuple, from Pillow 11 on a named one
    make = getattr(kind, "_make", kind)
    tiles = []
    for decoder, extents, offset, args in picture.tile:
        changed: Any = rawmode if isinstance(args, str) else (rawmode, *args[1:])
        if decoder == "ppm":
            decoder, changed = "raw", (rawmode, 0, 1)
        tiles.append(make((decoder, extents, offset, changed)))
    picture.tile = tiles


def is_unit(deep: Deep) -> bool:
    """Whether the values are floats 0..1."""
    values = deep.values
    return values.dtype.kind == "f" and bool(values.size) and 0 <= values.min() <= values.max() <= 1


def to_uint8(deep: Deep, stated: Range | None, name: object) -> npt.NDArray[np.uint8]:
    """Bring a deep picture's values to 0..255, by the stated range or that of their type.

    Raises SegzooError naming the picture, and the range that would do, for values beyond the range,
    and for those that have none: negative ones, floats, and above 16 bits.
    """
    values = deep.values
    low, high = _extent(values, name)
    if stated is None:
        stated = _own_range(deep, low, high, name)
    if not stated[0] <= low <= high <= stated[1]:
        raise SegzooError(
            f"{name} has values {low:g}..{high:g}, beyond the range {stated[0]:g}..{stated[1]:g}",
            _way(low, min(low, stated[0]), high),
        )
    scaled = scale(values, stated)
    return 255 - scaled if deep.inverted else scaled


def scale(values: Values, stated: Range) -> npt.NDArray[np.uint8]:
    """Return values of a range as 0..255, to the nearest."""
    low, high = stated
    if values.dtype == np.uint16 and low == 0 and float(high).is_integer():
        table = (np.arange(int(high) + 1, dtype=np.int64) * 255 * 2 + int(high)) // (2 * int(high))
        return table.astype(np.uint8)[values]
    scaled = values.astype(np.float64)
    scaled -= low
    scaled *= 255 / (high - low)
    scaled += 0.5
    return scaled.astype(np.uint8)


def _extent(values: Values, name: object) -> Range:
    if not values.size:
        raise SegzooError(f"{name} has no pixels", "leave it out")
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise SegzooError(
            f"{name} has values that are not numbers (NaN or infinite)",
            "fill them in, or leave the picture out",
        )
    return low, high


def _own_range(deep: Deep, low: float, high: float, name: object) -> Range:
    """Return the range of a picture for which none is stated: that of its type."""
    values = deep.values
    if values.dtype.kind == "f" and not _is_bytes(values, low, high):
        raise SegzooError(f"{name} holds floats {low:g}..{high:g}", _way(low, low, high))
    if low < 0 or high > 65535:
        raise SegzooError(
            f"{name} has values {low:g}..{high:g}, and no range is stated", _way(low, low, high)
        )
    if deep.bits is None and high <= 255:
        return 0.0, 255.0
    if deep.bits not in (None, 16):
        return 0.0, 2.0**deep.bits - 1
    if 0 < high < SLIVER:
        _warn_of_sliver(name, low, high)
    return 0.0, 65535.0


def _is_bytes(values: Values, low: float, high: float) -> bool:
    """Whether floats are the whole numbers 0..255, of which some are above 1, or 0 everywhere."""
    if low == high == 0:
        return True
    return low >= 0 and 1 < high <= 255 and bool((values == np.rint(values)).all())


def _way(low: float, from_: float, high: float) -> str:
    if low >= 0 and high <= 1:
        shown = "0,1"
    elif from_ >= 0:
        shown = range_text(usual_range(high))
    elif low >= -1 and high <= 1:
        shown = "-1,1"
    else:
        shown = f"{from_:g},{high:g}"
    return (
        f"state the range of such pictures: -O range={shown} for data set `folder`, --range "
        f"{shown} for `predict`, range=({shown.replace(',', ', ')}) in Python; or save 8 bits"
    )


_warned: set[object] = set()
_lock = threading.Lock()


def _warn_of_sliver(name: object, low: float, high: float) -> None:
    """Say once a folder that a picture is as good as black."""
    group = name.parent if isinstance(name, Path) else name
    with _lock:
        if group in _warned:
            return
        _warned.add(group)
    text = range_text(usual_range(high))
    log.warning(
        "%s: its values are %g..%g, a sliver of 0..65535, and are read as nearly black; if %s is "
        "its range, state it: -O range=%s for data set `folder`, --range %s for `predict`, "
        "range=(%s) in Python",
        *(name, low, high, text.replace(",", ".."), text, text, text.replace(",", ", ")),
    )
