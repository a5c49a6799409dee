"""The core's own observers: progress on the screen, metrics.jsonl, curves and pictures.

They use the same hooks as any plugin's. This module loads no torch, because the core's plugin
module imports it.
"""

import json
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from segzoo.report.progress import Screen
    from segzoo.train.run import Run, RunResult

CURVES_EVERY_SECONDS = 60.0

_screens: "WeakKeyDictionary[Run, Screen]" = WeakKeyDictionary()
_drawn: "WeakKeyDictionary[Run, float]" = WeakKeyDictionary()


def segzoo_fit_start(run: "Run") -> None:
    """Open the screen."""
    from segzoo.report.progress import Screen

    if run.stream is not None:
        _screens[run] = Screen(run, run.stream)
        _screens[run].start()
    _drawn[run] = time.monotonic()


def segzoo_epoch_end(run: "Run", epoch: int, metrics: dict[str, dict[str, float]]) -> None:
    """Write metrics.jsonl, now and then the curves, and print the epoch's line."""
    from segzoo.store import write_bytes

    lines = "".join(json.dumps(record) + "\n" for record in run.history)
    write_bytes(run.folder / "metrics.jsonl", lines.encode())
    # Drawing takes about half a second: too long for every epoch of a small set.
    if time.monotonic() - _drawn.get(run, 0.0) > CURVES_EVERY_SECONDS:
        _draw_curves(run)
    if run in _screens:
        _screens[run].epoch_end(metrics)


def segzoo_fit_end(run: "Run", result: "RunResult | None", error: BaseException | None) -> None:
    """Close the screen, draw the curves and, after a finished training, the predictions."""
    if run in _screens:
        _screens.pop(run).stop()
    if run.history:
        _draw_curves(run)
    if result is not None:
        from segzoo.report.runs import draw_predictions

        draw_predictions(run, result.weights, run.folder / "predictions.png")


def _draw_curves(run: "Run") -> None:
    from segzoo.report.runs import draw_curves

    history: list[dict[str, Any]] = run.history
    splits = ["train", *run.evals]
    path, title = run.folder / "curves.png", run.folder.absolute().name
    draw_curves(history, splits, path, title=title, kept=run.best_epoch)
    _drawn[run] = time.monotonic()
