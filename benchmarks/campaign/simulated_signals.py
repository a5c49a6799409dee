"""Signals that come at any call, and an alarm that goes off at any later one."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGTERM twice", "SIGINT twice", "SIGUSR1, SIGTERM")
SOON = (1, 2, 3, 5, 9, 20, 60)
"""In how many moments something comes: there is one before each call, and one after it."""


def first_handlers() -> dict[int, Any]:
    """Return who hears what in a new process of Python: of the rest nobody does."""
    return {signal.SIGINT: signal.default_int_handler}


@dataclass
class Signals:
    """Who hears signals in a process that is simulated, and which are on their way."""

    chance: random.Random
    dies: Callable[[], None]
    handlers: dict[int, Any] = field(default_factory=first_handlers)
    coming: list[tuple[int, int]] = field(default_factory=list)  # in how many moments, which
    alarm_in: int = 0

    def send(self, fault: str) -> None:
        """Let the signals of a fault come: the first one at once or after the call."""
        name, _, rest = fault.replace(",", "").partition(" ")
        self.coming.append((self.chance.choice((1, 2)), getattr(signal, name)))
        if rest:
            again = name if rest == "twice" else rest
            self.coming.append((2 + self.chance.choice(SOON), getattr(signal, again)))

    def alarm(self, seconds: float) -> None:
        """Set the alarm, which goes off soon or not before the process ends."""
        self.alarm_in = self.chance.choice((0, *SOON)) if seconds else 0

    def moment(self) -> None:
        """Let a moment pass, and those be heard that have come."""
        self.alarm_in -= 1
        due = [signal.SIGALRM] if self.alarm_in == 0 else []
        self.coming = [(moments - 1, number) for moments, number in self.coming]
        due += [number for moments, number in self.coming if moments == 0]
        self.coming = [(moments, number) for moments, number in self.coming if moments > 0]
        for number in due:
            handler = self.handlers.get(number, signal.SIG_DFL)
            if handler == signal.SIG_DFL:
                self.dies()
            elif handler != signal.SIG_IGN:
                handler(number, None)

    def left(self) -> str:
        """Say what a part of a process that is over has left behind for the rest of it."""
        first = first_handlers()
        others = {n: h for n, h in self.handlers.items() if h != first.get(n, signal.SIG_DFL)}
        if others:
            return f"signals are heard by others afterwards: {others}"
        return "an alarm is left" if self.alarm_in > 0 else ""
