"""Ending a training in good order: SIGTERM and SIGINT ask for it, and it ends after the step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from segzoo.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Wish:
    """Whether somebody wants the training to end: the signal's number, or 0."""

    def __init__(self) -> None:
        self.signal = 0


@contextlib.contextmanager
def listening() -> Iterator[Wish]:
    """Take the first SIGINT or SIGTERM for a wish, and a second one as if there were no listening.

    Only a process's main thread can; elsewhere nobody's wish is ever heard.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, hear)
    try:
        yield wish
    finally:
        restore()


def stopped(number: int, where: str, folder: str) -> StoppedError:
    """Return the error that ends a training whose state has been saved."""
    name = signal.Signals(number).name if number else "another process"
    return StoppedError(
        f"stopped by {name} {where}; the state is saved",
        f"continue with `segzoo train --resume {folder}`",
        number,
    )
