"""Writing uncompressed TIFFs of any bands, numbers and pages, as Pillow cannot."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_NUMBERS = {"u": 1, "i": 2, "f": 3}


def write_tiff(path: Path, *pages: npt.NDArray[np.generic], **tags: int | Sequence[int]) -> Path:
    """Write pages H x W or H x W x C, with tags such as ``t338=(2,)`` beside the usual ones."""
    out = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for number, array in enumerate(pages):
        struct.pack_into("<I", out, link, len(out))
        link = _page(out, array, {**tags, **({"t254": 0} if number else {})})
    path.write_bytes(out)
    return path


def _page(
    out: bytearray, array: npt.NDArray[np.generic], tags: dict[str, int | Sequence[int]]
) -> int:
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    values: dict[int, Sequence[int]] = {
        256: (width,),
        257: (height,),
        258: (array.dtype.itemsize * 8,) * bands,
        259: (1,),
        262: (2 if bands >= 3 else 1,),
        277: (bands,),
        278: (height,),
        279: (array.nbytes,),
        284: (1,),
        339: (_NUMBERS[array.dtype.kind],) * bands,
    }
    for name, value in tags.items():
        values[int(name[1:])] = (value,) if isinstance(value, int) else value
    table = len(out)
    count = len(values) + 1  # and the pixels' place
    after = table + 2 + 12 * count + 4
    tail = bytearray()
    values[273] = (0,)
    longer = {tag: value for tag, value in values.items() if len(value) > 1}
    places: dict[int, int] = {}
    for tag, value in longer.items():
        places[tag] = after + len(tail)
        tail += struct.pack(f"<{len(value)}I", *value)
    values[273] = (after + len(tail),)
    out += struct.pack("<H", count)
    for tag, value in sorted(values.items()):
        shown = places[tag] if tag in places else value[0]
        out += struct.pack("<HHII", tag, 4, len(value), shown)
    link = len(out)
    out += b"\0\0\0\0" + tail + array.tobytes()
    return link
