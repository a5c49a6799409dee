"""What a training consists of (`Run`), and what comes out of it (`RunResult`).

Observers get the Run and may read all of it; they must not change it.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from segzoo.compute.ranks import ALONE, Ranks
from segzoo.data.loading.batches import Batches
from segzoo.data.sample import DataInfo
from segzoo.errors import SegzooError
from segzoo.metrics.pictures import PictureSums
from segzoo.metrics.selection import MetricSet
from segzoo.model.description import Scores
from segzoo.model.network import SegmentationModel
from segzoo.model.pixels import Preprocess
from segzoo.store import write_bytes
from segzoo.train.config import RunConfig, config_toml
from segzoo.train.optim import WeightAverage


def save_config(folder: Path, config: RunConfig) -> None:
    """Write a run's resolved settings, which `--config` and `--resume` take, as config.toml."""
    path_free = dataclasses.replace(config, out=None)
    write_bytes(folder / "config.toml", config_toml(path_free).encode())


@dataclass
class Partial:
    """What has been done of an epoch that is not finished.

    `loss` is its sum over this rank's pictures, times the ranks; `random` is what augmentation
    draws from; `trained` says that only the scores of the splits are missing, and `scores` are
    those of the training. `metrics` is what these had added up when the epoch was left, of one that
    is resumed.
    """

    batches: int = 0
    pictures: int = 0
    seconds: float = 0.0
    trained: bool = False
    scores: Scores | None = None
    loss: torch.Tensor | None = None
    random: torch.Generator | None = None
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the plain values, for JSON."""
        names = ("batches", "pictures", "seconds", "trained", "scores")
        return {name: getattr(self, name) for name in names}


@dataclass(eq=False)
class Run:
    """One training, set up. `history` has a record per finished epoch, `folder` the files."""

    config: RunConfig
    folder: Path
    info: DataInfo
    fingerprint: str
    pictures: dict[str, Any]  # in words what the fingerprint stands for: train/recovery/resuming.py
    model: SegmentationModel
    forward: nn.Module  # the model, compiled if asked for, its gradients averaged over the ranks
    preprocess: Preprocess
    mean: tuple[float, ...]
    std: tuple[float, ...]
    loss: nn.Module
    metrics: MetricSet
    eval_metrics: MetricSet
    optimizer: Optimizer
    schedule: LambdaLR
    scaler: torch.amp.GradScaler  # type: ignore[name-defined]
    average: WeightAverage | None
    train: Batches
    evals: dict[str, Batches]
    device: torch.device
    precision: str
    grouped_fp32: bool  # which grouped convolutions keep under bf16: see compute/grouped.py
    parameters: int
    ranks: Ranks = ALONE
    shown: dict[str, Any] | None = None  # at what scale: see segzoo/scale.py
    stream: TextIO | None = None
    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0  # 0: a stream, which does not say
    partial: Partial = field(default_factory=Partial)
    pieces: int = 1  # in which a batch goes through a device with little memory
    generation: int = 0  # of the resume state saved last
    images_done: int = 0  # of the present epoch, by all ranks; what a progress bar reads
    seconds: float = 0.0
    monitor: str = ""
    best_epoch: int = 0
    best_score: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    picture_sums: dict[str, PictureSums] = field(default_factory=dict)  # of the last epoch's scores
    disabled_observers: dict[str, str] = field(default_factory=dict)  # name -> what it raised
    skipped: list[tuple[int, list[str]]] = field(default_factory=list)  # steps, with their pictures

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Run({self.folder}: {config.model} on {config.data}, epoch {self.epoch} of "
            f"{config.epochs})"
        )

    @property
    def deployed(self) -> SegmentationModel:
        """The model that is scored and saved: the averaged weights where there are any."""
        return self.average.model if self.average else self.model  # type: ignore[return-value]

    @property
    def best_path(self) -> Path:
        """Where the best weights are."""
        return self.folder / "best.safetensors"

    def check_kept(self, *, weights: bool = True) -> None:
        """Raise SegzooError where the folder, or the best weights in it, have been removed."""
        if not (self.folder / "config.toml").is_file():
            raise SegzooError(
                f"the run folder {self.folder} is gone, or its config.toml: it was removed while "
                "the training went on",
                "what was trained cannot be kept without it; train anew with another --out",
            )
        if weights and self.best_epoch and not self.best_path.is_file():
            raise SegzooError(
                f"{self.best_path} is gone: it was removed while the training went on",
                f"`segzoo train --resume {self.folder} --force` keeps the next epoch's weights",
            )

    @property
    def choosing_split(self) -> str:
        """The split whose score chooses the best weights."""
        return next(iter(self.evals), "train")

    def chosen_scores(self, metrics: dict[str, Any]) -> Scores:
        """Return the scores of that split, of an epoch's scores or its record in `history`."""
        return metrics[self.choosing_split]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of a training; `scores` are those of the best epoch, by split.

    Its score by `monitor` on the split `chosen_on` was the best so far, or at most `tolerance`
    standard errors worse. `observer_errors` says of each of the `disabled_observers` what it
    raised, and where; `left_out` what was wrong with pictures that could not be read;
    `skipped_steps` are those whose loss or gradient was not finite, each with its pictures.
    """

    folder: Path
    weights: Path
    model: str
    data: str
    parameters: int
    monitor: str
    best_score: float
    best_epoch: int
    epochs: int
    stopped_early: bool
    scores: dict[str, Scores]
    seconds: float
    seconds_per_epoch: float
    images_per_second: float
    device: str
    precision: str
    disabled_observers: tuple[str, ...] = ()
    observer_errors: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    skipped_steps: tuple[tuple[int, tuple[str, ...]], ...] = ()
    chosen_on: str = ""
    tolerance: float = 0.0

    def __repr__(self) -> str:
        return (
            f"RunResult({self.model} on {self.data}: {self.monitor} {self.best_score:.4f} in epoch "
            f"{self.best_epoch} of {self.epochs}; {self.weights})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = dataclasses.asdict(self)
        return {key: str(v) if isinstance(v, Path) else v for key, v in values.items()}
