"""Writing so that a reader never sees half a file: temporary name, fsync, rename."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segzoo.errors import SegzooError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there replaces `path` on success.

    The temporary name keeps the ending, for writers that choose the format by it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing into a SegzooError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SegzooError(f"cannot write {path}: {reason}", "choose another place") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder that then takes the name `folder`, all or nothing.

    Two processes may do so at once: the first to finish wins, the other's work is dropped.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
        try:
            write(temporary)
            temporary.chmod(0o777 & ~_umask())
            with contextlib.suppress(OSError):
                temporary.rename(folder)
            if not folder.is_dir():
                raise OSError(f"{temporary} could not take its place")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
