"""How much work a JPEG is: each of its scans goes over all pixels, and a file may have thousands.

A progressive JPEG comes in some ten scans. Further ones take a few bytes and as long as a picture:
100 of them on 64 million pixels are 260 KB, and 8 s.
"""

import re
from pathlib import Path
from typing import BinaryIO

from segzoo.errors import SegzooError

MOST_SCANS = 100
"""As libjpeg-turbo advises; what cameras and programs write has 3 to 12."""
FEW_SCANS = 20
MOST_WORK = 4_000_000_000
"""Pixels times scans, where there are more than a few."""
_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SOS, _EOI = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_MOST_SEGMENTS = 4096


def check_scans(file: BinaryIO, path: Path, pixels: int) -> None:
    """Raise SegzooError naming a JPEG of so many scans that reading it would take for ever.

    The file is left where it was. One of a single scan, as most are, is not read for it.
    """
    at = file.tell()
    try:
        start = _of_several(file)
        scans = 0 if start is None else _scans(file, start)
    finally:
        file.seek(at)
    if scans > MOST_SCANS or (scans > FEW_SCANS and scans * pixels > MOST_WORK):
        many = f"more than {MOST_SCANS}" if scans > MOST_SCANS else str(scans)
        raise SegzooError(
            f"{path} is a JPEG of {pixels / 1e6:.3g} million pixels in {many} scans, each of which "
            "goes over all of them",
            "save it anew, such as with `jpegtran -optimize`, or as PNG",
        )


def _of_several(file: BinaryIO) -> int | None:
    """Return where the first scan of a JPEG stands that may have several; None for a single one."""
    components, progressive, at = 0, False, 2
    for _ in range(_MOST_SEGMENTS):
        file.seek(at)
        head = file.read(10)
        if len(head) < 5 or head[0] != 0xFF:
            return None
        kind = head[1]
        if kind == 0xFF:  # Filling before a marker.
            at += 1
            continue
        if kind in _SOF and len(head) == 10:
            components, progressive = head[9], kind in _PROGRESSIVE
        if kind == _SOS:
            return at if progressive or head[4] < components else None
        if kind == _EOI:
            return None
        at += 2 + int.from_bytes(head[2:4], "big")
    return None


def _scans(file: BinaryIO, start: int) -> int:
    """Count the scans from the first one on to the end of the picture, up to one too many."""
    file.seek(start)
    data = file.read()
    # There are no more than that; some may be in a thumbnail, or behind the picture.
    if (most := data.count(b"\xff\xda")) <= FEW_SCANS:
        return most
    scans, at = 0, 0
    while scans <= MOST_SCANS and (found := _MARKER.search(data, at)):
        kind = found[1][0]
        if kind == _EOI:
            break
        scans += kind == _SOS
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans
