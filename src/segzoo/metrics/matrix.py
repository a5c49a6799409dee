"""Which class was taken for which: the confusion matrix of a whole data set. K classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segzoo import system
from segzoo.errors import SegzooError
from segzoo.metrics.confusion import class_ids, confusion_matrix
from segzoo.metrics.selection import MetricSet
from segzoo.ranks import gathered
from segzoo.store import atomic

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


def draw_matrix(counts: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Write the matrix, each row in shares, as a PNG or whatever the ending of `path` says."""
    from matplotlib.figure import Figure

    from segzoo.lettering import drawable, shortened, with_font

    matrix_KK = torch.tensor(counts)
    values = shares(matrix_KK)
    count = len(classes)
    side = min(40.0, 2.6 + max(0.32 * count, 2.0))
    figure = Figure(figsize=(side + 1.2, side), layout="constrained", dpi=110)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots()
    shown = [[float("nan") if v is None else v for v in row] for row in values]
    image = axes.imshow(shown, vmin=0, vmax=1, cmap="Blues")
    names = [drawable(shortened(name, 24)) for name in classes]
    axes.set_xticks(range(count), names, rotation=90 if count > 3 else 0)
    axes.set_yticks(range(count), names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        with_font(label)
    axes.set(xlabel="predicted", ylabel="true")
    if count <= 30:
        for row, cells in enumerate(values):
            for column, value in enumerate(cells):
                if value is not None and (value >= 0.005 or count <= 8):
                    text = f"{100 * value:.0f}"
                    if count <= 4:
                        text = f"{100 * value:.1f} %\n{counts[row][column]:,}"
                    colour = "white" if value > 0.5 else "black"
                    axes.text(column, row, text, ha="center", va="center", color=colour, size=8)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.7)
    with atomic(path) as temporary:
        system.write(temporary, figure.savefig)
