"""Going back to before a step, or a scoring, that is not finished.

Until the optimizer has its turn a step changes little: what norms remember, random states, and the
sums of the epoch's loss and scores. Kept beforehand, they let a training be left in the middle of a
step as if that had not begun: because its loss is no number, because code of a plugin has raised
something, or because somebody wants the training to end and the step takes too long.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from segzoo.compute.randomness import RandomStates
from segzoo.train.run import Run


@dataclass(frozen=True)
class _Before:
    """What a step changes before the optimizer does, as it was; tensors in it are never written."""

    random: RandomStates
    augment: Tensor
    loss: Tensor
    scores: dict[str, Tensor]
    images_done: int


class Undo:
    """Remembers a beginning, and goes back to it; of several ranks each for itself.

    `half_changed` says that the weights are being changed: from there is no way back.
    """

    def __init__(self) -> None:
        self.half_changed = False
        self._before: _Before | None = None
        self._live: list[Tensor] = []
        self._kept: list[Tensor] = []

    def remember(self, run: Run) -> None:
        """Remember how things are, before a step. Takes 0.2 ms for a network with 60 norms."""
        live = [buffer for buffer in run.model.buffers() if not overlapping(buffer)]
        if [id(buffer) for buffer in live] != [id(buffer) for buffer in self._live]:
            self._live, self._kept = live, [torch.empty_like(buffer) for buffer in live]
        copy_all(self._live, self._kept)
        part = run.partial
        assert part.random is not None
        assert part.loss is not None
        self._before = _Before(
            random=RandomStates(run.device),
            augment=part.random.get_state(),
            loss=part.loss,
            scores=run.metrics.own_state(),
            images_done=run.images_done,
        )

    @property
    def possible(self) -> bool:
        """Whether a step is under way whose beginning is remembered."""
        return self._before is not None

    def change(self) -> None:
        """Say that the weights are about to be changed: the step cannot be undone any more."""
        self._before, self.half_changed = None, True

    def finished(self) -> None:
        """Say that what was begun has come to its end."""
        self._before, self.half_changed = None, False

    def statistics(self) -> None:
        """Bring back what norms remembered, as `remember` found it."""
        copy_all(self._kept, self._live)

    def undo(self, run: Run) -> None:
        """Go back to what was remembered, if that is not finished."""
        before = self._before
        if before is None:
            return
        self.statistics()
        before.random.put_back()
        assert run.partial.random is not None
        run.partial.random.set_state(before.augment)
        run.partial.loss = before.loss
        run.metrics.go_back(before.scores)
        run.images_done = before.images_done
        run.optimizer.zero_grad(set_to_none=True)
        self._before = None


def overlapping(value: Tensor) -> bool:
    """Whether elements share memory, as expanded ones do: nothing writes into such a tensor."""
    return any(n > 1 and s == 0 for n, s in zip(value.shape, value.stride(), strict=True))


@torch.no_grad()
def copy_all(source: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    """Copy tensors; those of a GPU a kind at a time, which is a few calls instead of hundreds."""
    by_kind: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for one, other in zip(source, into, strict=True):
        pair = by_kind.setdefault((one.device, one.dtype), ([], []))
        pair[0].append(one)
        pair[1].append(other)
    for sources, targets in by_kind.values():
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]
