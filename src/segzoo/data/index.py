"""Listing the pictures of folders, and remembering what was found in large ones.

A folder's time of change tells when a file came or went. What was found is kept with the times of
all the folders it was found in, and is found anew when any of them differs.
"""

import contextlib
import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segzoo.data.images import SUFFIXES
from segzoo.data.listing import ending, walk
from segzoo.data.names import Names
from segzoo.data.roots import user_cache_folder
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.store import atomic

FORMAT = 4
LARGE = 20_000
"""Names from which on remembering them is worth a file."""

SETTLED_NS = 2_000_000_000
"""A folder changed less than this before it is looked at may change again and keep its time."""


DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)
"""What reading a file that is not there, or not whole, may raise."""


class Index:
    """What is found in `folders` under some `settings`."""

    def __init__(self, folders: tuple[Path, ...], settings: Any) -> None:
        told = [FORMAT, [str(folder.absolute()) for folder in folders], settings]
        name = hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
        self.path = user_cache_folder() / "indices" / f"{name}.npz"
        self.times: dict[str, int] = {}
        self._settled = True

    def pictures(self, folder: Path, *, deep: bool = True) -> list[str]:
        """Return the paths of the pictures of a folder, relative to it with /, in their order.

        `deep` looks into its folders too; see `segzoo.data.listing` for what is passed over.
        """
        found = walk(folder, deep=deep, watch=self.watch)
        names = [path for path in found.paths() if ending(path) in SUFFIXES]
        nested = any("/" in name for name in names)
        return sorted(names, key=lambda path: path.split("/")) if nested else names

    def watch(self, path: Path) -> None:
        """Let what is found depend on a folder's or a file's time of change."""
        changed = path.stat().st_mtime_ns
        self.times[str(path)] = changed
        self._settled &= system.now() * 1e9 - changed > SETTLED_NS

    def load(self) -> dict[str, Any] | None:
        """Return what was kept, or None where there is nothing, or not any more."""
        try:
            values = system.read(self.path, _mapped)
            told = json.loads(values.pop("told").tobytes())
            if any(Path(folder).stat().st_mtime_ns != t for folder, t in told.pop("times").items()):
                return None
        except DAMAGED:
            return None
        names = {"keys": Names.of_arrays(values.pop("text"), values.pop("ends"))}
        return {**told, **values, **names}

    def save(self, *, keys: Names, arrays: Any = None, told: Any = None) -> None:
        """Keep the names and what belongs to them, where they are many and the folders settled."""
        if len(keys) < LARGE or not self._settled:
            return
        header = json.dumps({**(told or {}), "times": self.times}).encode()
        with contextlib.suppress(SegzooError), atomic(self.path) as temporary:
            own = {"text": keys.text, "ends": keys.ends, **(arrays or {})}
            told_bytes = np.frombuffer(header, np.uint8)
            system.write(temporary, lambda path: np.savez(path, told=told_bytes, **own))


def _mapped(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz file without reading them into memory, once it proves whole.

    All processes of a machine then have them in memory once.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
        for info in archive.infolist():
            with archive.open(info) as member:
                np.lib.format.read_magic(member)
                shape, _, kind = np.lib.format.read_array_header_1_0(member)
                header = member.tell()
            with path.open("rb") as file:
                # A member begins after its own header, two fields of which vary in length.
                file.seek(info.header_offset + 26)
                lengths = sum(struct.unpack("<HH", file.read(4)))
            start = info.header_offset + 30 + lengths + header
            name = info.filename.removesuffix(".npy")
            empty = 0 in shape  # which cannot be mapped
            arrays[name] = (
                np.empty(shape, kind) if empty else np.memmap(path, kind, "r", start, shape)
            )
    return arrays
