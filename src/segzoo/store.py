"""Writing so that a reader never sees half a file: temporary name, fsync, rename."""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.host.ending import ending
from segzoo.host.regular import read_text, refuse_irregular

LOCK = ".lock"
TEMPORARY = ".writing-"
STALE_SECONDS = 60
"""Younger files are left: a process of another container may have the same number."""
_HELD: dict[Path, int] = {}  # by this process: folders and the descriptors of their locks


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there replaces `path` on success.

    The temporary name keeps the ending, for writers that choose the format by it.
    """
    refuse_irregular(path, "a file to write", "choose another place")
    with writing(path):
        make_folder(path.parent)
        prefix = f"{TEMPORARY}{_host()}-{os.getpid()}-"
        temporary = system.make_temporary(path.parent, prefix, path.suffix)
        try:
            with ending.writing(path.parent):
                yield temporary
            system.set_mode(temporary, 0o666 & ~_umask())
            system.sync(temporary)
            system.rename(temporary, path)
            _sync_folder(path.parent)
        finally:
            system.unlink(temporary)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, to outlive a power cut like what will be in them."""
    places = (folder, *folder.parents)
    new = list(itertools.takewhile(lambda place: not place.exists(), places))
    system.make_folder(folder)
    for place in new:
        _sync_folder(place.parent)


def remove_temporary(folder: Path) -> None:
    """Remove what writers left in a folder that were killed; nobody may be writing there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            system.unlink(path)


def remove_stale(folder: Path) -> None:
    """Remove what writers left in a folder that were killed, others may be writing there: what
    processes of this machine began that are no more, a minute ago or longer.
    """
    if os.name != "posix":  # There a signal 0 is not for asking.
        return
    for path in folder.glob(f"{TEMPORARY}{_host()}-*-*"):
        pid = path.name.removeprefix(f"{TEMPORARY}{_host()}-").partition("-")[0]
        with contextlib.suppress(OSError):
            old = system.now() - path.stat().st_mtime > STALE_SECONDS
            if old and pid.isdecimal() and not system.is_alive(int(pid)):
                system.unlink(path)


def _host() -> str:
    """Return this machine's name as few letters: a process number of another says nothing here."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing into a SegzooError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SegzooError(f"cannot write {path}: {reason}", "choose another place") from error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a file that was not there, ``a.png``, ``a-2.png``, ...: empty, gone after an error."""
    file = path
    with writing(path):
        make_folder(path.parent)
        for number in itertools.count(2):
            try:
                system.make_file(file)
                break
            except FileExistsError:
                file = path.with_stem(f"{path.stem}-{number}")
    try:
        yield file
    except BaseException:
        system.unlink(file)
        raise


def shown(path: Path) -> Path:
    """Return a path as it is best said: from the working folder, if it lies below that."""
    with contextlib.suppress(OSError, ValueError):
        return path.relative_to(Path.cwd())
    return path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as temporary:
        system.write(temporary, lambda place: place.write_bytes(data))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself among all who ask for it so; a process that ends gives it up.

    Raises SegzooError naming the process that has it. Where the file system has no locks, nobody
    is kept out. It is a lock of the open file (flock), which stays when the same file is opened and
    closed again, as by who copies the folder; forks of this process close theirs.
    """
    place = folder.absolute()
    if place in _HELD:
        raise _in_use(folder, f"another training of this process, {os.getpid()}")
    refuse_irregular(folder / LOCK, "a lock")
    with writing(folder):
        make_folder(folder)
        lock = system.open_lock(folder / LOCK)
    _HELD[place] = lock
    try:
        _take(folder, lock)
        yield
    finally:
        if _HELD.pop(place, None) is not None:  # None: in a fork, which has closed it
            os.close(lock)


def _take(folder: Path, lock: int) -> None:
    try:
        system.lock(lock)
    except (BlockingIOError, PermissionError) as error:
        by = os.pread(lock, 1000, 0).decode(errors="replace").strip()
        raise _in_use(folder, by) from error
    except OSError:
        return
    with writing(folder / LOCK):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)


def _leave_locks() -> None:
    """Close the locks that a fork has of its parent, so that they end with that."""
    for lock in _HELD.values():
        with contextlib.suppress(OSError):
            os.close(lock)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)


def _in_use(folder: Path, by: str) -> SegzooError:
    return SegzooError(
        f"{folder} is in use by {by or 'another process'}",
        "wait for it to end, or end it; or choose another --out",
    )


def replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder that then takes the name `folder`, all or nothing.

    Two processes may do so at once: the first to finish wins, the other's work is dropped.
    """
    with writing(folder):
        make_folder(folder.parent)
        temporary = system.make_temporary_folder(folder.parent, ".making-")
        try:
            system.write(temporary, write)
            system.set_mode(temporary, 0o777 & ~_umask())
            _sync_below(temporary)
            with contextlib.suppress(OSError):
                system.rename(temporary, folder)
            if not folder.is_dir():
                raise OSError(f"{temporary} could not take its place")
            _sync_folder(folder.parent)
        finally:
            if temporary.is_dir():
                system.remove_tree(temporary)


def _sync_below(folder: Path) -> None:
    """Let what is in a folder outlive a power cut, before its name says that it is whole."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            _sync_below(path)
        elif path.is_file():
            system.sync(path)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Let a rename outlive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        system.sync(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


MOST_BYTES = 1 << 22  # of a file of settings


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a TOML file of RunConfig fields; raise SegzooError naming the file and the line."""
    try:
        return tomllib.loads(read_text(Path(path), "a config in TOML", MOST_BYTES))
    except FileNotFoundError as error:
        raise SegzooError(
            f"cannot read the config {path}: no such file", "--config takes a TOML file of settings"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SegzooError(f"{path} is not valid TOML: {error}") from error
