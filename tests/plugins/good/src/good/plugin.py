from pathlib import Path
from typing import Any

from segzoo import CommandSpec, DatasetSpec, LossSpec, MetricSpec, ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(name="good-model", summary="one convolution", build="good.parts:build", stride=1)
    ]


def segzoo_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="good-data",
            summary="pictures of two halves",
            build="good.parts:build_data",
            classes=("dark", "light"),
            sample="good.parts:write_sample",
        )
    ]


def segzoo_losses() -> list[LossSpec]:
    return [LossSpec(name="good-loss", summary="cross-entropy", build="good.parts:build_loss")]


def segzoo_metrics() -> list[MetricSpec]:
    return [MetricSpec(name="good-metric", summary="pixels seen", build="good.parts:build_metric")]


def segzoo_commands() -> list[CommandSpec]:
    return [CommandSpec(name="greet", summary="Say hello.", target="good.parts:greet")]


def segzoo_epoch_end(run: Any, epoch: int, metrics: dict[str, dict[str, float]]) -> None:
    path: Path = run.folder / "good.txt"
    with path.open("a") as file:
        file.write(f"{epoch} {sorted(metrics)}\n")
