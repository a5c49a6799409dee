"""A disk that fails, a process that dies, and signals, at any call of host/system.py, by a number.

The files are real ones, below a folder in memory. Beside them `Disk` keeps what POSIX says of a
power cut: what of a file is synced, and which names of a folder. The rest may be there afterwards,
in part, in another order, or not at all.
"""

import contextlib
import errno
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from segzoo.host import system

from .simulated_signals import SIGNALS, Signals

ERRORS = ("ENOSPC", "EIO", "EROFS", "EINTR", "EMFILE", "ENOENT")
KILLS = ("kill before", "kill after", "power cut before", "power cut after")
FAULTS = (*KILLS, *ERRORS, *SIGNALS)
NEVER_FAIL = {"monotonic", "now", "heard_by", "hear", "alarm"}
BLOCK = 512
YEAR = 3e7

Real = {name: getattr(system, name) for name in vars(system) if callable(getattr(system, name))}


class Killed(BaseException):
    """The process is no more: nothing may catch this, and nothing that it does has an effect."""


@dataclass
class Node:
    """A file or folder, whatever it is called."""

    folder: bool = False
    synced: bytes = b""
    dirty: bool = False
    last: bytes = b""  # what was in it when it lost its name


@dataclass
class Plan:
    """What goes wrong: the number of a call, how, and for errors, whether all later ones fail."""

    call: int = -1
    fault: str = ""
    stays: bool = False


@dataclass
class Disk:
    """Takes the place of segzoo.host.system for files below `root`."""

    root: Path
    chance: random.Random
    plan: Plan = field(default_factory=Plan)
    calls: int = 0
    dead: bool = False
    seen: list[str] = field(default_factory=list)
    clock: float = 1e6
    renamed: Callable[[Path], None] = lambda path: None
    signalled: bool = False

    def __post_init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Take what is there now for synced, as after a start of the machine."""
        self.nodes: dict[Path, Node] = {}
        for path in sorted(self.root.rglob("*")):
            content = b"" if path.is_dir() else path.read_bytes()
            self.nodes[path] = Node(path.is_dir(), content)
        self.durable = dict(self.nodes)
        self.pending: dict[Path, list[dict[Path, Node | None]]] = {}
        self.dead, self.calls, self.seen, self.signalled = False, 0, [], False
        self.signals = Signals(self.chance, self._die)

    def standing_in(self) -> Any:
        """Return a context in which this is segzoo's system."""
        own = {name: getattr(self, name) for name in vars(Disk) if name in Real}
        return patch.multiple(system, **own)

    # What segzoo calls.

    def make_folder(self, path: Path) -> None:
        def do() -> None:
            new = [place for place in (path, *path.parents) if not place.exists()]
            Real["make_folder"](path)
            for place in reversed(new):
                self._name(place, Node(folder=True))

        self._call("make_folder", path, do)

    def make_file(self, path: Path) -> None:
        self._call("make_file", path, lambda: (Real["make_file"](path), self._name(path, Node())))

    def make_temporary(self, folder: Path, prefix: str, suffix: str) -> Path:
        def do() -> Path:
            path = Real["make_temporary"](folder, prefix, suffix)
            self._name(path, Node())
            return path

        return self._call("make_temporary", folder, do)

    def make_temporary_folder(self, folder: Path, prefix: str) -> Path:
        def do() -> Path:
            path = Real["make_temporary_folder"](folder, prefix)
            self._name(path, Node(folder=True))
            return path

        return self._call("make_temporary_folder", folder, do)

    def write(self, path: Path, by: Callable[[Path], object]) -> None:
        def do() -> None:
            Real["write"](path, by)
            for new in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if new.is_dir():
                    self._name(new, Node(folder=True))
                else:
                    self._dirty(new)

        self._call("write", path, do)

    def append(self, path: Path, data: bytes) -> int:
        def do() -> int:
            short = self._is_due() and self.plan.fault == "ENOSPC"
            taken = Real["append"](path, data[: len(data) // 2] if short else data)
            self._dirty(path)
            return taken

        return self._call("append", path, do, short=True)

    def reserve(self, path: Path, size: int) -> None:
        self._call("reserve", path, lambda: (Real["reserve"](path, size), self._dirty(path)))

    def open_in_place(self, path: Path) -> IO[bytes]:
        return self._call("open_in_place", path, lambda: Real["open_in_place"](path))

    def write_in_place(self, file: IO[bytes], at: int, data: memoryview) -> int:
        def do() -> int:
            short = self._is_due() and self.plan.fault == "ENOSPC"
            some = data[: len(data) // 2] if short else data
            taken = Real["write_in_place"](file, at, some)
            self._dirty(Path(file.name))
            return taken

        return self._call("write_in_place", Path(file.name), do, short=True)

    def map_array(self, path: Path, kind: Any, shape: tuple[int, ...]) -> Any:
        return self._call("map_array", path, lambda: Real["map_array"](path, kind, shape))

    def read(self, path: Path, by: Callable[[Path], Any]) -> Any:
        return self._call("read", path, lambda: Real["read"](path, by))

    def set_mode(self, path: Path, mode: int) -> None:
        self._call("set_mode", path, lambda: Real["set_mode"](path, mode))

    def sync(self, path: Path) -> None:
        def do() -> None:
            Real["sync"](path)
            if path.is_dir():
                for names in self.pending.pop(path, []):
                    _apply(self.durable, names)
            elif node := self.nodes.get(path):
                node.synced, node.dirty = path.read_bytes(), False

        self._call("sync", path, do)

    def rename(self, path: Path, to: Path) -> None:
        def do() -> None:
            self._leaves(to)
            Real["rename"](path, to)
            self._change(path.parent, {path: None, to: self.nodes.get(path)})
            for folder in [folder for folder in self.pending if folder.is_relative_to(path)]:
                changes = self.pending.pop(folder)
                self.pending[_moved(folder, path, to)] = [
                    {_moved(place, path, to): node for place, node in names.items()}
                    for names in changes
                ]
            self.renamed(to)

        self._call("rename", path, do)

    def unlink(self, path: Path) -> None:
        def do() -> None:
            self._leaves(path)
            Real["unlink"](path)
            self._change(path.parent, {path: None})

        self._call("unlink", path, do)

    def remove_folder(self, folder: Path) -> None:
        def do() -> None:
            Real["remove_folder"](folder)
            self.pending.pop(folder, None)
            self._change(folder.parent, {folder: None})

        self._call("remove_folder", folder, do)

    def remove_tree(self, folder: Path) -> None:
        """Remove it call by call, each of which may be the last one."""
        for path in sorted(folder.iterdir(), key=lambda _: self.chance.random()):
            if path.is_dir():
                self.remove_tree(path)
            else:
                with contextlib.suppress(OSError):
                    self.unlink(path)

        with contextlib.suppress(OSError):
            self.remove_folder(folder)

    def open_lock(self, path: Path) -> int:
        def do() -> int:
            descriptor = Real["open_lock"](path)
            self._dirty(path)
            return descriptor

        return self._call("open_lock", path, do)

    def is_alive(self, pid: int) -> bool:
        return False

    def monotonic(self) -> float:
        """Return a time that goes on by anything from nothing to a day."""
        self.clock += self.chance.choice((0.0, 1e-3, 1.0, 600.0, 86400.0))
        return self._call("monotonic", self.root, lambda: self.clock)

    def now(self) -> float:
        """Return a time that somebody sets now and then."""
        time = Real["now"]() + self.chance.choice((0.0, -YEAR, YEAR)) + self.clock
        return self._call("now", self.root, lambda: time)

    def heard_by(self, number: int) -> Any:
        return self.signals.handlers.get(number, signal.SIG_DFL)

    def hear(self, number: int, handler: Any) -> None:
        handlers = self.signals.handlers
        self._call("hear", self.root, lambda: handlers.update({number: handler}))

    def alarm(self, seconds: float) -> None:
        self._call("alarm", self.root, lambda: self.signals.alarm(seconds))

    def reach(self, place: str) -> None:
        """Come to a place in the code of a plugin, where anything may happen, too."""
        self._call("reach", Path(place), lambda: None)

    # What becomes of it.

    def _call(self, name: str, path: Path, do: Callable[[], Any], *, short: bool = False) -> Any:
        if self.dead:
            raise Killed
        self.seen.append(f"{name} {path.name}")
        if name in NEVER_FAIL and self.calls == self.plan.call and self.plan.fault in ERRORS:
            self.plan.call += 1
        fault = self.plan.fault if self._is_due() else ""
        try:
            if fault.endswith("before"):
                self._die()
            if fault in SIGNALS and not self.signalled:
                self.signalled = True
                self.signals.send(fault)
            self._moment()
            if fault in ERRORS and name not in NEVER_FAIL and not (short and fault == "ENOSPC"):
                if name == "write" and fault in ("ENOSPC", "EIO"):
                    do()
                    self._tear(path)
                number = getattr(errno, fault)
                raise OSError(number, os.strerror(number), str(path))
            result = do()
            if fault.endswith("after"):
                self._die()
            self._moment()
            return result
        finally:
            self.calls += 1

    def _is_due(self) -> bool:
        return self.calls == self.plan.call or (self.plan.stays and self.calls > self.plan.call)

    def _moment(self) -> None:
        if threading.current_thread() is threading.main_thread():  # which alone hears signals
            self.signals.moment()

    def _die(self) -> None:
        self.dead = True
        raise Killed

    def _tear(self, path: Path) -> None:
        if path.is_dir():
            path = self.chance.choice([file for file in sorted(path.rglob("*")) if file.is_file()])
        content = path.read_bytes()
        path.write_bytes(content[: self.chance.randrange(len(content) + 1)])

    def _name(self, path: Path, node: Node) -> None:
        self._change(path.parent, {path: node})

    def _change(self, folder: Path, names: dict[Path, Node | None]) -> None:
        _apply(self.nodes, names)
        self.pending.setdefault(folder, []).append(names)

    def _dirty(self, path: Path) -> None:
        if path not in self.nodes:
            self._name(path, Node())
        self.nodes[path].dirty = True

    def _leaves(self, path: Path) -> None:
        if path in self.nodes and path.is_file():
            self.nodes[path].last = path.read_bytes()

    def past_the_seam(self) -> list[str]:
        """Return what was written by other ways than these calls, of which nothing is known."""
        there = set(self.root.rglob("*"))
        odd = sorted(there ^ self.nodes.keys())
        other = [f"{path.relative_to(self.root)} came or went" for path in odd]
        for path in there & self.nodes.keys():
            node = self.nodes[path]
            if not node.folder and not node.dirty and path.read_bytes() != node.synced:
                other.append(f"{path.relative_to(self.root)} was changed")
        return other

    def start_again(self) -> None:
        """Let a new process begin, on a machine that lost its power if the plan says so."""
        if self.dead and self.plan.fault.startswith("power"):
            self._lose()
        self.plan = Plan()
        self.settle()

    def _lose(self) -> None:
        """Leave of the files what a power cut leaves."""
        kept = dict(self.durable)
        for changes in self.pending.values():
            share = self.chance.choice((0.0, 0.5, 1.0))
            for names in changes:
                if self.chance.random() < share:
                    _apply(kept, names)
        current = {id(node): path for path, node in self.nodes.items()}
        contents = {}
        for path, node in kept.items():
            if not node.folder:
                place = current.get(id(node))
                contents[path] = self._left_of(node, place.read_bytes() if place else node.last)
        shutil.rmtree(self.root)
        self.root.mkdir()
        for path in sorted(kept):
            if path.parent != self.root and not (path.parent.is_dir() and path.parent in kept):
                continue
            if kept[path].folder:
                path.mkdir()
            else:
                path.write_bytes(contents[path])

    def _left_of(self, node: Node, now: bytes) -> bytes:
        if not node.dirty:
            return node.synced
        cut = self.chance.randrange(len(now) + 1)
        start = cut - cut % BLOCK
        return self.chance.choice((
            node.synced, now, now[:cut], now[:cut] + bytes(len(now) - cut),
            now[:start] + bytes(len(now[start : start + BLOCK])) + now[start + BLOCK :],
        ))  # fmt: skip


def _apply(to: dict[Path, Node], names: dict[Path, Node | None]) -> None:
    gone = [path for path, node in names.items() if node is None]
    came = [path for path, node in names.items() if node is not None and node.folder]
    for path, new in zip(gone, came, strict=False):  # A folder takes along what is in it.
        for place in [place for place in to if place.is_relative_to(path)]:
            to[_moved(place, path, new)] = to.pop(place)
    for path, node in names.items():
        if node is not None:
            to[path] = node
        elif (old := to.pop(path, None)) and old.folder:
            for place in [place for place in to if place.is_relative_to(path)]:
                del to[place]


def _moved(place: Path, path: Path, to: Path) -> Path:
    return to / place.relative_to(path) if place.is_relative_to(path) else place
