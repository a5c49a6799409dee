"""The end of segzoo's own process: soon after it is asked to end, whatever it waits for.

Python hears a signal between two of its own instructions. A long call of C code, as a step on a
slow processor, an import or a collective of several ranks, has none; so a thread hears it as well,
by the descriptor that Python's handler in C writes to, and ends the process after `END_SECONDS`.
Only `segzoo` itself is ended so, not a program that calls `segzoo.fit`.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from segzoo.host.waiting import kill

END_SECONDS = 25.0
"""From a signal, the end of another rank, or the end of its work. Slurm and kubernetes kill after
30."""
QUIET_SECONDS = 4.0
"""A save that is under way by then goes on as long as its file grows, but for so long."""
FINISH_SECONDS = 3.0
"""What is left for the last words after such a save."""
LOOKED_EVERY = 0.2
TEMPORARY = ".writing-*"  # as segzoo.store names what is being written


class Ending:
    """When this process has to end, with which status, and why; `own` where it may be ended."""

    def __init__(self) -> None:
        self.own = False
        self.heard: frozenset[int] = frozenset()
        """Signals that a training takes for a wish to end, besides SIGINT."""
        self.status = 1
        self.why = ""
        self.hint = ""
        self._deadline = 0.0
        self._done = False
        self._writes: dict[Path, int] = {}
        self._ends: tuple[Any, Any] | None = None

    def take_over(self) -> None:
        """Hear signals in a thread, from now on: this process is segzoo's own."""
        import socket

        try:
            self._ends = socket.socketpair()
        except OSError:  # No descriptors are left: Python alone hears them.
            return
        self._ends[1].setblocking(False)
        self.own = True
        self.listen()
        threading.Thread(target=self._hear, name="segzoo-signals", daemon=True).start()

    def listen(self) -> None:
        """Hear signals again, where somebody else has taken the descriptor meanwhile."""
        if self._ends and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._ends[1].fileno(), warn_on_full_buffer=False)

    def forget(self) -> None:
        """Be a fork, which hears nothing on its parent's behalf, and ends as it likes."""
        if self.own:
            with contextlib.suppress(ValueError):
                signal.set_wakeup_fd(-1)
            self.__init__()

    def begin(self, status: int, why: str, hint: str = "") -> bool:
        """Let the process end within `END_SECONDS`; say whether this is the first reason to."""
        first = self.own and not self._deadline
        if first:
            self.status, self.why, self.hint = status, why, hint
            self._start()
        return first

    def done(self, status: int) -> None:
        """Let the process, whose work is done, end within `END_SECONDS` too, or what is left of
        them, with the status that it would have had.
        """
        self.status, self._done = status, True
        if not self._deadline:
            self._start()

    def call_off(self) -> None:
        """Let it go on: what it was to end for has come to its own end."""
        self._deadline = 0.0

    def _start(self) -> None:
        self._deadline = time.monotonic() + END_SECONDS
        threading.Thread(target=self._wait, name="segzoo-end", daemon=True).start()

    @contextlib.contextmanager
    def writing(self, folder: Path) -> Iterator[None]:
        """Let a file that is being written in a folder be finished, as long as it grows."""
        self._writes[folder] = self._writes.get(folder, 0) + 1
        try:
            yield
        finally:
            self._writes[folder] -= 1
            if not self._writes[folder]:
                del self._writes[folder]

    def _hear(self) -> None:
        assert self._ends is not None
        while numbers := self._ends[0].recv(64):
            for number in numbers:
                if number == signal.SIGINT or number in self.heard:
                    self.begin(128 + number, f"{signal.Signals(number).name} came")

    def _wait(self) -> None:
        until, grown_at, before = self._deadline, 0.0, 0
        while self._deadline:  # 0: called off
            time.sleep(LOOKED_EVERY)
            now = time.monotonic()
            if now < until or not self._deadline:
                continue
            if not self._writes:
                if grown_at:  # A save has just come to its end.
                    until, grown_at = now + FINISH_SECONDS, 0.0
                    continue
                end_at_once(self.status, self._words())
            size = sum(map(_bytes_written, list(self._writes)))
            if not grown_at or size != before:
                before, grown_at = size, now
            elif now - grown_at > QUIET_SECONDS:
                end_at_once(self.status, self._words())

    def _words(self) -> str:
        if self._done:
            others = [t.name for t in threading.enumerate() if not t.daemon and t.is_alive()]
            return (
                "warning: what this process waits for at its end has not come for "
                f"{END_SECONDS:.0f} s ({', '.join(others)}); it ends without"
            )
        hint = f"\n  {self.hint}" if self.hint else ""
        return (
            f"error: {self.why}; {END_SECONDS:.0f} s later this process still waits in "
            f"{waited_in()}: it ends without{hint}"
        )


def end_at_once(status: int, words: str) -> None:
    """Say something, if anybody takes it, end the processes that this one started, and it."""

    def say() -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{words}\n".encode("utf-8", "backslashreplace"))

    saying = threading.Thread(target=say, daemon=True)
    saying.start()
    saying.join(1.0)  # Whoever is to read it may be what hangs.
    if "multiprocessing.process" in sys.modules:
        children = list(sys.modules["multiprocessing.process"]._children)  # type: ignore[attr-defined]
        kill([child.pid for child in children if child.pid])
    os._exit(status)


def waited_in() -> str:
    """Return where the main thread is, and where it came there from in segzoo's own code."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is None:
        return "its end"
    own, inner = frame, _place(frame)
    while own is not None and not str(own.f_globals.get("__name__")).startswith("segzoo."):
        own = own.f_back
    called = "" if own is None or own is frame else f", called in {_place(own)}"
    return f"{inner}{called}"


def _place(frame: FrameType) -> str:
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"


def _bytes_written(folder: Path) -> int:
    """Return how much there is of what is being written in a folder."""
    size = 0
    with contextlib.suppress(OSError):
        for path in folder.glob(TEMPORARY):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
    return size


ending = Ending()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ending.forget)
