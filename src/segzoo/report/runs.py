"""Pictures about trainings: curves, and predictions beside the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segzoo.data.checks.variety import spread, varied
from segzoo.data.loading.batches import Batches
from segzoo.data.sample import Sample
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.metrics.selection import MetricSet
from segzoo.model.weights import load_model
from segzoo.report.contrast import error_colour
from segzoo.report.lettering import drawable, shortened, with_font
from segzoo.report.sheet import Entry, coloured, error_map, legend_of, photo, save_grid, share_shown
from segzoo.store import atomic
from segzoo.train.run import Run
from segzoo.train.scored import FILE, read_picture_sums
from segzoo.train.windowed import as_scored

PANELS = {
    "loss": "loss",
    "pixel_accuracy": "pixel accuracy",
    "mean_iou": "mean IoU",
    "mad": "MAD",
    "lr": "learning rate",
}
IN_A_ROW = 3
LOOKED_AT = 150
"""So many pictures of a split are looked at, evenly spread, to choose those that differ."""


def draw_curves(
    history: Sequence[dict[str, Any]],
    splits: Sequence[str],
    path: Path,
    *,
    title: str,
    kept: int = 0,
) -> None:
    """Draw loss, scores of every split and the learning rate over epochs.

    The epoch `kept`, whose weights are the best, is marked. An epoch's rate is that of its end.
    """
    # The object interface: pyplot would keep global state and may ask for a display.
    from matplotlib.figure import Figure

    shown = [
        name
        for name in PANELS
        if name == "lr" or any(name in history[-1].get(s, {}) for s in splits)
    ]
    columns = IN_A_ROW if len(shown) > 2 * IN_A_ROW - 2 else min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows + 0.4), layout="constrained", dpi=110)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, name in zip(panels, shown, strict=False):
        _draw_panel(axes, name, history, splits, kept)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    label = figure.suptitle(drawable(shortened(title, 24 * columns)))
    with_font(label)
    with atomic(path) as temporary:
        system.write(temporary, figure.savefig)


def _draw_panel(
    axes: Any, name: str, history: Sequence[dict[str, Any]], splits: Sequence[str], kept: int
) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in history]
    marker = "o" if len(epochs) < 3 else ""
    if name == "lr":
        rates = [record.get("lr", float("nan")) for record in history]
        axes.plot(epochs, rates, color="tab:gray", marker=marker)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    else:
        for split in splits:
            values = [record.get(split, {}).get(name, float("nan")) for record in history]
            axes.plot(epochs, values, label=split, marker=marker)
    if kept:
        label = None if name == "lr" else f"kept: epoch {kept}"
        axes.axvline(kept, color="black", linestyle="--", linewidth=1, label=label)
    axes.set(title=PANELS[name], xlabel="epoch")
    # Of one epoch alone the limits are a part of an epoch, which whole ticks need to be let off.
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if name != "lr":
        axes.legend(loc="best", fontsize=8)


def draw_predictions(run: Run, weights: Path, path: Path, count: int = 6) -> None:
    """Draw image, truth, prediction and errors of a few pictures, as the network sees them.

    Where the scores of all pictures are known, they are the worst, the median and the best one by
    the monitored kind of score, and others that differ from these and from each other.
    """
    batches = run.evals.get("test") or next(iter(run.evals.values()), run.train)
    split = next((name for name, own in run.evals.items() if own is batches), "train")
    chosen = _choose(run, batches, split, count)
    model, _ = load_model(weights)
    model = as_scored(model.to(run.device), run)
    rows, errors, captions, labels = [], [], [], []
    for sample, rank in chosen:
        pictures, error_HW, caption, shown = _row(run, model, sample)
        rows.append(pictures)
        errors.append(error_HW)
        captions.append(f"{sample.key}   {caption}" + (f"   {rank}" if rank else ""))
        labels += shown
    wrong = "wrong by 1, paler by less" if run.info.target == "alpha" else "wrong"
    legend = legend_of(run.info, labels)
    colour = error_colour(entry.colour for entry in legend)
    for pictures, error_HW in zip(rows, errors, strict=True):
        pictures.append(error_map(pictures[0], error_HW, colour))
    save_grid(
        rows,
        ("image", "truth", "prediction", "errors"),
        path,
        heading=_heading(run, batches, split, len(rows)),
        captions=captions,
        legend=[*legend, Entry(wrong, colour)],
        sharp=_sharp(run),
    )


def _heading(run: Run, batches: Batches, split: str, shown: int) -> str:
    """Say which pictures a sheet shows, and the weights of which epoch."""
    pictures = share_shown(shown, None if batches.stream else batches.count)
    of = f"epoch {run.best_epoch} of {run.epoch}" if run.best_epoch else "the best epoch"
    return f"{split}: {pictures}, weights of {of}"


def _sharp(run: Run) -> tuple[int, ...]:
    return () if run.info.target == "alpha" else (1, 2, 3)


def _choose(run: Run, batches: Batches, split: str, count: int) -> list[tuple[Sample, str]]:
    """Return samples to show, each with "worst", "median", "best" or ""."""
    if batches.stream:
        return [(sample, "") for _, sample in varied(batches, range(LOOKED_AT), count)]
    ranked = _ranked(run, batches, split)
    looked_at = list(dict.fromkeys([*ranked, *spread(batches.count, LOOKED_AT)]))
    chosen = varied(batches, looked_at, count, first=len(ranked))
    return [(sample, ranked.get(place, "")) for place, sample in chosen]


def _ranked(run: Run, batches: Batches, split: str) -> dict[int, str]:
    """Return the places of the worst, the median and the best picture, if scores are known."""
    try:
        scored = read_picture_sums(run.folder / FILE)
    except SegzooError:
        return {}
    pictures = scored.splits.get(split)
    if scored.epoch != run.best_epoch or pictures is None or len(pictures.keys) != batches.count:
        return {}
    metrics = _metrics(run)
    metrics.load_sums(pictures)
    name = _score_name(run)
    values_N = metrics.pictures().scores[name].numpy()
    return ends_of(values_N, higher_is_better=run.info.target != "alpha")


def ends_of(values_N: np.ndarray, *, higher_is_better: bool) -> dict[int, str]:
    """Return the places of the worst, the median and the best of some scores, nan left out.

    Of two there is no median; of a single one, or where all are equal, there is nothing to say.
    """
    known = np.flatnonzero(~np.isnan(values_N))
    order = known[np.argsort(values_N[known], kind="stable")]
    order = order if higher_is_better else order[::-1]
    if not len(order) or values_N[order[0]] == values_N[order[-1]]:
        return {}
    ranks = {0: "worst", len(order) // 2: "median", len(order) - 1: "best"}
    return {int(order[at]): rank for at, rank in ranks.items()}


def _metrics(run: Run) -> MetricSet:
    info = run.info
    return MetricSet(
        "", classes=info.classes, ignore_index=info.ignore_index, target=info.target, each=True
    )


def _score_name(run: Run) -> str:
    return "mad" if run.info.target == "alpha" else "mean_iou"


@torch.inference_mode()
def _row(
    run: Run, model: torch.nn.Module, sample: Sample
) -> tuple[list[Image.Image], Tensor, str, list[Tensor]]:
    """Return image, truth and prediction of a row, the errors (float 0..1, H x W), what is said of
    it, and the class ids that are shown.
    """
    output: Any = model(run.preprocess(sample.image[None].to(run.device)))
    logits_BKHW = (output["out"] if isinstance(output, dict) else output).float().cpu()
    image = photo(sample.image, run.info.value_range)
    metrics = _metrics(run)
    metrics.start()
    if run.info.target == "alpha":
        truth_HW = sample.target.float() / 255
        guess_HW = logits_BKHW.softmax(1)[0, 1]
        error_HW = (guess_HW - truth_HW).abs()
        metrics.update(logits_BKHW, truth_HW[None], [sample.key])
        shown: list[Tensor] = []
    else:
        truth_HW, guess_HW = sample.target.long(), logits_BKHW.argmax(1)[0]
        labelled_HW = (truth_HW >= 0) & (truth_HW < len(run.info.classes))
        labelled_HW &= truth_HW != (-1 if run.info.ignore_index is None else run.info.ignore_index)
        error_HW = ((guess_HW != truth_HW) & labelled_HW).float()
        metrics.update(logits_BKHW, truth_HW[None], [sample.key])
        shown = [truth_HW, guess_HW]
    name = _score_name(run)
    value = float(metrics.pictures().scores[name][0])
    words = {"mad": "MAD", "mean_iou": "mean IoU"}[name]
    caption = f"{words} {value:.4f}" if value == value else "without a labelled pixel"
    pictures = [image, coloured(truth_HW, run.info), coloured(guess_HW, run.info)]
    return pictures, error_HW, caption, shown
