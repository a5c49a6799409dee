"""The calls to the operating system by which files are written, read back, locked and timed, and
signals heard.

Whoever writes what is to outlive a kill, a full disk or a power cut calls these, through the module
(``system.rename(...)``): so that a simulation can stand in their place, which lets each call fail,
be the last one, or be met by a signal (benchmarks/campaign/simulated.py). Nothing is decided here.
Those of files raise OSError. tests/test_seam.py has the list of those who go by other ways.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Read = TypeVar("Read")


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there."""
    path.mkdir(parents=True, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file. Raises FileExistsError where there is one."""
    path.touch(exist_ok=False)


def make_temporary(folder: Path, prefix: str, suffix: str) -> Path:
    """Make an empty file of a new name."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
    os.close(handle)
    return Path(name)


def make_temporary_folder(folder: Path, prefix: str) -> Path:
    """Make an empty folder of a new name, for this user alone."""
    return Path(tempfile.mkdtemp(dir=folder, prefix=prefix))


def write(path: Path, by: Callable[[Path], object]) -> None:
    """Let something write a file of its own, or files in a folder, which has a name already."""
    by(path)


def append(path: Path, data: bytes) -> int:
    """Add to the end of a file, in one write: others may add to it, too. Return how many bytes the
    disk has taken.
    """
    with path.open("ab", buffering=0) as file:
        return file.write(data)


def reserve(path: Path, size: int) -> None:
    """Make a file, or one that is shorter, as long as `size`; zeros are added."""
    with path.open("ab") as file:
        if file.tell() < size:
            file.truncate(size)


def open_in_place(path: Path) -> IO[bytes]:
    """Open a file to change bytes in it."""
    return path.open("r+b", buffering=0)


def write_in_place(file: IO[bytes], at: int, data: memoryview) -> int:
    """Change bytes of an open file; return how many the disk has taken."""
    file.seek(at)
    return file.write(data)


def map_array(path: Path, kind: Any, shape: tuple[int, ...]) -> Any:
    """Map an array of a file into memory, not to be written to."""
    import numpy as np

    return np.memmap(path, kind, "r", shape=shape)


def read(path: Path, by: Callable[[Path], Read]) -> Read:
    """Let something read a file."""
    return by(path)


def set_mode(path: Path, mode: int) -> None:
    """Set who may read and write a file."""
    path.chmod(mode)


def sync(path: Path) -> None:
    """Wait until what is in a file, or the names in a folder, outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(path: Path, to: Path) -> None:
    """Give a file another name, in the place of what has that now; or a folder, if none has it."""
    path.replace(to)


def unlink(path: Path) -> None:
    """Remove a file, if it is there."""
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove an empty folder."""
    folder.rmdir()


def remove_tree(folder: Path) -> None:
    """Remove a folder with what is in it, as far as that can be removed; nothing is raised."""
    shutil.rmtree(folder, ignore_errors=True)


def open_lock(path: Path) -> int:
    """Open a file to lock it, and make it where it is not there; return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def lock(descriptor: int) -> None:
    """Keep others from locking an open file; it ends with the descriptor.

    Raises BlockingIOError or PermissionError where another process has it.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # Another user's.
        return True
    return True


def monotonic() -> float:
    """Return the seconds of a clock that nobody sets."""
    return time.monotonic()


def now() -> float:
    """Return the seconds of the day's clock, which may be set."""
    return time.time()


def heard_by(number: int) -> Any:
    """Return who hears a signal of this number: a function, SIG_DFL, SIG_IGN, or None."""
    return signal.getsignal(number)


def hear(number: int, handler: Any) -> None:
    """Let a function hear a signal; it is called in the midst of anything."""
    signal.signal(number, handler)


def alarm(seconds: float) -> None:
    """Send this process a SIGALRM after some seconds; with 0 none. Not on Windows."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
