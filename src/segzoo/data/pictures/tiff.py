"""What the pages of a TIFF are, read from its tags: bands, bits, kind of numbers, purpose.

Pillow reads most TIFFs but says nothing of those that it does not, nor of a band that it leaves
out. Only tags are read, at most a few kB a page.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MOST_PAGES = 4096
MOST_VALUES = 64
"""Of a tag: those that are looked at hold one value a band."""

COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3}
"""Bands that a PhotometricInterpretation needs; what a TIFF has beyond them is extra."""

_SIZES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
_TAGS = dict(
    zip(
        (254, 256, 257, 258, 259, 262, 274, 277, 284, 338, 339),
        (
            *("purpose", "width", "height", "bits", "compression", "photometric", "orientation"),
            *("bands", "planar", "extra", "numbers"),
        ),
        strict=True,
    )
)
_NUMBERS = {
    2: "signed {} bits",
    3: "{}-bit floats",
    5: "complex numbers of {} bits",
    6: "complex numbers of {} bits",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """The tags of one page, those that are missing with TIFF's own defaults."""

    purpose: int = 0
    width: int = 0
    height: int = 0
    bits: tuple[int, ...] = (1,)
    photometric: int = 1
    bands: int = 1
    extra: tuple[int, ...] = ()
    numbers: int = 1
    compression: int = 1
    orientation: int = 1
    planar: int = 1

    @property
    def is_side(self) -> bool:
        """Whether it is a smaller copy of another page, or a mask of its transparency."""
        return bool(self.purpose & 5)

    @property
    def extras(self) -> int:
        """How many bands it has beyond its colours."""
        return self.bands - COLOURS.get(self.photometric, self.bands)

    @property
    def has_alpha(self) -> bool:
        """Whether its one extra band is declared to be alpha."""
        return self.extras == 1 and len(self.extra) == 1 and self.extra[0] in (1, 2)

    def __str__(self) -> str:
        bits = self.bits[0] if len(set(self.bits)) == 1 else "/".join(map(str, self.bits))
        bands = f"{self.bands} band{'s' * (self.bands != 1)}"
        return f"{bands} of {_NUMBERS.get(self.numbers, '{} bits').format(bits)}"


def pages(file: BinaryIO) -> Iterator[Page]:
    """Yield a TIFF's or BigTIFF's pages, none for what is no TIFF; ends where it is damaged."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if len(head) < 8 or not order:
        return
    magic = struct.unpack(f"{order}H", head[2:4])[0]
    if magic not in (42, 43) or (len(head) < 16 and magic == 43):
        return
    big = magic == 43
    (at,) = struct.unpack(f"{order}Q", head[8:16]) if big else struct.unpack(f"{order}I", head[4:8])
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        try:
            page, at = _page(file, at, order, big)
        except (struct.error, OSError, OverflowError, ValueError):
            return
        yield page


def _page(file: BinaryIO, at: int, order: str, big: bool) -> tuple[Page, int]:
    """Return the page whose directory begins at an offset, and where the next one's does."""
    count_kind, entry_size, offset_kind = ("Q", 20, "Q") if big else ("H", 12, "I")
    file.seek(at)
    (count,) = struct.unpack(order + count_kind, file.read(struct.calcsize(order + count_kind)))
    if count > 4096:
        raise ValueError("a directory of no TIFF")
    table = file.read(count * entry_size)
    (following,) = struct.unpack(
        order + offset_kind, file.read(struct.calcsize(order + offset_kind))
    )
    values: dict[str, tuple[int, ...]] = {}
    for start in range(0, len(table), entry_size):
        entry = table[start : start + entry_size]
        tag, kind = struct.unpack(f"{order}HH", entry[:4])
        if tag in _TAGS and kind in _SIZES:
            values[_TAGS[tag]] = _values(file, entry, _SIZES[kind], order, offset_kind)
    first = {name: given[0] for name, given in values.items() if given}
    return Page(**{**first, **_lists(values)}), following


def _lists(values: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: values[name] for name in ("bits", "extra") if name in values}


def _values(
    file: BinaryIO, entry: bytes, kind: str, order: str, offset_kind: str
) -> tuple[int, ...]:
    width = struct.calcsize(order + offset_kind)
    (count,) = struct.unpack(order + offset_kind, entry[4 : 4 + width])
    count = min(count, MOST_VALUES)
    form = f"{order}{count}{kind}"
    length = struct.calcsize(form)
    data = entry[4 + width :]
    if length > width:
        file.seek(struct.unpack(order + offset_kind, data)[0])
        data = file.read(length)
    return struct.unpack(form, data[:length])
