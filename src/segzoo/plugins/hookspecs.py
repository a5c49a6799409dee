"""The hooks of plugin API version 1.

A plugin is a light module named by an entry point of group ``segzoo.v1``; its hooks are module
functions with these names. The discovery hooks return iterables of specs; the observer hooks
return nothing and run in no promised order. An observer may leave out arguments it does not use.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from segzoo.plugins.specs import (
    CommandSpec,
    DatasetSpec,
    EncoderWeightsSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
)

hookspec = pluggy.HookspecMarker("segzoo")
hookimpl = pluggy.HookimplMarker("segzoo")


@hookspec
def segzoo_models() -> Iterable[ModelSpec]:
    """Return the architectures of this plugin."""
    return ()


@hookspec
def segzoo_datasets() -> Iterable[DatasetSpec]:
    """Return the data sets of this plugin."""
    return ()


@hookspec
def segzoo_losses() -> Iterable[LossSpec]:
    """Return the losses of this plugin."""
    return ()


@hookspec
def segzoo_metrics() -> Iterable[MetricSpec]:
    """Return the metrics of this plugin."""
    return ()


@hookspec
def segzoo_encoder_weights() -> Iterable[EncoderWeightsSpec]:
    """Return the pretrained encoder weights that this package carries."""
    return ()


@hookspec
def segzoo_commands() -> Iterable[CommandSpec]:
    """Return the commands of this plugin."""
    return ()


@hookspec
def segzoo_fit_start(run: Any) -> None:
    """Observe that a training is set up and about to take its first step."""


@hookspec
def segzoo_epoch_end(run: Any, epoch: int, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Observe the scores of an epoch (1, 2, ...): ``{"train": {...}, "test": {...}}``."""


@hookspec
def segzoo_checkpoint_saved(run: Any, epoch: int, path: Path) -> None:
    """Observe that new best weights were written to `path`."""


@hookspec
def segzoo_fit_end(run: Any, result: Any, error: BaseException | None) -> None:
    """Observe the end: `result` of a finished training, else the `error` that ended it."""


DISCOVERY_HOOKS = {
    "segzoo_models": ModelSpec,
    "segzoo_datasets": DatasetSpec,
    "segzoo_losses": LossSpec,
    "segzoo_metrics": MetricSpec,
    "segzoo_encoder_weights": EncoderWeightsSpec,
    "segzoo_commands": CommandSpec,
}
"""Discovery hook -> the spec that it returns."""
