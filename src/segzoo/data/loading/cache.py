"""Keeping finished samples, so that a picture is decoded and resized once and not in every epoch.

`SampleCache` keeps them on disk, for other runs as well, `MemoryCache` in memory, for this one.
B batch, C channels, H height, W width, N samples.

A cache on disk is a folder for one split of one data set with one set of options at one size, below
`user_cache_folder()/resized`::

    images.bin    N images C x H x W, one after the other
    targets.bin   N targets H x W
    index.bin     N records: signature of the files a sample was made of, checksum of the sample
    about.json    what it was made of, for people; changed when it was last used

It fills as pictures are read, by any number of processes at once: a sample is written before its
record, equal samples are equal bytes, and what the record does not vouch for is read anew. Files
are read through memory maps, so that samples in use are in memory once, whoever uses them, and may
be more than it holds.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from segzoo.data.roots import most_gigabytes, user_cache_folder
from segzoo.data.sample import Batch, DataInfo, Sample
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.store import write_json

log = logging.getLogger("segzoo")

Indices = npt.NDArray[np.int64]

FORMAT = 1
RECORD = struct.Struct("<16sI4x")
"""Signature and CRC-32; a record of zeros, as in a new file, is no sample's."""

LEFT_FREE = 0.5
"""The share of a disk's free space that the caches leave."""

RECENT_SECONDS = 3600

LOOKED_THROUGH = 1 << 30
"""Bytes up to which a cache on disk is looked through before the first epoch, by one process. What
is larger is looked through in the course of it, by the processes that read pictures."""

SETTLED_NS = 2_000_000_000
"""A file changed less than this before it is looked at may change again without a trace: file
systems keep times in steps of up to two seconds."""


class LostError(Exception):
    """What is kept on disk cannot be read any more: it was removed, or belongs to another run."""


class MemoryCache:
    """The samples of one run, taken as they come for the first time."""

    def __init__(self, count: int, first: Sample) -> None:
        self.images = torch.empty((count, *first.image.shape), dtype=first.image.dtype)
        self.targets = torch.empty((count, *first.target.shape), dtype=first.target.dtype)
        self.keys = [""] * count
        self.missing = np.ones(count, dtype=bool)

    def arrived(self, indices: Indices, samples: Batch, stored: list[bool]) -> None:
        """Take samples that have been read, of the first one's types."""
        images_BCHW, target_BHW, keys = samples
        if images_BCHW.dtype == self.images.dtype and target_BHW.dtype == self.targets.dtype:
            chosen = torch.from_numpy(indices)
            self.images[chosen], self.targets[chosen] = images_BCHW, target_BHW
            self.missing[indices] = False
            for index, key in zip(indices, keys, strict=True):
                self.keys[index] = key

    def check(self) -> None:
        """Find nothing: memory loses nothing."""

    def lost(self, error: LostError) -> None:
        """Read all of it anew."""
        self.missing[:] = True

    def gather(self, indices: Indices) -> Batch:
        """Return samples that are there."""
        keys = [self.keys[i] for i in indices]
        chosen = torch.from_numpy(indices)
        return Batch(self.images[chosen], self.targets[chosen], keys)


class SampleCache:
    """The cache of samples by the names `keys`, all of the shapes and types of `first`.

    `files` gives the files of a sample by its index. `room` is how many samples there is space
    for, those of the lowest indices.
    """

    def __init__(
        self,
        folder: Path,
        keys: Sequence[str],
        first: Sample,
        files: Callable[[int], Iterable[Path]],
    ) -> None:
        self.folder, self.keys, self.files = folder, keys, files
        image, target = (np.asarray(array) for array in (first.image, first.target))
        self._like = {"images": (image.dtype, image.shape), "targets": (target.dtype, target.shape)}
        self._opened: dict[tuple[int, str], Any] = {}
        per_sample = sum(self._sizes().values())
        self.room = _make_room(folder, len(keys) * per_sample) // per_sample
        self.missing = np.ones(len(keys), dtype=bool)
        for name, size in self._sizes().items() if self.room else ():
            system.make_folder(folder)
            system.reserve(folder / f"{name}.bin", size * self.room)

    def signature(self, index: int) -> bytes | None:
        """Return what changes with the files of a sample: names, sizes, times and inodes.

        None where a file is not there: reading it will say so.
        """
        digest = hashlib.blake2b(digest_size=16)
        for path in self.files(index):
            try:
                stat = Path(path).stat()
            except OSError:
                return None
            values = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            digest.update(f"{path}\0{values}\0".encode(errors="surrogateescape"))
            if system.now() * 1e9 - stat.st_ctime_ns < SETTLED_NS:
                digest.update(os.urandom(16))
        return digest.digest()

    def read(self, index: int, signature: bytes | None, key: str) -> Sample | None:
        """Return a sample, or None where it is not there, outdated or damaged."""
        if signature is None or index >= self.room:
            return None
        try:
            maps = self._maps()
        except LostError as error:
            self.lost(error)
            return None
        found, checksum = RECORD.unpack(maps["index"][index].tobytes())
        if found != signature:
            return None
        image, target = (np.array(maps[name][index]) for name in ("images", "targets"))
        if checksum != _checksum(image, target):
            log.warning(
                "cache %s: sample %d is damaged; reading `%s` anew", self.folder, index, key
            )
            return None
        return Sample(torch.from_numpy(image), torch.from_numpy(target), key)

    def write(self, index: int, signature: bytes | None, sample: Sample) -> bool:
        """Keep a sample; return whether it is kept. A disk that is full is no error, only slow."""
        arrays = {"images": sample.image.numpy(), "targets": sample.target.numpy()}
        alike = all((a.dtype, a.shape) == self._like[name] for name, a in arrays.items())
        if signature is None or index >= self.room or not alike:
            return False
        record = RECORD.pack(signature, _checksum(arrays["images"], arrays["targets"]))
        try:
            for name, array in arrays.items():
                self._put(name, index, np.ascontiguousarray(array).data.cast("B"))
            self._put("index", index, memoryview(record))
        except OSError as error:
            log.warning("cache %s: %s; it is not filled further", self.folder, error.strerror)
            self.room = 0
            return False
        return True

    def look(self) -> None:
        """Find out which samples are there, unless they are too many to look at one by one."""
        if len(self.keys) * sum(self._sizes().values()) <= LOOKED_THROUGH:
            for index, key in enumerate(self.keys):
                self.missing[index] = self.read(index, self.signature(index), key) is None

    def check(self) -> None:
        """Find out whether the files are there still; to be asked before an epoch is read.

        Those that are mapped stay, whoever removes them.
        """
        mapped = (os.getpid(), "maps") in self._opened and not self.missing.any()
        if self.room and not mapped and not (self.folder / "index.bin").is_file():
            self.lost(LostError("it has been removed"))

    def arrived(self, indices: Indices, samples: Batch, stored: list[bool]) -> None:
        """Note which samples whoever read them has `stored`."""
        self.missing[indices] = np.logical_not(stored)

    def lost(self, error: LostError) -> None:
        """Do without what cannot be read any more, from now on, and say so once."""
        self.missing[:] = True
        if self.room and get_worker_info() is None:  # which tells it for all
            log.warning("cache %s: %s; pictures are read anew", self.folder, error)
        self.room = 0

    def gather(self, indices: Indices) -> Batch:
        """Return samples that are there; raise LostError where they are not any more."""
        maps = self._maps()
        if not maps["index"][indices].any(axis=1).all():
            # Whoever wrote them wrote into files that have been replaced since.
            raise LostError("samples in it have been removed")
        images, targets = (maps[name][indices] for name in ("images", "targets"))
        keys = [str(self.keys[i]) for i in indices]
        return Batch(torch.from_numpy(images), torch.from_numpy(targets), keys)

    def _sizes(self) -> dict[str, int]:
        sizes = {
            name: dtype.itemsize * int(np.prod(shape))
            for name, (dtype, shape) in self._like.items()
        }
        return {**sizes, "index": RECORD.size}

    def _maps(self) -> dict[str, Any]:
        """Return read-only maps of the files as arrays of `room` rows; each process has its own.

        Raises LostError. They are opened together: a folder that is removed and made again in
        between would give samples of zeros the records of others.
        """
        at = (os.getpid(), "maps")
        if at not in self._opened:
            try:
                before = self.folder.stat().st_ino
                maps = {name: self._map(name) for name in self._sizes()}
                if self.folder.stat().st_ino != before:
                    raise LostError("it has been replaced")
            except (OSError, ValueError) as error:  # not there, or shorter than it was made
                raise LostError(getattr(error, "strerror", None) or "it is cut off") from error
            self._opened[at] = maps
        return self._opened[at]

    def _map(self, name: str) -> Any:
        kind, shape = self._like.get(name, (np.dtype(np.uint8), (RECORD.size,)))
        return system.map_array(self.folder / f"{name}.bin", kind, (self.room, *shape))

    def _put(self, name: str, index: int, data: memoryview) -> None:
        # Not through the map: writing there to a full disk ends the process.
        at = (os.getpid(), f"{name} for writing")
        if at not in self._opened:
            self._opened[at] = system.open_in_place(self.folder / f"{name}.bin")
        if system.write_in_place(self._opened[at], index * len(data), data) != len(data):
            raise OSError(0, "the disk is full")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open files out, for the processes that read pictures."""
        return {**self.__dict__, "_opened": {}}


def open_cache(
    dataset: Any, info: DataInfo, size: tuple[int, int], first: Sample
) -> SampleCache | None:
    """Open the cache of a built split, or return None where it cannot have one.

    It can where it says which files a sample is made of, by ``files(index)``, and its samples'
    names, by ``keys``; and where the user's cache folder can be written. Raises SegzooError for an
    environment variable that is no limit.
    """
    most_gigabytes()  # What is no number is refused, not noted as a disk that cannot be written.
    keys = getattr(dataset, "keys", None)
    if not hasattr(dataset, "files") or not isinstance(keys, Sequence):
        return None
    if len(keys) != len(dataset):
        return None
    made_of = {
        "format": FORMAT,
        "data": dataclasses.asdict(info),
        "size": list(size),
        "types": [str(first.image.dtype), str(first.target.dtype), len(first.image)],
        "first file": str(Path(next(iter(dataset.files(0)))).absolute()),
        "keys": _digest("\0".join(keys).encode(errors="surrogateescape")),
        "code": code_digest(dataset),
    }
    name = _digest(json.dumps(made_of, sort_keys=True, default=str).encode())
    folder = caches() / name
    try:
        cache = SampleCache(folder, keys, first, dataset.files)
        if not cache.room:
            log.info(
                "no room for resized pictures in %s; $SEGZOO_CACHE_GB sets the limit", caches()
            )
            return None
        write_json(folder / "about.json", made_of)
    except (OSError, SegzooError) as error:
        log.info("resized pictures are not kept on disk: %s", error)
        return None
    return cache


def caches() -> Path:
    """Return the folder of all caches of resized pictures."""
    return user_cache_folder() / "resized"


def code_digest(dataset: Any) -> str:
    """Return a digest of the code that makes the samples: the data set's package, and this one."""
    parts = {type(part) for part in getattr(dataset, "datasets", [dataset])}
    files, folders = set(Path(__file__).parents[1].rglob("*.py")), set[Path]()
    for kind in parts:
        source = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if source:
            folders.add(Path(source).parent)
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files.union(*(folder.glob("*.py") for folder in folders))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _make_room(folder: Path, need: int) -> int:
    """Return the bytes, up to `need`, that a cache may take; the longest unused others go for it.

    Those used in the last hour stay: they may be this run's other splits.
    """
    system.make_folder(folder.parent)
    others = {
        other: _bytes(other)
        for other in folder.parent.iterdir()
        if other.is_dir() and other != folder
    }
    taken = sum(others.values())
    free = shutil.disk_usage(folder.parent).free + taken + _bytes(folder)
    limit = most_gigabytes() * 1e9
    allowed = int(min(limit, free * (1 - LEFT_FREE)))
    for other in sorted(others, key=_last_used):
        if taken + need <= allowed or system.now() - _last_used(other) < RECENT_SECONDS:
            break
        system.remove_tree(other)
        taken -= others[other]
    return max(0, min(need, allowed - taken))


def _last_used(folder: Path) -> float:
    try:
        return (folder / "about.json").stat().st_mtime
    except OSError:
        return system.now()  # It is being made.


def _bytes(folder: Path) -> int:
    """Return the bytes that a cache takes when it is full; while it fills its files have holes."""
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.glob("*.bin"))
    return 0


def _checksum(image: npt.NDArray[Any], target: npt.NDArray[Any]) -> int:
    images, targets = (np.ascontiguousarray(array).data for array in (image, target))
    return zlib.crc32(targets, zlib.crc32(images))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
