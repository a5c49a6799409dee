"""Noticing a loss or gradient that is no finite number: in which step, and with which pictures.

A CPU is asked before the optimizer takes such a gradient. A GPU is asked once in so many steps, and
before anything is saved: asking makes the host wait.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.compute.ranks import summed
from segzoo.errors import SegzooError

STEPS_TO_ASK = 20
MOST_SKIPPED = 50
"""Steps left out one after another after which a training has diverged, and is ended."""


class FiniteWatch:
    """Looks at each step's loss and gradient; `policy`, stop or skip, is for a bad one."""

    def __init__(self, policy: str, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.skipped: list[tuple[int, list[str]]] = []
        self._in_a_row = 0
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._pictures: deque[tuple[int, list[str]]] = deque(maxlen=2 * STEPS_TO_ASK)

    def begin(self, step: int, keys: Sequence[str]) -> None:
        """Begin a step with these pictures."""
        self._pictures.append((step, list(keys)))

    def pictures(self, step: int) -> list[str]:
        """Return the pictures of a step, if they are remembered."""
        return next((keys for at, keys in reversed(self._pictures) if at == step), [])

    def note(self, value: Tensor, step: int) -> None:
        """Look at a loss or the norm of a gradient, without waiting for the device."""
        bad = ~torch.isfinite(value.detach())
        self._first_bad = torch.where((self._first_bad < 0) & bad, step, self._first_bad)

    def to_be_skipped(self, step: int) -> bool:
        """Whether the step that is about to be taken is to be left out; all ranks say the same.

        Raises SegzooError after too many, and with `stop`, on a CPU, for the first one.
        """
        if self.policy != "skip":
            if self.device.type == "cpu":
                self.ask(step, now=True)
            return False
        if float(summed((self._first_bad >= 0).float())) == 0:
            self._in_a_row = 0
            return False
        self._first_bad.fill_(-1)
        self.skipped.append((step, self._pictures[-1][1]))
        self._in_a_row += 1
        if self._in_a_row > MOST_SKIPPED:
            raise self.diverged(step)
        return True

    def ask(self, step: int, *, now: bool = False) -> None:
        """Raise SegzooError for a bad step, naming its pictures; a GPU is asked now and then."""
        if self.policy == "skip" or not (now or step % STEPS_TO_ASK == 0):
            return
        bad = int(self._first_bad)
        if bad >= 0:
            raise self.diverged(bad)

    @property
    def taken_a_bad_one(self) -> bool:
        """Whether the weights have had a gradient that was not finite: then nothing is saved."""
        return self.device.type != "cpu" and int(self._first_bad) >= 0

    def diverged(self, step: int) -> SegzooError:
        """Return the error for a bad step, with its pictures if they are remembered."""
        pictures = self.pictures(step)
        shown = ", ".join(pictures[:8]) + (" ..." if len(pictures) > 8 else "")
        return SegzooError(
            f"the loss or its gradient is not finite in step {step}"
            + (f", with the pictures {shown}" if shown else ""),
            "lower --lr, set --clip-grad, or use --precision fp32; --on-nonfinite skip leaves such "
            "steps out; what was saved before is whole",
        )
