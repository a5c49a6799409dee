"""The small training that the campaign is about, in this process or in a fork of it."""

import hashlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

TRAINING: dict[str, Any] = {
    "model": "linknet", "model_options": {"width": 4}, "data": "hk", "size": 32, "batch_size": 2,
    "augment": "strong", "precision": "fp32", "progress": False, "save_minutes": 0.005,
}  # fmt: skip
EVERY_STEP = 0.0001
"""As `save_minutes`: a save takes longer."""


def import_all() -> None:
    """Import what a training needs, so that forks of this process begin with the training."""
    import matplotlib.figure
    import numpy
    import torch

    import segzoo.report.runs
    import segzoo.train.fit
    from segzoo.model.network import create_model
    from segzoo.plugins.manager import get_manager

    del matplotlib, numpy, segzoo
    torch.set_num_threads(1)
    get_manager()
    create_model("linknet", in_channels=3, num_classes=2, options={"width": 4})


def write_pictures(root: Path, *, training: int = 10, side: int | None = None) -> None:
    """Write pairs in the layout of `hk`, two for testing beside those for training."""
    from segzoo.data.standin import figure

    for split, numbers in (
        ("training", range(training)),
        ("testing", range(training, training + 2)),
    ):
        (root / split).mkdir(parents=True)
        for number in numbers:
            for name, picture in zip(("", "_matte"), figure(number), strict=True):
                picture = picture if side is None else picture.resize((side, side))
                picture.save(root / split / f"{number:05d}{name}.png")


def train(folder: Path, root: Path, **changes: Any) -> None:
    """Train in this process, or go on with what is there, unless it has come to its end."""
    from segzoo.train.fit import fit

    if (folder / "summary.json").is_file():
        return  # Killed after its last file.
    if (folder / "config.toml").is_file():
        fit(resume=folder, progress=False)
    else:
        settings: dict[str, Any] = {**TRAINING, "root": str(root), "out": str(folder), **changes}
        fit(**settings)


def in_a_child(call: Callable[[], object], log: Path | None = None) -> int:
    """Call something in a fork of this process; return its pid. What it says goes to `log`.

    A process that has trained itself cannot do so: torch's autograd refuses to go on in a fork.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if log is not None:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        call()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def trained(folder: Path, root: Path, **changes: Any) -> Path:
    """Train in a fork, undisturbed; return the run's folder. Raises RuntimeError."""
    log = folder.with_name(f"{folder.name}.log")
    _, status = os.waitpid(in_a_child(lambda: train(folder, root, **changes), log), 0)
    if status:
        raise RuntimeError(f"the undisturbed training failed: {log.read_text()[-2000:]}")
    return folder


def trained_once(root: Path) -> Path:
    """Return the folder of a finished run of one epoch, which several parts read; made if need be.

    Its state has two generations.
    """
    run = root.with_name("run")
    with patch("segzoo.train.fit.drop_needless_state"):  # which leaves one of them
        how = {"epochs": 1, "workers": 0, "save_minutes": EVERY_STEP}
        return run if run.is_dir() else trained(run, root, **how)


def digest(folder: Path) -> str:
    """Return a digest of the best weights and of all tensors of the newest state."""
    from safetensors.torch import load_file

    from segzoo.train.recovery.state import read_generations

    found = hashlib.blake2b()
    for path in (
        folder / "best.safetensors",
        read_generations(folder)[0].path.with_suffix(".safetensors"),
    ):
        for name, value in sorted(load_file(path).items()):
            found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()
