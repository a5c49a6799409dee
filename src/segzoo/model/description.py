"""What a weights file says of itself, and the check of it before any of it is used.

A file may come from anywhere, so every value is checked for type and range here, and only here:
what is let through can be used without a further thought.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segzoo.data.sample import COLOURS_OF, DataInfo, is_clean_text, is_colour
from segzoo.errors import SegzooError
from segzoo.model.checksum import METHOD
from segzoo.model.tensors import Header, parse_json
from segzoo.plugins.packages import CORE_PACKAGE, install_command
from segzoo.size import MOST_PIXELS
from segzoo.words import counted, sized

FORMAT_VERSION = 1
MOST_CLASSES, MOST_CHANNELS = 65536, 4096
MOST_SIDE = 1 << 16
LARGEST = 1e30
MOST_MEAN, LEAST_STD, MOST_STD = 1e3, 1e-4, 1e4  # Of values 0..1; float32 has to bear the result.
MOST_SETTINGS = 256
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
LEAST_SCALE, MOST_SCALE = 1e-4, 1e4
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What a weights file says of itself. `size` is (height, width); mean and std are of 0..1.

    `model` holds identity, version, options and in_channels; `data` identity, version, options
    and fingerprint of the data set; `metrics` the scores by split. `training` says how it was
    trained (`provenance.training_record`): recipe, settings, and which of them differ from the
    recipe's. `shown` says at what `scale` training pictures, of the median size `pictures`, were
    shown, whole or in `crops`: see scale.py. Both are None in imported files and those of an
    older segzoo. `checksum` is by which method the file can tell that it was damaged.
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
    training: dict[str, Any] | None = None
    shown: dict[str, Any] | None = None
    checksum: str | None = None

    def __repr__(self) -> str:
        return (
            f"WeightsInfo({self.model['identity']}, {self.model['in_channels']} channels, "
            f"{counted(self.classes)}; trained at {sized(self.size)} on {self.data['identity']}, "
            f"epoch {self.epoch})"
        )

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


def info_of(path: str | Path, header: Header) -> WeightsInfo:
    """Return the description in a file's header.

    Raises SegzooError naming the file where there is none, or one that makes no sense.
    """
    if "segzoo" not in header.metadata:
        raise SegzooError(
            f"{path} is a safetensors file, but does not say which segzoo model it holds",
            "segzoo reads the weights that `segzoo train` writes; `segzoo import` converts others",
        )
    try:
        values = parse_json(header.metadata["segzoo"].encode())
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise SegzooError(
                f"{path} has weights format {version:.6g}, this segzoo reads up to "
                f"{FORMAT_VERSION}",
                f"upgrade segzoo with {install_command(CORE_PACKAGE, '--upgrade')}",
            )
        fault = description_fault(values)
    except (ValueError, OverflowError, RecursionError) as error:
        fault = f"{type(error).__name__}: {str(error)[:200]}"
    if fault:
        raise SegzooError(
            f"{path}: its description is damaged: {fault}", "copy it again, or train anew"
        )
    known = {f.name for f in dataclasses.fields(WeightsInfo)}
    return WeightsInfo(**{key: _tuples(key, v) for key, v in values.items() if key in known})


def description_fault(values: Any) -> str:
    """Say which value of a description (`WeightsInfo.as_dict`, as JSON has it) is wrong, or ""."""
    if not isinstance(values, dict):
        return "it is not an object"
    missing = [name for name in RULES if name not in values]
    if missing:
        return f"`{missing[0]}` is missing"
    for name, (holds, what) in (RULES | OPTIONAL).items():
        if not holds(values.get(name)):
            return f"`{name}` is {_short(values.get(name))}, not {what}"
    channels = values["model"]["in_channels"]
    for name, count in (("mean", channels), ("std", channels), ("palette", len(values["classes"]))):
        if len(values[name]) != count:
            return f"`{name}` has {len(values[name])} entries where {count} belong"
    return ""


def _tuples(name: str, value: Any) -> Any:
    if name == "palette":
        return tuple(tuple(colour) for colour in value)
    return tuple(value) if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = "".join(c if c.isprintable() else "?" for c in repr(value))
    return text if len(text) <= 80 else f"{text[:80]}..."


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_number(value: Any, least: float = -LARGEST, most: float = LARGEST) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_clean_text(value)


def _is_list(of: Callable[[Any], bool], least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, (list, tuple)) and least <= len(value) <= most and all(map(of, value))
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(key) and (v is None or type(v) in (bool, str) or _is_number(v))
        for key, v in value.items()
    )


def _is_identity(value: Any) -> bool:
    return isinstance(value, str) and IDENTITY.fullmatch(value) is not None


def _is_model(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_identity(value.get("identity"))
        and _is_text(value.get("version"))
        and _is_options(value.get("options"))
        and _is_count(value.get("in_channels"))
        and 1 <= value["in_channels"] <= MOST_CHANNELS
    )


def _is_data(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and (_is_identity(value.get("identity")) or value.get("identity") == "imported")
        and _is_text(value.get("version"))
        and _is_options(value.get("options"))
        and _is_text(value.get("fingerprint"))
    )


def _is_size(value: Any) -> bool:
    sides = _is_list(lambda v: _is_count(v) and 1 <= v <= MOST_SIDE, 2, 2)
    return sides(value) and math.prod(value) <= MOST_PIXELS


def _is_range(value: Any) -> bool:
    bounded = _is_list(lambda v: _is_number(v, -1e9, 1e9), 2, 2)
    return bounded(value) and value[1] - value[0] >= 1e-6


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(split)
        and isinstance(scores, Mapping)
        and all(_is_text(name) and _is_number(score) for name, score in scores.items())
        for split, scores in value.items()
    )


def _is_training(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    settings, changed = value.get("settings"), value.get("changed")
    return (
        _is_name(value.get("recipe"))
        and isinstance(settings, dict)
        and len(settings) <= MOST_SETTINGS
        and all(_is_name(name) and _is_setting(item) for name, item in settings.items())
        and {"model", "data"} <= settings.keys()
        and _is_list(lambda name: isinstance(name, str) and name in settings, 0, MOST_SETTINGS)(
            changed
        )
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_setting(value: Any) -> bool:
    if isinstance(value, list):
        return _is_list(_is_scalar, 0, MOST_SETTINGS)(value)
    if isinstance(value, dict):
        return len(value) <= MOST_SETTINGS and _is_options(value)
    return _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    return value is None or type(value) is bool or _is_number(value) or _is_text(value)


def _is_shown(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_list(lambda v: _is_count(v) and 1 <= v <= 1 << 30, 2, 2)(value.get("pictures"))
        and _is_number(value.get("scale"), LEAST_SCALE, MOST_SCALE)
        and type(value.get("crops")) is bool
    )


def _or_none(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format_version": (lambda v: _is_count(v) and v >= 1, "a version"),
    "model": (_is_model, "identity, version, options and in_channels of a model"),
    "classes": (_is_list(_is_text, 1, MOST_CLASSES), "a list of names"),
    "palette": (_is_list(is_colour, 1, MOST_CLASSES), COLOURS_OF),
    "target": (lambda v: v in ("labels", "alpha"), "labels or alpha"),
    "ignore_index": (_or_none(lambda v: type(v) is int and abs(v) < 1 << 31), "a label or null"),
    "threshold": (_or_none(lambda v: type(v) is int and 0 <= v < 1 << 31), "a value or null"),
    "value_range": (_is_range, "a lowest and a highest value"),
    "mean": (
        _is_list(lambda v: _is_number(v, -MOST_MEAN, MOST_MEAN), 1, MOST_CHANNELS),
        f"a number up to {MOST_MEAN:g} for each channel",
    ),
    "std": (
        _is_list(lambda v: _is_number(v, LEAST_STD, MOST_STD), 1, MOST_CHANNELS),
        f"a number from {LEAST_STD:g} to {MOST_STD:g} for each channel",
    ),
    "size": (_is_size, f"height and width of at most {MOST_PIXELS} pixels"),
    "data": (_is_data, "identity, version, options and fingerprint of a data set"),
    "metrics": (_is_scores, "scores by split"),
    "epoch": (_is_count, "a number"),
    "precision": (lambda v: v in ("fp32", "bf16", "fp16"), "fp32, bf16 or fp16"),
    "segzoo": (_is_text, "a version"),
    "torch": (_is_text, "a version"),
}
"""Of each value of a description: whether it makes sense, and what would."""

OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "training": (_or_none(_is_training), "recipe, settings and names of changed settings, or null"),
    "shown": (_or_none(_is_shown), "size, scale and crops of the pictures, or null"),
    "checksum": (lambda v: v in (None, METHOD), f"{METHOD} or null"),
}
"""The same of values that files of an older segzoo do not have."""
