"""Noticing a loss or gradient that is no finite number: in which step, and with which pictures.

A GPU is asked once in so many steps, and before anything is saved: asking makes the host wait.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.errors import SegzooError
from segzoo.ranks import summed

STEPS_TO_ASK = 20
MOST_SKIPPED = 50
"""Steps left out one after another after which a training has diverged, and is ended."""


class FiniteWatch:
    """Looks at each step's loss and gradient; `policy`, stop or skip, is for a bad one."""

    def __init__(self, policy: str, model: nn.Module, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.skipped: list[tuple[int, list[str]]] = []
        self._in_a_row = 0
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._pictures: deque[tuple[int, list[str]]] = deque(maxlen=2 * STEPS_TO_ASK)
        # What a forward pass changes: batch norms remember what they have seen, bad values too.
        self._buffers = [b for b in model.buffers() if b.is_floating_point()]
        self._before: list[Tensor] = []

    def begin(self, step: int, keys: Sequence[str]) -> None:
        """Begin a step, or go on with one whose pictures come in several batches."""
        if self._pictures and self._pictures[-1][0] == step:
            self._pictures[-1][1].extend(keys)
            return
        self._pictures.append((step, list(keys)))
        if self.policy == "skip":
            self._before = [buffer.detach().clone() for buffer in self._buffers]

    def note(self, value: Tensor, step: int) -> None:
        """Look at a loss or the norm of a gradient, without waiting for the device."""
        bad = ~torch.isfinite(value.detach())
        self._first_bad = torch.where((self._first_bad < 0) & bad, step, self._first_bad)

    def to_be_skipped(self, step: int) -> bool:
        """Whether the step that is about to be taken is to be left out; all ranks say the same.

        Norms then forget what they have seen in it. Raises SegzooError after too many.
        """
        if self.policy != "skip":
            return False
        if float(summed((self._first_bad >= 0).float())) == 0:
            self._in_a_row = 0
            return False
        self._first_bad.fill_(-1)
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)
        self.skipped.append((step, self._pictures[-1][1]))
        self._in_a_row += 1
        if self._in_a_row > MOST_SKIPPED:
            raise self.diverged(step)
        return True

    def ask(self, step: int, *, now: bool = False) -> None:
        """Raise SegzooError for a bad step, naming its pictures; a GPU is asked now and then."""
        due = now or self.device.type == "cpu" or step % STEPS_TO_ASK == 0
        if self.policy == "skip" or not due:
            return
        bad = int(self._first_bad)
        if bad >= 0:
            raise self.diverged(bad)

    def diverged(self, step: int) -> SegzooError:
        """Return the error for a bad step, with its pictures if they are remembered."""
        pictures = next((keys for at, keys in self._pictures if at == step), [])
        shown = ", ".join(pictures[:8]) + (" ..." if len(pictures) > 8 else "")
        return SegzooError(
            f"the loss or its gradient is not finite in step {step}"
            + (f", with the pictures {shown}" if shown else ""),
            "lower --lr, set --clip-grad, or use --precision fp32; --on-nonfinite skip leaves such "
            "steps out; what was saved before is whole",
        )
