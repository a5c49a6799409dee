"""Writing safetensors files, and looking through a header before anything of it is believed.

The format: 8 bytes with the length n of the header, n bytes of JSON that give type, shape and place
of each tensor, and then the tensors (https://github.com/huggingface/safetensors). This module
allocates no more than the header, and that only where it is small.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.host.regular import refuse_irregular

if TYPE_CHECKING:
    from torch import Tensor

MOST_HEADER = 8 << 20  # Parsing the worst of such headers takes 1.5 s and 100 MB.
MOST_METADATA = 4 << 20
MOST_TENSORS = 50_000
MOST_DIMENSIONS = 16
DEEPEST = 16  # A header needs 3 levels, and segzoo's description those of the options in it.
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
TYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int16": "I16", "uint16": "U16", "float16": "F16",
    "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32", "int64": "I64",
    "uint64": "U64", "float64": "F64", "complex64": "C64",
}  # fmt: skip
"""What the format calls torch's types."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: texts by name, of each tensor its type and shape, and how many
    bytes all tensors take.
    """

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    bytes: int


def read_header(path: Path) -> Header:
    """Read and check a header. Raises SegzooError naming the file and what is wrong with it."""
    refuse_irregular(path, "a file of tensors", "give a .safetensors file")
    try:
        text, size = system.read(path, _header_text)
        return _checked(parse_json(text), size)
    except (OSError, ValueError, RecursionError) as error:
        hint = "segzoo reads no pickle; `segzoo import` converts a .pth or .pt file"
        if path.suffix == ".safetensors":
            hint = "the file is truncated or damaged; copy it again"
        raise SegzooError(f"{path} is not a readable safetensors file: {error}", hint) from error


def _header_text(path: Path) -> tuple[bytes, int]:
    """Return a header, and how many bytes come after it."""
    with path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(512)
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > MOST_HEADER:
            _refuse_other_kinds(path, start)
            raise ValueError("it does not begin as such a file does")
        if length > size - 8:
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        file.seek(8)
        return file.read(length), size - 8 - length


def _refuse_other_kinds(path: Path, start: bytes) -> None:
    """Raise SegzooError for what is easily given instead: settings, an archive, a picture."""
    from segzoo.data.pictures.formats import what_it_is

    what = what_it_is(path, start) if start else "empty"
    if not what:
        return
    beside = path.parent / "best.safetensors"
    hint = f"give {beside if beside.is_file() else 'the best.safetensors of a run'}"
    if path.suffix.lower() in (".pth", ".pt", ".bin", ".ckpt", ".pkl"):
        hint = "segzoo reads no pickle; `segzoo import` converts a .pth or .pt file"
    raise SegzooError(f"{path} is {what}, not a safetensors file", hint)


@contextlib.contextmanager
def in_utf_8(path: Path) -> Iterator[Path]:
    """Give a name of a file that is UTF-8, as safetensors opens no other."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/dev/fd/{file.fileno()}")
    else:
        yield path


def load_tensors(path: Path) -> "dict[str, Tensor]":
    """Read the tensors of a safetensors file by name, its header checked first.

    Raises SegzooError naming the file where it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        with in_utf_8(path) as name:
            return system.read(name, load_file)
    except (SafetensorError, OSError, ValueError) as error:
        raise SegzooError(
            f"{path} is not a readable safetensors file: {error}", "copy it again"
        ) from error


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file. Raises OSError where the disk does not take it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        system.write(path, lambda place: save_file(dict(tensors), place, metadata=metadata))
    except SafetensorError as error:  # It tells the system's errors apart by their text alone.
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def tensors_fault(tensors: Mapping[str, Any]) -> str:
    """Say what keeps tensors from being written as a file that `read_header` takes, or ""."""
    header: dict[str, Any] = {}
    end = 0
    for name, value in tensors.items():
        kind = TYPES.get(str(getattr(value, "dtype", "")).removeprefix("torch."))
        if not hasattr(value, "layout"):
            return f"`{name}` is a {type(value).__name__}, no tensor"
        if kind is None or str(value.layout) != "torch.strided" or value.is_quantized:
            what = value.dtype if str(value.layout) == "torch.strided" else value.layout
            return f"`{name}` is of {str(what).removeprefix('torch.')}, which files do not hold"
        begin, end = end, end + SIZES[kind] * math.prod(value.shape)
        header[str(name)] = {
            "dtype": kind, "shape": list(value.shape), "data_offsets": [begin, end]
        }  # fmt: skip
    try:
        text = json.dumps(header, ensure_ascii=False).encode()
        if "__metadata__" in header or len(text) > MOST_HEADER - MOST_METADATA:
            return f"the names of its {len(header)} tensors are too long"
        _checked(parse_json(text), end)
    except ValueError as error:
        return str(error)
    return ""


def parse_json(data: bytes) -> Any:
    """Parse JSON of a limited depth in which no name comes twice. Raises ValueError."""
    text = data.decode("utf-8")
    depth = 0
    for found in re.finditer(r'[\[\]{}]|"(?:[^"\\]|\\.)*"', text):
        bracket = found.group()
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name comes twice")
    return values


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _checked(header: Any, data_size: int) -> Header:
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not texts")
    if sum(len(name) + len(value) for name, value in metadata.items()) > MOST_METADATA:
        raise ValueError(f"its metadata are longer than {MOST_METADATA} characters")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it has {len(header)} tensors")
    places: list[tuple[int, int]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    types: dict[str, str] = {}
    for name, told in header.items():
        kind, shape, (begin, end) = _tensor(name, told)
        if end - begin != SIZES[kind] * math.prod(shape):
            raise ValueError(f"tensor `{name}`: {end - begin} bytes for {kind} {list(shape)}")
        places.append((begin, end))
        shapes[name], types[name] = shape, kind
    at = 0
    for begin, end in sorted(places):
        if begin != at:
            raise ValueError(f"its tensors overlap or leave a hole at byte {at}")
        at = end
    if at != data_size:
        raise ValueError(f"{data_size} bytes of tensors where the header says {at}")
    return Header(metadata, shapes, types, at)


def _tensor(name: str, told: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor `{name[:80]}` is not described by dtype, shape and data_offsets")
    kind, shape, offsets = told["dtype"], told["shape"], told["data_offsets"]
    if not isinstance(kind, str) or kind not in SIZES:
        raise ValueError(f"tensor `{name[:80]}` has the unknown type {str(kind)[:20]!r}")
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"tensor `{name[:80]}` has the shape {str(shape)[:80]}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"tensor `{name[:80]}` is at {str(offsets)[:80]}")
    return kind, tuple(shape), (offsets[0], offsets[1])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 62 for value in values
    )
