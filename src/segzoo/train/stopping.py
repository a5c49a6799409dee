"""Ending a training in good order: SIGTERM and SIGINT ask for it, and it ends after the step.

A step, or the scoring of a batch, that takes longer than `PATIENCE` is left in the middle.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from segzoo.errors import Overdue, StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3.0
"""Seconds that what is under way gets to come to its end. Slurm kills after 30, kubernetes too."""
AGAIN = 0.5

Item = TypeVar("Item")


class Wish:
    """Whether somebody wants the training to end: the signal's number, or 0."""

    def __init__(self) -> None:
        self.signal = 0
        self._interruptible = False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `Overdue` come out of the block, some seconds after the wish."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def waiting_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; waiting for the next one is interruptible."""
        iterator = iter(items)
        while True:
            with self.interruptible():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def settle(self) -> None:
        """Let nothing be interrupted any more: what ends the training has begun."""
        self._interruptible = False

    def overdue(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Raise Overdue where that is allowed now, and come again if not, or if it is lost."""
        if not self.signal:
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        if self._interruptible:
            raise Overdue


@contextlib.contextmanager
def listening(*, alone: bool = True) -> Iterator[Wish]:
    """Take the first SIGINT or SIGTERM for a wish, and a second one as if there were no listening.

    Where a process is not `alone` nothing is left in the middle: the others would wait for it. Only
    a process's main thread can listen; elsewhere nobody's wish is ever heard.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    clock = _Clock(wish.overdue)

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        restore()
        if alone:
            clock.start()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, hear)
    try:
        yield wish
    finally:
        wish.signal = 0
        clock.stop()
        restore()


class _Clock:
    """Calls something after `PATIENCE`, in the main thread, where the system has such alarms."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call
        self._before: Any = None

    def start(self) -> None:
        if hasattr(signal, "setitimer"):
            self._before = signal.signal(signal.SIGALRM, self._call)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def stop(self) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)


def stopped(number: int, where: str, folder: str) -> StoppedError:
    """Return the error that ends a training whose state has been saved."""
    name = signal.Signals(number).name if number else "another process"
    return StoppedError(
        f"stopped by {name} {where}; the state is saved",
        f"continue with `segzoo train --resume {folder}`",
        number,
    )
