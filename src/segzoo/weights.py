"""Self-describing weights: one safetensors file is a model.

Tensors are the plugin network's own state dict. The header's metadata has one JSON text under
``segzoo`` that says everything needed to rebuild and use the model; nothing is ever unpickled,
downloaded or run to read it, and only installed plugins are named by it.
"""

import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segzoo.data.sample import DataInfo
from segzoo.errors import SegzooError
from segzoo.model import SegmentationModel, create_model, model_record
from segzoo.plugins import get_registry
from segzoo.store import atomic
from segzoo.tensors import Header, parse_json, read_header, write_tensors
from segzoo.train.run import Run, Scores

FORMAT_VERSION = 1
MOST_CHANNELS, MOST_SIDE = 4096, 1 << 16


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What a weights file says of itself. `size` is (height, width); mean and std are of 0..1.

    `model` holds identity, version, options and in_channels; `data` identity, version, options
    and fingerprint of the data set; `metrics` the scores by split.
    """

    model: dict[str, Any]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    target: str
    ignore_index: int | None
    threshold: int | None
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    data: dict[str, Any]
    metrics: dict[str, Scores] = field(default_factory=dict)
    epoch: int = 0
    precision: str = "fp32"
    format_version: int = FORMAT_VERSION
    segzoo: str = ""
    torch: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in the file's header."""
        return dataclasses.asdict(self)

    def data_info(self) -> DataInfo:
        """Return the data set's side of it."""
        return DataInfo(
            identity=self.data["identity"],
            version=self.data["version"],
            classes=self.classes,
            palette=self.palette,
            target=self.target,
            ignore_index=self.ignore_index,
            threshold=self.threshold,
            value_range=self.value_range,
            options=self.data["options"],
        )


def save_run_weights(run: Run, metrics: dict[str, Scores]) -> None:
    """Write the run's deployed model to its best.safetensors, atomically."""
    info = run.info
    described = WeightsInfo(
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
        metrics=metrics,
        epoch=run.epoch,
        precision=run.precision,
        segzoo=importlib.metadata.version("segzoo"),
        torch=torch.__version__,
    )
    save_weights(run.best_path, run.deployed, described)


def save_weights(path: Path, model: SegmentationModel, info: WeightsInfo) -> None:
    """Write a model and what describes it as one safetensors file, atomically."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in model.network.state_dict().items():
        value = value.detach().cpu().contiguous()
        # Tied weights share memory, which safetensors refuses: each gets a copy of its own.
        if value.data_ptr() in seen:
            value = value.clone()
        seen.add(value.data_ptr())
        tensors[name] = value
    metadata = {"format": "pt", "segzoo": json.dumps(info.as_dict())}
    with atomic(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def read_info(path: str | Path) -> WeightsInfo:
    """Read a weights file's description from its header, without its tensors.

    Raises SegzooError for a file that is missing, damaged, or not written by segzoo.
    """
    return _info(path, _header(Path(path)))


def _info(path: str | Path, header: Header) -> WeightsInfo:
    metadata = header.metadata
    if "segzoo" not in metadata:
        raise SegzooError(
            f"{path} is a safetensors file, but does not say which segzoo model it holds",
            "segzoo reads the weights that `segzoo train` writes; `segzoo import` converts others",
        )
    try:
        values = parse_json(metadata["segzoo"].encode())
        if values["format_version"] > FORMAT_VERSION:
            raise SegzooError(
                f"{path} has weights format {values['format_version']}, this segzoo reads up to "
                f"{FORMAT_VERSION}",
                "upgrade with `pip install --upgrade segzoo`",
            )
        known = {field.name for field in dataclasses.fields(WeightsInfo)}
        for name in ("classes", "value_range", "mean", "std", "size"):
            values[name] = tuple(values[name])
        values["palette"] = tuple(tuple(colour) for colour in values["palette"])
        info = WeightsInfo(**{key: value for key, value in values.items() if key in known})
        _check_info(info)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SegzooError(f"{path}: its description is damaged: {error!r}") from error
    return info


def _check_info(info: WeightsInfo) -> None:
    """Touch what is used later, so that a damaged description fails here."""
    model = info.model
    if not isinstance(model["identity"], str) or not isinstance(model["options"], dict):
        raise TypeError("model")
    if not 1 <= int(model["in_channels"]) <= MOST_CHANNELS or not 1 <= len(info.classes) <= 65536:
        raise ValueError("in_channels or classes")
    if len(info.size) != 2 or not all(1 <= int(side) <= MOST_SIDE for side in info.size):
        raise ValueError("size")
    if not all(math.isfinite(v) for v in (*info.mean, *info.std, *info.value_range)):
        raise ValueError("mean, std or value_range")
    info.data_info()


def load_model(path: str | Path) -> tuple[SegmentationModel, WeightsInfo]:
    """Rebuild the model of a weights file on the CPU, in eval mode.

    Raises SegzooError for a bad file, weights of another architecture, or a model whose plugin is
    not installed, with the `pip install` line for it.
    """
    header = _header(Path(path))
    info = _info(path, header)
    identity = str(info.model["identity"])
    distribution, _, _ = identity.partition("/")
    registry = get_registry()
    if not registry.find("models", identity):
        try:
            registry.get("models", identity)
        except SegzooError as error:
            raise SegzooError(
                f"{path} needs the model `{identity}` of the package `{distribution}` "
                f"{info.model.get('version', '')}, which is not installed",
                f"pip install {distribution}\n{error.hint}",
            ) from error

    def build() -> SegmentationModel:
        return create_model(
            identity,
            in_channels=int(info.model["in_channels"]),
            num_classes=len(info.classes),
            options=info.model["options"],
        )

    def unlike(reason: str) -> SegzooError:
        return SegzooError(
            f"{path} does not hold the weights of `{identity}` with these options: {reason}",
            f"it says {identity} {info.model.get('version')} with {info.model['options']}",
        )

    model = _outlined(build)
    if model is not None and (reason := _difference(model, header)):
        raise unlike(reason)
    tensors = _tensors(Path(path))
    try:
        model = build()  # Once more, for what is not saved has to be made by the network itself.
        model.network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0].strip()[:300]
        raise unlike(reason) from error
    return model.eval(), info


def _outlined(build: Callable[[], SegmentationModel]) -> SegmentationModel | None:
    """Build a model whose tensors have shapes and no memory; None where its code needs values.

    A file may ask for any width, and so for any amount of memory.
    """
    try:
        with torch.device("meta"):
            return build()
    except Exception:
        return None  # If something is wrong with the network, building it says so.


def _difference(model: SegmentationModel, header: Header) -> str:
    """Say in what the tensors of a file are not those of a model; "" where they are."""
    wanted = {name: tuple(value.shape) for name, value in model.network.state_dict().items()}
    for name in sorted(wanted.keys() | header.shapes.keys()):
        if name not in header.shapes:
            return f"`{name}` is missing"
        if name not in wanted:
            return f"`{name}` is none of them"
        if wanted[name] != header.shapes[name]:
            return f"`{name}` is {list(header.shapes[name])}, not {list(wanted[name])}"
    return ""


def _header(path: Path) -> Header:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        inside = (
            f", but {path / 'best.safetensors'} is" if (path / "best.safetensors").is_file() else ""
        )
        raise SegzooError(f"weights {path}: {what}{inside}", "give a .safetensors file")
    return read_header(path)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SegzooError(
            f"{path} is no readable safetensors file: {error}", "copy it again"
        ) from error
