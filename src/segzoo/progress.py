"""A line on a terminal that says what is being waited for, and how far it is."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from segzoo.words import visible

Given = TypeVar("Given")


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
        shown = f"{done}" if task.total is None else f"{done}/{int(task.total)}"
        self._bar.update(self._task, completed=done, count=shown)

    def done(self) -> None:
        self._bar.stop()


NOTHING_SHOWN = Waiting()
"""For what is called without anybody who watches."""


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Waiting]:
    """Show `text` on stderr at once where that is a terminal, until the block ends.

    What is logged meanwhile appears above the line. Elsewhere, in a pipe or a log file, nothing
    is shown.
    """
    first = os.environ.get("RANK", "0") == "0"  # of those that torchrun has started
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and first
    line = _Line(text) if shown else NOTHING_SHOWN
    try:
        yield line
    finally:
        line.done()
