"""Which class was taken for which: the confusion matrix of a whole data set. K classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segzoo.compute.ranks import gathered
from segzoo.errors import SegzooError
from segzoo.metrics.confusion import class_ids, confusion_matrix
from segzoo.metrics.selection import MetricSet

MOST_CLASSES = 2048
"""Beyond that the matrix alone takes more than 32 MB, and nobody reads it."""


class MetricSetWithMatrix(MetricSet):
    """A metric set that also counts pixels by (true class, predicted class)."""

    def __init__(self, further: str, **how: Any) -> None:
        super().__init__(further, **how)
        self.classes: Sequence[str] = how["classes"]
        self.ignore_index: int | None = how["ignore_index"]
        self._matrix_KK: Tensor | None = None
        if len(self.classes) > MOST_CLASSES:
            raise SegzooError(
                f"--confusion: a matrix of {len(self.classes)} classes",
                f"it is made of at most {MOST_CLASSES}; leave it out",
            )

    def start(self) -> None:
        """Begin a new pass over a data set."""
        super().start()
        self._matrix_KK = None

    def update(
        self,
        logits_BKHW: Tensor,
        target_BHW: Tensor,
        keys: Sequence[str] | None = None,
        first: int = 0,
    ) -> None:
        """Take one batch in every metric, and in the matrix."""
        super().update(logits_BKHW, target_BHW, keys, first)
        counts_KK = confusion_matrix(
            logits_BKHW.argmax(1), class_ids(target_BHW), len(self.classes), self.ignore_index
        )
        self._matrix_KK = counts_KK if self._matrix_KK is None else self._matrix_KK + counts_KK

    def matrix(self) -> Tensor:
        """Return the counts of all ranks, int64 K x K on the CPU: a row for each true class."""
        count = len(self.classes)
        own_KK = self._matrix_KK
        if own_KK is None:
            own_KK = torch.zeros(count, count, dtype=torch.int64)
        return torch.stack([part.long() for part in gathered(own_KK)]).sum(0)


def shares(matrix_KK: Tensor) -> list[list[float | None]]:
    """Return each row as shares of the pixels of its class; None for a class that has none."""
    totals_K1 = matrix_KK.sum(1, keepdim=True)
    rows = (matrix_KK.double() / totals_K1.clamp(min=1)).tolist()
    held = (totals_K1[:, 0] > 0).tolist()
    return [row if there else [None] * len(row) for row, there in zip(rows, held, strict=True)]
