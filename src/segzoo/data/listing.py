"""What lies below a folder: its files, folder by folder, and what is passed over with the reason.

Hidden files and folders are no data: a notebook server's `.ipynb_checkpoints` holds copies of
pictures, macOS writes a `._a.png` beside each `a.png`. Links to folders are followed, but not to
what is listed anyway. What is no regular file, such as a pipe, would be waited for.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segzoo.errors import SegzooError

SYSTEM_NAMES = {"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini"}
"""What operating systems leave in folders, beside names that begin with a dot; in lower case."""


@dataclass
class Listing:
    """The files below `root`; every path is relative to it, with /, folders end with / or are "".

    `files` has the names in each folder, both in their order, empty folders too. Passed over are
    `hidden` files and folders, `links` to folders that are listed already (or contain the root),
    and what is `irregular`: pipes, sockets, devices.
    """

    root: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    irregular: list[str] = field(default_factory=list)

    def paths(self) -> Iterator[str]:
        """Yield the files' paths, relative to the root."""
        for folder, names in self.files.items():
            for name in names:
                yield folder + name


def is_hidden(name: str) -> bool:
    """Whether a file's or folder's name says that it is not data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def ending(name: str) -> str:
    """Return a file name's ending with its dot, in lower case; "" where it has none."""
    dot = name.rfind(".")  # A tenth of the time that pathlib takes, for a million names.
    return name[dot:].lower() if dot > name.rfind("/") + 1 else ""


def walk(
    root: Path,
    *,
    deep: bool = True,
    watch: Callable[[Path], None] = lambda folder: None,
    skip: Callable[[Path], bool] = lambda folder: False,
) -> Listing:
    """List what lies in a folder, and with `deep` in the folders below it.

    `watch` is told of every folder before it is listed; those for which `skip` holds are passed
    over without a word. Raises SegzooError naming a folder that cannot be listed.
    """
    found = Listing(root)
    inside = Path(os.path.realpath(root))
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        where = root.absolute() / below
        files: list[str] = []
        try:
            watch(where)
            with os.scandir(where) as entries:
                for entry in entries:
                    path = below + entry.name
                    if is_hidden(entry.name):
                        found.hidden.append(path + "/" * entry.is_dir(follow_symlinks=False))
                    elif entry.is_dir(follow_symlinks=False):
                        if deep and not skip(Path(entry.path)):
                            waiting.append(path + "/")
                    elif _is_link_to_folder(entry):
                        if deep and _leads_elsewhere(entry, inside, seen):
                            waiting.append(path + "/")
                        elif deep:
                            found.links.append(path)
                    elif _is_file(entry):
                        files.append(entry.name)
                    else:
                        found.irregular.append(path)
        except OSError as error:
            raise SegzooError(f"{where} cannot be listed: {error.strerror or error}") from error
        found.files[below] = sorted(files)
    ordered = sorted(found.files, key=lambda folder: folder.split("/"))
    found.files = {folder: found.files[folder] for folder in ordered}
    for passed_over in (found.hidden, found.links, found.irregular):
        passed_over.sort()
    return found


def _is_link_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False


def _leads_elsewhere(entry: os.DirEntry[str], inside: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a link leads to a folder that is listed neither below the root nor by another link.

    One to a folder that contains the root would lead round in a circle.
    """
    target = Path(os.path.realpath(entry.path))
    if target.is_relative_to(inside) or inside.is_relative_to(target):
        return False
    state = entry.stat()
    new = (state.st_dev, state.st_ino) not in seen
    seen.add((state.st_dev, state.st_ino))
    return new


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a link to one; so is a link to nowhere, which reading names."""
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)  # Known from the listing, without a look.
    try:
        return stat.S_ISREG(os.stat(entry.path).st_mode)  # noqa: PTH116
    except OSError:
        return True
