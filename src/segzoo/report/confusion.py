"""A confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch

from segzoo.host import system
from segzoo.metrics.matrix import shares
from segzoo.store import atomic


def draw_matrix(counts: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Write the matrix, each row in shares, as a PNG or whatever the ending of `path` says."""
    from matplotlib.figure import Figure

    from segzoo.report.lettering import drawable, shortened, with_font

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
