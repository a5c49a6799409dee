"""Doing something on a file's behalf without the network, and without what else lies around.

A weights file names a model and its options, and some options make some networks download, or read
another file. What a file says is not to do that, whichever plugin's network it names, so it is
refused where Python does it (its audit events, PEP 578), not where segzoo or a plugin would ask.

It holds for the thread that enters the block and for threads that are started from within it;
other threads of the program are left alone. What is not seen: code in C that connects or reads by
itself, and work that is handed to a thread that was there before.
"""

import _thread
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from segzoo.errors import SegzooError

CONNECTS = frozenset(
    (
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        *("socket.getnameinfo", "urllib.Request", "http.client.connect"),
    )
)
STARTS = frozenset(
    (
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
        *("os.fork", "os.forkpty", "os.startfile", "pty.spawn"),
    )
)
THREADS = frozenset(("_thread.start_new_thread", "_thread.start_joinable_thread"))
READABLE = ("/dev/null", "/dev/urandom", "/dev/random", "/proc/cpuinfo", "/proc/meminfo")
READABLE_BELOW = ("/proc/self/", "/sys/devices/system/", "/sys/fs/cgroup/")
"""What libraries look at to know the machine."""
_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib")
_IMPORTING = "<frozen importlib._bootstrap>"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class RefusedError(SegzooError, PermissionError):
    """Something that is not done on a file's behalf; also an OSError, as libraries expect it."""


@dataclass(eq=False)
class _Block:
    source: str
    sealed: bool
    frame: Any
    refused: RefusedError | None = None


_held: dict[int, _Block] = {}
"""By the thread's number: those that are in a block."""


@contextlib.contextmanager
def offline(source: str) -> Iterator[None]:
    """Raise RefusedError naming `source` where code in the block connects, or starts another
    program than this Python.
    """
    with _block(source, sealed=False):
        yield


@contextlib.contextmanager
def sealed(source: str) -> Iterator[None]:
    """As `offline`, and refuse any program, any new thread, and files that are not Python's own.

    Python's own are those of its installation and of imported packages. What an installed module
    does while it is imported for the first time is its own affair, but for connections.
    """
    with _block(source, sealed=True):
        yield


@contextlib.contextmanager
def _block(source: str, *, sealed: bool) -> Iterator[None]:
    _listen()
    number = threading.get_ident()
    before = _held.get(number)
    block = _Block(source, sealed, _caller())
    _held[number] = block
    try:
        yield
    except Exception as error:
        # A library may turn the refusal into an error of its own, which would say less.
        if block.refused is None or error is block.refused:
            raise
        raise block.refused from error
    finally:
        block.frame = None
        if before is None:
            del _held[number]
        else:
            _held[number] = before


def _caller() -> Any:
    """Return the frame whose code the block is in."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in (__file__, contextlib.__file__):
        frame = frame.f_back
    return frame


@functools.cache
def _listen() -> None:
    _own_places()
    if sys.version_info < (3, 12):
        _thread.start_new_thread = threading._start_new_thread = _audited  # type: ignore[attr-defined]
    sys.addaudithook(_audit)


_start_new_thread = _thread.start_new_thread


def _audited(function: Any, *arguments: Any) -> int:
    """Start a thread as Python 3.11 does, with the audit event of later ones."""
    sys.audit("_thread.start_new_thread", function, *arguments)
    return _start_new_thread(function, *arguments)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        if _held and (block := _block_of_thread()) is not None and block.sealed:
            _check_open(block, arguments)
    elif event in CONNECTS:
        block = _block_of_thread()
        # Connections by a path are within this machine.
        local = event in ("socket.connect", "socket.bind") and isinstance(
            arguments[1], (str, bytes)
        )
        if block is not None and (block.sealed or not local):
            _refuse(block, "asks for a download", "weights files are used without the network")
    elif event in STARTS:
        block = _block_of_thread()
        if block is None or (event == "subprocess.Popen" and _is_own(block, arguments)):
            return
        if not _importing(block):
            _refuse(block, "starts a program", "weights files are used without one")
    elif event in THREADS and (block := _block_of_thread()) is not None:
        _check_thread(block, arguments)


def _block_of_thread() -> _Block | None:
    number = threading.get_ident()
    if (block := _held.get(number)) is not None:
        return block
    thread = threading._active.get(number)  # type: ignore[attr-defined]
    return getattr(thread, "_segzoo_block", None)


def _is_own(block: _Block, arguments: tuple[Any, ...]) -> bool:
    """Whether another process of this Python is started, as data sets do that generate pictures."""
    return not block.sealed and arguments[0] in (sys.executable, os.fsencode(sys.executable))


def _check_thread(block: _Block, arguments: tuple[Any, ...]) -> None:
    thread = getattr(arguments[0], "__self__", None)
    if isinstance(thread, threading.Thread) and (not block.sealed or _importing(block)):
        thread._segzoo_block = block  # type: ignore[attr-defined]
        return
    _refuse(block, "starts a thread", "weights files are used without one")


def _check_open(block: _Block, arguments: tuple[Any, ...]) -> None:
    given, _, flags = arguments
    if isinstance(given, int) or given is None:
        return  # It has been opened before.
    path = os.path.abspath(os.fsdecode(given))  # noqa: PTH100 - Path.absolute keeps `..`
    writes = isinstance(flags, int) and flags & _WRITES
    if not writes and _is_known(path):
        return
    if path == os.devnull or _importing(block):
        return
    how = "writes" if writes else "reads"
    _refuse(block, f"{how} {path}", "weights files hold all that they need")


def _is_known(path: str) -> bool:
    if path in READABLE or path.startswith((*READABLE_BELOW, *_own_places())):
        return not path.startswith("/proc/self/fd")
    if path.endswith(_CODE) and path.startswith(tuple(map(_folder, sys.path))):
        return True
    return path.startswith(tuple(_packages()))


def _packages() -> Iterator[str]:
    """Yield the folders of imported packages, of plugins that are worked on among them."""
    for name, module in list(sys.modules.items()):
        if "." not in name:
            try:
                yield from map(_folder, getattr(module, "__path__", None) or ())
            except Exception:  # A module may answer anything for any name.
                continue


@functools.cache
def _own_places() -> tuple[str, ...]:
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    places |= {os.path.realpath(place) for place in places}
    return tuple(_folder(place) for place in places if place not in ("", os.sep))


def _folder(path: Any) -> str:
    return os.path.abspath(str(path) or ".").rstrip(os.sep) + os.sep  # noqa: PTH100


def _importing(block: _Block) -> bool:
    return importing(sys._getframe(1), block.frame)


def importing(frame: Any, begin: Any = None) -> bool:
    """Whether a module is being imported, since the frame `begin`, by what a frame belongs to."""
    while frame is not None and frame is not begin:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _refuse(block: _Block, what: str, hint: str) -> None:
    refusal = RefusedError(f"{block.source} {what}", hint)
    block.refused = block.refused or refusal
    raise refusal
