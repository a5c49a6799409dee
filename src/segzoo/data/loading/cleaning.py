"""What lies in the cache folder, and clearing it: only what segzoo itself put there; light.

Everything below `user_cache_folder()` can be made again. A folder that somebody else put there, as
where $SEGZOO_CACHE names one that is used for other things too, is listed and never touched.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segzoo.data.roots import user_cache_folder
from segzoo.errors import SegzooError, listed, nearest
from segzoo.host import system
from segzoo.host.regular import is_folder, read_text

MOST_BYTES = 1 << 20  # of what says what a cache was made of
KINDS = {
    "resized": (r"[0-9a-f]{32}", "pictures decoded and resized for trainings; they are read anew"),
    "indices": (r"[0-9a-f]{32}\.npz", "listings of large folders; they are listed anew"),
    "samples": (r".+-\d[^-]*", "stand-ins of data sets, for --sample; they are written anew"),
    "portraits": (
        r"v\d+-seed\d+-\d+\+\d+",
        "generated portraits; they are made anew, the same",
    ),
}
"""Folders in the cache, the form of the names in them, and what clearing them costs.

What has another name is not segzoo's, even in a folder of this name.
"""

TEMPORARY = r"\.(making|writing)-.*"
OTHER = "not segzoo's: left alone"
IN_USE_SECONDS = 3600
"""Resized pictures that were used this lately may be a running training's."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A folder or file in the cache: how much room it takes, and when it was last used.

    `about` says what it was made of, where that is known; `last_used` is in seconds since 1970.
    """

    path: str
    bytes: int
    last_used: float
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One kind of things in the cache, and what it is; `ours` where it may be cleared."""

    kind: str
    what: str
    ours: bool
    entries: tuple[Kept, ...]

    @property
    def bytes(self) -> int:
        """The room that all of it takes."""
        return sum(entry.bytes for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "bytes": self.bytes}


def cache_parts() -> list[Part]:
    """Return what lies in the cache folder, kind by kind; nothing where there is no such folder."""
    folder = user_cache_folder()
    if not is_folder(folder):
        return []
    parts = []
    strangers = [path for path in folder.iterdir() if path.name not in KINDS]
    for kind, (form, what) in KINDS.items():
        inside = sorted((folder / kind).iterdir()) if (folder / kind).is_dir() else []
        own = [path for path in inside if re.fullmatch(f"{form}|{TEMPORARY}", path.name)]
        strangers += [path for path in inside if path not in own]
        entries = tuple(map(_kept, own))
        parts.append(Part(kind=kind, what=what, ours=True, entries=entries))
    entries = tuple(map(_kept, sorted(strangers)))
    parts.append(Part(kind="other", what=OTHER, ours=False, entries=entries))
    return [part for part in parts if part.entries]


def clear(kind: str | None = None, *, force: bool = False) -> tuple[int, list[Kept]]:
    """Remove a kind or all that is segzoo's; return the bytes freed and what was left.

    Left are resized pictures that were used within the hour and what is being written, unless
    `force` says so, and what cannot be removed. Raises SegzooError for an unknown kind.
    """
    check_kind(kind)
    freed, left = 0, []
    for part in cache_parts():
        if not part.ours or kind not in (None, part.kind):
            continue
        for entry in part.entries:
            recent = system.now() - entry.last_used < IN_USE_SECONDS
            watched = part.kind == "resized" or Path(entry.path).name.startswith(".")
            if watched and recent and not force:
                left.append(entry)
            elif _remove(Path(entry.path)):
                freed += entry.bytes
            else:
                left.append(entry)
    return freed, left


def check_kind(kind: str | None) -> None:
    """Raise SegzooError for what is no kind of things in the cache, saying which there are."""
    if kind is not None and kind not in KINDS:
        raise SegzooError(
            f"nothing of the kind `{kind}` is kept in the cache",
            f"{nearest(kind, KINDS)}there is: {listed(KINDS)}",
        )


def _kept(path: Path) -> Kept:
    about = ""
    used = path.lstat().st_mtime
    described = path / "about.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, SegzooError):
        used = described.stat().st_mtime
        made_of = json.loads(read_text(described, "a description", MOST_BYTES))
        height, width = made_of["size"]
        about = f"{made_of['data']['identity']} at {height}x{width}: {made_of['first file']}, ..."
    return Kept(path=str(path), bytes=_taken(path), last_used=used, about=about)


def _taken(path: Path) -> int:
    """Return the room that a file or folder takes: files may be longer than what is written."""
    total = 0
    for file in _files(path):
        with contextlib.suppress(OSError):
            stat = file.lstat()
            total += getattr(stat, "st_blocks", -(-stat.st_size // 512)) * 512
    return total


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for child in path.iterdir():
        yield from _files(child)


def _remove(path: Path) -> bool:
    """Remove a file, link or folder; say whether it is gone."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            system.unlink(path)
        else:
            system.remove_tree(path)
    return not path.is_symlink() and not path.exists()
