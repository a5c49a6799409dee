"""Trainings ended at random moments, again and again until each has finished."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .training import EVERY_STEP, digest, in_a_child, train, trained

WAYS: tuple[dict[str, Any], ...] = (
    {"epochs": 3, "workers": 0, "save_minutes": EVERY_STEP},
    {"epochs": 3, "workers": 2, "accumulate": 2, "cache": "none"},
    {"epochs": 3, "workers": 0, "precision": "bf16", "metrics": "boundary"},
    {"epochs": 4, "workers": 1, "optimizer": "sgd", "accumulate": 3, "ema": 0.7},
)


def kills(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """End trainings at random moments until each has finished, and compare."""
    done, phases, failures = {"SIGKILL": 0, "SIGTERM": 0}, Counter[str](), []
    wholes: list[tuple[str, float]] = []
    log = folder / "log"
    trained(folder / "warm", root, epochs=1, workers=0)  # Fills the cache of resized pictures.
    for number, way in enumerate(WAYS):
        start = time.monotonic()
        whole = trained(folder / f"whole-{number}", root, **way)
        wholes.append((digest(whole), time.monotonic() - start))
    runs = left = 0
    while sum(done.values()) < count:
        number = runs % len(WAYS)
        way, (expected, seconds) = WAYS[number], wholes[number]
        where = folder / f"killed-{runs}"
        runs += 1
        ended = False
        while not ended:
            before = temporaries(where)
            pid = in_a_child(lambda where=where, way=way: train(where, root, **way), log)
            kill = chance.random() < 0.95 and sum(done.values()) < count
            if kill:
                name = chance.choice(("SIGKILL", "SIGTERM"))
                time.sleep(chance.uniform(0, seconds))
                os.kill(pid, getattr(signal, name))
            _, status = os.waitpid(pid, 0)
            ended = status == 0
            if kill and not ended:
                done[name] += 1
                phases[phase(where)] += 1
                phases["in the midst of writing"] += temporaries(where) > before
            elif not kill and not ended:
                failures.append(f"{where.name}: not resumed: {log.read_text()[-300:]}")
                break
        if ended and digest(where) != expected:
            failures.append(f"{where.name}: other weights than undisturbed")
        left += len(temporaries(where))
        shutil.rmtree(where, ignore_errors=True)
        print(f"{sum(done.values())} kills, {runs} runs; failures: {failures}", flush=True)
    return {"kills": done, "runs": runs, "phases": dict(phases), "temporary_files_left": left,
            "failures": failures}  # fmt: skip


def phase(folder: Path) -> str:
    """Say how far a run has come, by the state that it would go on from."""
    from segzoo.train.recovery.state import has_state, read_generations

    if not has_state(folder):
        return "before the first save"
    partial = read_generations(folder)[0].values["partial"]
    return "after a save within an epoch" if partial["batches"] else "after a save between epochs"


def temporaries(folder: Path) -> set[Path]:
    """Return the files that were being written when a process was killed."""
    return {path for path in folder.rglob(".*") if path.is_file() and path.name != ".lock"}
