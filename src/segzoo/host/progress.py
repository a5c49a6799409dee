"""What is being waited for, and how far it is: a line on a terminal, now and then one in a log."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from segzoo.words import visible

Given = TypeVar("Given")


TOLD_AFTER, TOLD_AT_MOST = 10.0, 60.0
"""Seconds until a log file is told of long work; each further line waits twice as long, up to a
minute.
"""


class Waiting:
    """What is being waited for; this one shows nothing, as where there is no terminal."""

    def says(self, text: str, total: int | None = None) -> None:
        """Say what comes now, and how many there are of it."""

    def advance(self, count: int = 1) -> None:
        """Say that so many more are done."""

    def done(self) -> None:
        """Take the line away, before something else is printed."""

    def through(self, items: Iterable[Given]) -> Iterator[Given]:
        """Yield the items, and advance with each."""
        for item in items:
            yield item
            self.advance()


class _Line(Waiting):
    """The line itself: rich draws it over itself ten times a second, from a thread of its own."""

    def __init__(self, text: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
            redirect_stdout=False,  # Tables and JSON are printed when the line is gone.
        )
        self._task = self._bar.add_task(visible(text), total=None, count="")
        self._bar.start()

    def says(self, text: str, total: int | None = None) -> None:
        count = "" if total is None else f"0/{total}"
        self._bar.reset(self._task, total=total, description=visible(text), count=count)

    def advance(self, count: int = 1) -> None:
        task = self._bar.tasks[0]
        done = int(task.completed) + count
        done = done if task.total is None else min(done, int(task.total))
        shown = f"{done}" if task.total is None else f"{done}/{int(task.total)}"
        self._bar.update(self._task, completed=done, count=shown)

    def done(self) -> None:
        self._bar.stop()


class _Log(Waiting):
    """Lines for a pipe or a log file, only of counted work that takes long."""

    def __init__(self) -> None:
        self._text, self._total, self._count = "", 0, 0
        self._since, self._pause, self._next = 0.0, 0.0, 0.0
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="segzoo-progress", daemon=True).start()

    def says(self, text: str, total: int | None = None) -> None:
        self._text, self._total, self._count = visible(text), total or 0, 0
        self._since, self._pause = time.monotonic(), TOLD_AFTER
        self._next = self._since + self._pause

    def advance(self, count: int = 1) -> None:
        self._count = min(self._count + count, self._total)

    def done(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(TOLD_AFTER / 20):
            now = time.monotonic()
            if not self._total or self._count == self._total or now < self._next:
                continue
            self._pause = min(2 * self._pause, TOLD_AT_MOST)
            self._next = now + self._pause
            told = f"{self._text}: {self._count} of {self._total} after {now - self._since:.0f} s"
            with contextlib.suppress(OSError, ValueError):  # Nobody reads it any more.
                print(f"segzoo: {told}", file=sys.stderr, flush=True)


NOTHING_SHOWN = Waiting()
"""For what is called without anybody who watches."""


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Waiting]:
    """Show `text` on stderr at once where that is a terminal, until the block ends.

    What is logged meanwhile appears above the line. Elsewhere, in a pipe or a log file, work that
    is counted is told of in a line now and then.
    """
    first = os.environ.get("RANK", "0") == "0"  # of those that torchrun has started
    drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    line = NOTHING_SHOWN if not first else _Line(text) if drawn else _Log()
    try:
        yield line
    finally:
        line.done()
