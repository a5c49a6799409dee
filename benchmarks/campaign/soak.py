"""Very many steps, after which a process must have no more of anything than before."""

import random
import time
from pathlib import Path
from typing import Any

from .training import TRAINING, write_pictures
from .watching import taken

JUDGED_FROM = 5000
"""Steps from which on the growth of memory is judged: at first it grows for good reasons."""
MOST_GROWTH = 0.01
LEAST_EPOCHS = 200
SAMPLES = {False: 6, True: 20}
"""Of a training that is judged or not; each takes a fifth of a second to collect garbage."""
WAYS: dict[str, tuple[float, dict[str, Any]]] = {
    "plain": (1, {"workers": 0}),
    "processes": (1 / 8, {"workers": 2, "cache": "none"}),
    "boundary_bf16": (1 / 8, {"workers": 0, "metrics": "boundary", "precision": "bf16"}),
}
"""Of each way its share of the steps, and its settings."""


def soak(_root: Path, folder: Path, steps: int, _chance: random.Random) -> dict[str, Any]:
    """Train for so many steps in the plain way, and for fewer in others."""
    found: dict[str, Any] = {}
    failures: list[str] = []
    judged = steps >= JUDGED_FROM
    lengths = {name: max(50, int(steps * share)) for name, (share, _) in WAYS.items()}
    for name, length in lengths.items():
        pictures = TRAINING["batch_size"] * per_epoch(length)
        write_pictures(folder / name / "HK", training=pictures, side=16)
    time.sleep(2.5)  # The cache keeps no picture that has been written just before.
    # What is loaded once, such as the fonts of the first curves, is there from the beginning.
    trained_here(folder / "processes", folder / "warm", epochs=2, workers=0)
    for name, (_, settings) in WAYS.items():
        found[name] = soaked(folder / name, lengths[name], settings, judged)
        print(name, found[name], flush=True)
        early, late = found[name]["early"], found[name]["late"]
        failures += [
            f"{name}: {what} grew from {early[what]} to {late[what]}"
            for what in ("files", "threads", "children")
            if late[what] > early[what]
        ]
        growth = found[name]["memory_growth"]
        if judged and growth >= MOST_GROWTH:
            failures.append(f"{name}: memory grew by {growth:.1%}")
    return {**found, "memory_judged": judged, "failures": failures}


def per_epoch(steps: int) -> int:
    """Return how many of so many steps make an epoch: enough, and enough epochs."""
    return min(100, max(10, steps // LEAST_EPOCHS))


def soaked(folder: Path, steps: int, settings: dict[str, Any], judged: bool) -> dict[str, Any]:
    """Train, and return what the process had after the first fifth and at the end."""
    epochs = -(-steps // per_epoch(steps))
    seen: list[dict[str, int]] = []

    class Look:
        def segzoo_epoch_end(self, run: Any, epoch: int) -> None:
            if epoch % max(1, epochs // SAMPLES[judged]) == 0 or epoch == epochs:
                seen.append({"step": run.step, **taken()})

    result = trained_here(folder, folder / "run", epochs=epochs, observers=[Look()], **settings)
    if result.disabled_observers:
        raise RuntimeError(f"nobody looked: {result.observer_errors}")
    early, late = seen[max(2, len(seen) // 5)], seen[-1]  # In two epochs the cache fills.
    return {
        "steps": late["step"],
        "epochs": epochs,
        "seconds": round(result.seconds),
        "memory_growth": late["bytes"] / early["bytes"] - 1,
        "early": early,
        "late": late,
    }


def trained_here(folder: Path, out: Path, **settings: Any) -> Any:
    """Train in this process on the pictures in `folder`; return the result."""
    from segzoo.train.fit import fit

    light = {"size": 16, "save_minutes": 0.05, "augment": "light"}
    merged: dict[str, Any] = {**TRAINING, **light, **settings}
    return fit(
        **merged,
        root=str(folder / "HK"), train_splits=("train", "val"), eval_splits=("test",),
        out=str(out),
    )  # fmt: skip
