"""Writing uncompressed TIFFs of any bands, numbers and pages, as Pillow cannot."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

_NUMBERS = {"u": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path,
    *pages: npt.NDArray[np.generic],
    order: Literal["<", ">"] = "<",
    **tags: int | Sequence[int],
) -> Path:
    """Write pages H x W or H x W x C, with tags such as ``t338=(2,)`` beside the usual ones.

    `order` is that of the bytes, ``t259=8`` compresses.
    """
    out = bytearray(b"II*\0" if order == "<" else b"MM\0*") + b"\0\0\0\0"
    link = 4
    for array in pages:
        struct.pack_into(f"{order}I", out, link, len(out))
        link = _page(out, array, order, tags)
    path.write_bytes(out)
    return path


def _page(
    out: bytearray,
    array: npt.NDArray[np.generic],
    order: Literal["<", ">"],
    tags: dict[str, int | Sequence[int]],
) -> int:
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if tags.get("t259") == 8 else data
    values: dict[int, Sequence[int]] = {
        256: (width,),
        257: (height,),
        258: (array.dtype.itemsize * 8,) * bands,
        259: (1,),
        262: (2 if bands >= 3 else 1,),
        273: (0,),
        277: (bands,),
        278: (height,),
        279: (len(data),),
        284: (1,),
        339: (_NUMBERS[array.dtype.kind],) * bands,
    }
    for name, value in tags.items():
        values[int(name[1:])] = (value,) if isinstance(value, int) else value
    after = len(out) + 2 + 12 * len(values) + 4
    tail = bytearray()
    places: dict[int, int] = {}
    for tag, value in values.items():
        if len(value) > 1:
            places[tag] = after + len(tail)
            tail += struct.pack(f"{order}{len(value)}I", *value)
    values[273] = (after + len(tail),)
    out += struct.pack(f"{order}H", len(values))
    for tag, value in sorted(values.items()):
        shown = places.get(tag, value[0])
        out += struct.pack(f"{order}HHII", tag, 4, len(value), shown)
    link = len(out)
    out += b"\0\0\0\0" + tail + data
    return link
