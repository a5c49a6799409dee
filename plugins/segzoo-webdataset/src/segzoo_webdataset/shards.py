"""Where the pictures lie in tar shards, and reading one of them without the rest.

A sample is the members of one name up to the first point, ``0001.jpg`` and ``0001.mask.png`` (the
convention of WebDataset, Aizman, Maltby & Breuel, 2019). The headers of a shard are read once; then
a picture is one read at its place, in any order, by any number of processes.
"""

import functools
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segzoo.data.index import Index
from segzoo.data.names import Names
from segzoo.errors import SegzooError

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IMAGES = ("jpg", "jpeg", "webp", "image.jpg", "image.png", "input.jpg", "input.png", "png")
MASKS = (
    *("mask.png", "seg.png", "segmentation.png", "label.png", "labels.png", "target.png"),
    *("matte.png", "alpha.png", "mask.webp", "png"),
)
MOST_OPEN = 64


@dataclass(frozen=True)
class Places:
    """The samples of some shards: sample n is at ``at[n]`` in ``shards[of[n]]``.

    `at` has for each the offset and size in bytes of its image and of its mask, N x 4. Of very
    many samples all of it is 36 bytes each and their names.
    """

    shards: tuple[Path, ...]
    image: str
    mask: str
    keys: Names
    of: npt.NDArray[np.uint32]
    at: npt.NDArray[np.int64]
    incomplete: tuple[str, ...] = ()
    files: "OpenFiles" = field(default_factory=lambda: OpenFiles(), compare=False)

    def chosen(self, keys: set[str]) -> "Places":
        """Return the samples of some names, in their order here."""
        kept = [place for place, key in enumerate(self.keys) if key in keys]
        names = Names(self.keys[place] for place in kept)
        return replace(self, keys=names, of=self.of[kept], at=self.at[kept])

    def shard(self, index: int) -> Path:
        """Return the shard that a sample is in."""
        return self.shards[self.of[index]]

    def named(self, index: int, *, mask: bool) -> Path:
        """Return what a message calls a sample's image or mask: its place in its shard."""
        name = self.keys[index].rpartition("/")[2]
        return self.shard(index) / f"{name}.{self.mask if mask else self.image}"

    def read(self, index: int, *, mask: bool) -> bytes:
        """Read a sample's image or mask file. Raises SegzooError where the shard has changed."""
        offset, size = self.at[index, 2:4] if mask else self.at[index, 0:2]
        try:
            data = self.files.read(self.shard(index), int(offset), int(size))
        except OSError as error:
            raise SegzooError(f"{self.shard(index)} cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise SegzooError(
                f"{self.named(index, mask=mask)}: {len(data)} of {size} bytes are there",
                "the shard was cut short since it was looked at; make it again",
            )
        return data


class OpenFiles:
    """Files that stay open, the longest unused ones but for some; for any number of threads."""

    def __init__(self) -> None:
        self._open = functools.lru_cache(MOST_OPEN)(lambda path: path.open("rb", buffering=0))

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return the bytes at a place, fewer where the file ends."""
        file = self._open(path)
        return os.pread(file.fileno(), size, offset)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open its own."""
        return (OpenFiles, ())


def find_shards(root: Path) -> dict[str, list[Path]]:
    """Return the shards of each split: ``train-000.tar``, or ``train/*.tar``; others are `train`.

    Where no shard names a split, all of them are.
    """
    found: dict[str, list[Path]] = {}
    for split, names in SPLITS.items():
        shards = [
            path
            for name in names
            for pattern in (f"{name}.tar", f"{name}[-_.]*.tar", f"{name}/*.tar")
            for path in root.glob(pattern)
        ]
        if shards:
            found[split] = sorted(set(shards))
    if not found and (shards := sorted(root.glob("*.tar"))):
        found["train"] = shards
    return found


def find_places(shards: Sequence[Path], image: str | None, mask: str | None) -> Places:
    """Find the samples in some shards; those of many are remembered until a shard changes.

    Raises SegzooError for a shard that cannot be read and where no image has a mask.
    """
    folders = tuple(dict.fromkeys(shard.parent for shard in shards))
    index = Index(folders, ["webdataset", [shard.name for shard in shards], image, mask])
    known = index.load()
    if known is not None:
        known["incomplete"] = tuple(known["incomplete"])
        return Places(shards=tuple(shards), **known)
    for path in (*folders, *shards):
        index.watch(path)
    with ThreadPoolExecutor() as pool:
        members = list(pool.map(_members, shards))
    endings = _endings(members, shards, image, mask)
    places = _paired(members, shards, *endings)
    told = {"image": places.image, "mask": places.mask, "incomplete": places.incomplete}
    index.save(keys=places.keys, arrays={"of": places.of, "at": places.at}, told=told)
    return places


Members = dict[str, dict[str, tuple[int, int]]]
"""Of a shard: by name and extension, where a member begins and how long it is."""


def _members(shard: Path) -> Members:
    """Read the headers of a shard. Only plain files count, and none that begins with a point."""
    found: Members = {}
    if not shard.is_file():
        raise SegzooError(f"{shard} is not a file", "replace it, or take it out")  # perhaps a pipe
    length = shard.stat().st_size
    try:
        # Not compressed: a compressed one can only be read from its beginning.
        with tarfile.open(shard, "r:") as tar:
            for info in _headers(tar):
                folder, _, file = info.name.rpartition("/")
                name, _, ending = file.partition(".")
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not name:
                    continue
                if info.offset_data + info.size > length:
                    raise tarfile.ReadError(f"`{info.name}` is not there in full")
                member = (info.offset_data, info.size)
                parts = found.setdefault(f"{folder}/{name}" if folder else name, {})
                if parts.setdefault(ending.lower(), member) is not member:
                    raise tarfile.ReadError(f"`{info.name}` is in it twice")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise SegzooError(
            f"{shard} is no shard that can be read: {error}",
            "shards are tar files, whole and not compressed: pictures are already",
        ) from error
    return found


def _headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := tar.next()) is not None:
        yield info
        tar.members = []  # type: ignore[attr-defined]  # It would keep them all.
    # tarfile takes a header that is damaged or cut short for the end; the true end is zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)  # type: ignore[attr-defined]
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is cut short or damaged: it has no end")


def _endings(
    members: Sequence[Members], shards: Sequence[Path], image: str | None, mask: str | None
) -> tuple[str, str]:
    """Return the extensions of images and masks: those given, or the first usual ones found."""
    for shard_members in members:
        for parts in shard_members.values():
            for one in [image.lower().lstrip(".")] if image else IMAGES:
                for other in [mask.lower().lstrip(".")] if mask else MASKS:
                    if one != other and one in parts and other in parts:
                        return one, other
    extensions = sorted({ending for part in members for parts in part.values() for ending in parts})
    wanted = f" of the extensions {image or 'any'} and {mask or 'any'}" if image or mask else ""
    raise SegzooError(
        f"no pairs of images and masks{wanted} in {shards[0]} or the {len(shards) - 1} others "
        f"(they hold {', '.join(extensions[:8]) or 'nothing'})",
        "a pair has one name: 0001.jpg with 0001.mask.png; other extensions: -O image=x -O mask=y",
    )


def _paired(members: Sequence[Members], shards: Sequence[Path], image: str, mask: str) -> Places:
    keys: list[str] = []
    of: list[int] = []
    at: list[tuple[int, int, int, int]] = []
    incomplete: list[str] = []
    for number, (shard, shard_members) in enumerate(zip(shards, members, strict=True)):
        for name, parts in shard_members.items():
            key = f"{shard.stem}/{name}"
            if image in parts and mask in parts:
                keys.append(key)
                of.append(number)
                at.append((*parts[image], *parts[mask]))
            elif image in parts or mask in parts:
                incomplete.append(key)
    return Places(
        shards=tuple(shards),
        image=image,
        mask=mask,
        keys=Names(keys),
        of=np.array(of, np.uint32),
        at=np.array(at, np.int64).reshape(-1, 4),
        incomplete=tuple(incomplete),
    )
