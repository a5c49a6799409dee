"""What several test files call."""

import contextlib
import importlib.metadata
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from segzoo.cli import main
from segzoo.model.description import WeightsInfo
from segzoo.model.network import create_model, model_record
from segzoo.model.weights import save_weights
from segzoo.plugins.manager import Manager
from segzoo.train.recovery.saving import StateKeeper
from segzoo.train.recovery.state import read_generations
from segzoo.train.run import Run

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def load_only(site: Path) -> Manager:
    """Return a manager of the plugins in one folder alone."""
    manager = Manager()
    points = [
        point
        for distribution in importlib.metadata.distributions(path=[str(site)])
        for point in distribution.entry_points
    ]
    manager.load(points)
    return manager


def saved_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a run folder's newest resume state."""
    return load_file(read_generations(folder)[0].path.with_suffix(".safetensors"))


def run_segzoo(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "segzoo", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


def run_here(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, which is spared the seconds of importing torch."""
    log, argv = logging.getLogger("segzoo"), sys.argv
    before = log.handlers[:], log.propagate, log.level  # Fixtures of a module are run here as well.
    out, err, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["segzoo", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = argv
        log.handlers[:], log.propagate, log.level = before
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def stop_after(monkeypatch: Any, steps: int) -> None:
    """Let trainings hear SIGTERM in the step of this number."""
    real = StateKeeper.after_step

    def after_step(keeper: StateKeeper, run: Run) -> None:
        keeper.wish.signal = signal.SIGTERM if run.step == steps else 0
        real(keeper, run)

    monkeypatch.setattr(StateKeeper, "after_step", after_step)


def untrained_run(folder: Path) -> Path:
    """Write what a run leaves, of a network that is not trained: its weights and its settings."""
    folder.mkdir()
    torch.manual_seed(0)
    model = create_model("unet", model_options={"width": 4, "depth": 2})
    data = {"identity": "segzoo-hk/hk", "version": "0.1.0", "options": {}, "fingerprint": ""}
    info = WeightsInfo(
        model=model_record(model), classes=("background", "person"), data=data,
        palette=((0, 0, 0), (255, 0, 0)), target="labels", ignore_index=255, threshold=127,
        value_range=(0.0, 255.0), mean=(0.5,) * 3, std=(0.5,) * 3, size=(32, 32), epoch=1,
    )  # fmt: skip
    save_weights(folder / "best.safetensors", model, info)
    (folder / "config.toml").write_text('model = "unet"\n')
    return folder
