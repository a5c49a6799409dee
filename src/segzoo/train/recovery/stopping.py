"""Ending a training in good order: signals ask for it, and it ends after the step.

SIGTERM and SIGINT do, and what schedulers and closing terminals send: see `MILD`. Those that the
process was started to ignore, as under `nohup`, it ignores.

A step, or the scoring of a batch, that takes longer than `PATIENCE` is left in the middle. What
cannot be left, as a long call of C code, is ended with the process: see segzoo/ending.py.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from segzoo.errors import Overdue, StoppedError
from segzoo.host import system
from segzoo.host.ending import ending

MILD = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Come before the end, and often more than once: a closing terminal sends two SIGHUP, Slurm, SGE
and LSF what they are asked to, and the system a SIGXCPU every second. Taken where nobody has
them."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *MILD)
PATIENCE = 3.0
"""Seconds that what is under way gets to come to its end. Slurm kills after 30, kubernetes too."""
AGAIN = 0.5

Item = TypeVar("Item")


class Wish:
    """Whether somebody wants the training to end: the signal's number, or 0."""

    def __init__(self) -> None:
        self.signal = 0
        self.rearm: Callable[[], None] = lambda: None
        """Listens again where somebody else has taken a signal meanwhile."""
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
        system.alarm(AGAIN)
        if self._interruptible:
            raise Overdue


@contextlib.contextmanager
def listening(*, alone: bool = True) -> Iterator[Wish]:
    """Take the first signal for a wish, and a second SIGINT or SIGTERM as if nobody listened.

    Where a process is not `alone` nothing is left in the middle: the others would wait for it. Only
    a process's main thread can listen; elsewhere nobody's wish is ever heard.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = _taken()
    clock = _Clock(wish.overdue)

    def hear(number: int, frame: FrameType | None) -> None:
        first, wish.signal = not wish.signal, wish.signal or number
        if number not in MILD:
            restore()
        if alone and first:
            clock.start()

    def arm() -> None:
        ending.listen()
        for number in before:
            insists = wish.signal and number not in MILD
            if system.heard_by(number) is not hear and not insists:
                system.hear(number, hear)

    def give_back(number: int) -> None:
        handler = before[number]
        system.hear(number, handler if handler is not None else signal.SIG_DFL)

    def restore() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            if number in before:
                give_back(number)

    def forget() -> None:
        wish.signal, wish.rearm, ending.heard = 0, lambda: None, frozenset()

    ending.heard = frozenset(before)
    wish.rearm = arm
    try:
        arm()
        yield wish
    finally:
        with contextlib.ExitStack() as afterwards:  # The last one first.
            # A signal that comes in the midst of this starts the clock.
            afterwards.callback(_surely, clock.stop)
            afterwards.callback(forget)
            for number in before:
                afterwards.callback(_surely, give_back, number)


def _surely(call: Callable[..., object], *given: Any) -> None:
    """Call something that a Ctrl-C may come in the midst of: then again, before that goes on."""
    try:
        call(*given)
    except BaseException:
        call(*given)
        raise


def _taken() -> dict[int, Any]:
    """Return the signals to listen to, and who has heard them so far."""
    found: dict[int, Any] = {number: system.heard_by(number) for number in SIGNALS}
    return {
        number: handler
        for number, handler in found.items()
        if handler != signal.SIG_IGN and (number not in MILD or handler == signal.SIG_DFL)
    }


class _Clock:
    """Calls something after `PATIENCE`, in the main thread, where the system has such alarms."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call
        self._before: Any = None

    def start(self) -> None:
        if hasattr(signal, "setitimer"):
            self._before = system.heard_by(signal.SIGALRM)
            system.hear(signal.SIGALRM, self._call)
            system.alarm(PATIENCE)

    def stop(self) -> None:
        if self._before is not None:
            system.alarm(0)
            system.hear(signal.SIGALRM, self._before)


def stopped(number: int, where: str, folder: str) -> StoppedError:
    """Return the error that ends a training whose state has been saved."""
    name = signal.Signals(number).name if number else "another process"
    return StoppedError(
        f"stopped by {name} {where}; the state is saved",
        f"continue with `segzoo train --resume {folder}`",
        number,
    )
