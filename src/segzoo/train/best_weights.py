"""The best weights of a training, with what their file says of it."""

import math
from typing import Any

import torch

from segzoo.model.description import Scores, WeightsInfo
from segzoo.model.network import model_record
from segzoo.model.weights import save_weights
from segzoo.plugins.packages import core_version
from segzoo.size import Size, mean_side
from segzoo.train.config import RunConfig
from segzoo.train.provenance import training_record
from segzoo.train.run import Run


def save_run_weights(run: Run, metrics: dict[str, Scores]) -> None:
    """Write the run's deployed model to its best.safetensors, atomically."""
    run.check_kept(weights=False)
    save_weights(run.best_path, run.deployed, described(run, metrics))


def described(run: Run, metrics: dict[str, Scores]) -> WeightsInfo:
    """Return what the weights of a run are to say of themselves."""
    info = run.info
    return WeightsInfo(
        model=model_record(run.model),
        classes=info.classes,
        palette=info.palette,
        target=info.target,
        ignore_index=info.ignore_index,
        threshold=info.threshold,
        value_range=info.value_range,
        mean=run.mean,
        std=run.std,
        size=run.config.size,
        data={
            "identity": info.identity,
            "version": info.version,
            "options": info.options,
            "fingerprint": run.fingerprint,
        },
        metrics={split: finite(scores) for split, scores in metrics.items()},
        epoch=run.epoch,
        precision=run.precision,
        segzoo=core_version(),
        torch=torch.__version__,
        training=training_record(run.config),
        shown=run.shown,
    )


def finite(scores: Scores) -> Scores:
    """Return the scores that are finite numbers: JSON has no others."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def shown_scale(pictures: Size, config: RunConfig) -> dict[str, Any]:
    """Return what a weights file says of how pictures of a typical size were shown."""
    on_crops = config.crop is not None
    scale = config.scale if on_crops else round(mean_side(config.size) / mean_side(pictures), 6)
    return {"pictures": list(pictures), "scale": scale, "crops": on_crops}
