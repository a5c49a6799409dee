"""Files that somebody names, or that a folder holds: read where they are regular files alone.

Opening a pipe waits for somebody to write, a device may never end.
"""

import os
import stat
from pathlib import Path

from segzoo.errors import SegzooError
from segzoo.host import system

_KINDS = (
    *((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket")),
    *((stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device")),
)
REPLACE = "replace it, or take it out"


def irregular(path: str | Path) -> str:
    """Say what a path is that is no regular file, ``"a pipe"``; ``""`` where nothing is there."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - half the time of Path.stat
    except (OSError, ValueError):
        return ""  # Opening it says what is wrong.
    if stat.S_ISREG(mode):
        return ""
    return next((name for holds, name in _KINDS if holds(mode)), "no regular file")


def refuse_irregular(path: str | Path, wanted: str, hint: str = REPLACE) -> None:
    """Raise SegzooError, naming the path and what it is, for what is there and is no file."""
    if what := irregular(path):
        raise SegzooError(f"{path} is {what}, not {wanted}", hint)


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a name that no file system takes, as a long one, is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is a regular file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything; a name that no file system takes is nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_text(path: Path, wanted: str, most: int) -> str:
    """Return the text of a file in UTF-8, of at most so many bytes.

    Raises SegzooError naming it for a pipe or a device, one that is larger, and other encodings;
    FileNotFoundError where there is none.
    """
    refuse_irregular(path, wanted)
    try:
        size = path.stat().st_size
        if size > most:
            raise SegzooError(f"{path} has {size} bytes: too many for {wanted}", REPLACE)
        return system.read(path, Path.read_bytes).decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise SegzooError(
            f"{path} is not text in UTF-8, as {wanted} is: byte {error.start}",
            "it is damaged, or was saved in another encoding",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SegzooError(f"{path} cannot be read: {reason}", REPLACE) from error
