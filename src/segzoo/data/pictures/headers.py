"""What the headers of a data set's pictures say: which are deeper than 8 bits, which are turned.

A few hundred bytes of a file tell, so that a set of 8-bit upright pictures costs next to nothing.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segzoo.data.pictures import tiff
from segzoo.data.pictures.decoding import opened
from segzoo.data.pictures.depth import is_deep
from segzoo.data.pictures.orientation import stored_orientation
from segzoo.errors import SegzooError

MOST_PARTS = 4096
"""Of a file: chunks or segments that are looked at."""

_MOST_EXIF = 1 << 16


@dataclass(frozen=True)
class Header:
    """Whether a picture has more than 8 bits a band, its EXIF orientation, 1 to 8, and whether
    other pictures follow it in its file, as in a phone's MPO.
    """

    deep: bool = False
    orientation: int = 1
    followed: bool = False


def read_header(path: Path) -> Header:
    """Return what a picture's header says; of one that cannot be read what most are."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(0)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return _png(file)
            if head.startswith(b"\xff\xd8"):
                return _jpeg(file)
            if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
                return Header(False, _of_exif(_webp_exif(file)))
            if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                page = next(tiff.pages(file), tiff.Page())
                return Header(max(page.bits) > 8, _valid(page.orientation))
            if head[:3] in (b"GIF", b"BM6") or head[:2] == b"BM":
                return Header()
    except (OSError, ValueError):
        return Header()
    try:
        with opened(path, pages=False) as picture:
            return Header(is_deep(picture), stored_orientation(picture))
    except SegzooError:
        return Header()


def spread(count: int, most: int) -> Sequence[int]:
    """Return up to `most` places of `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return range(count)
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def _png(file: BinaryIO) -> Header:
    deep, orientation = False, 1
    for name, length in _chunks(file, 8, ">"):
        if name == b"IHDR":
            deep = file.read(9)[8:9] == b"\x10"
        elif name == b"eXIf":
            orientation = _of_exif(file.read(min(length, _MOST_EXIF)))
        elif name == b"IEND":
            break
    return Header(deep, orientation)


def _webp_exif(file: BinaryIO) -> bytes:
    for name, length in _chunks(file, 12, "<"):
        if name == b"EXIF":
            return file.read(min(length, _MOST_EXIF)).removeprefix(b"Exif\0\0")
    return b""


def _chunks(file: BinaryIO, start: int, order: str) -> Iterator[tuple[bytes, int]]:
    """Yield the name and length of a PNG's (">") or WebP's ("<") chunks, the file at its data."""
    at = start
    for _ in range(MOST_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        if order == ">":
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            at += 12 + length
        else:
            name, length = head[:4], int.from_bytes(head[4:], "little")
            at += 8 + length + length % 2
        yield name, length


def _jpeg(file: BinaryIO) -> Header:
    """Read the orientation in a JPEG's EXIF data, which begin with a TIFF's head, and whether it
    has an index of several pictures (MPF).
    """
    at, orientation, followed = 2, 1, False
    for _ in range(MOST_PARTS):
        file.seek(at)
        head = file.read(10)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            break
        length = int.from_bytes(head[2:4], "big")
        if head[1] == 0xE1 and head[4:] == b"Exif\0\0" and orientation == 1:
            orientation = _of_exif(file.read(max(0, length - 8)))
        followed |= head[1] == 0xE2 and head[4:8] == b"MPF\0"
        at += 2 + length
    return Header(orientation=orientation, followed=followed)


def _of_exif(data: bytes) -> int:
    page = next(tiff.pages(io.BytesIO(data)), None) if data else None
    return _valid(page.orientation) if page else 1


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1
