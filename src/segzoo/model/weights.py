"""Self-describing weights: one safetensors file is a model.

Tensors are the plugin network's own state dict. The header's metadata has one JSON text under
``segzoo`` that says everything needed to rebuild and use the model; nothing is ever unpickled,
downloaded or run to read it, and only installed plugins are named by it.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segzoo.errors import SegzooError, listed
from segzoo.model.building import build_for, outlined
from segzoo.model.checksum import CHECKSUM, METHOD, check_sum, sum_of
from segzoo.model.description import WeightsInfo, description_fault, info_of
from segzoo.model.network import (
    SegmentationModel,
    create_model,
    numbers_of,
    saved_options,
)
from segzoo.model.tensors import Header, load_tensors, read_header, tensors_fault, write_tensors
from segzoo.model.untrusted import options_of_file
from segzoo.plugins.isolation import one_line
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options, option_infos
from segzoo.plugins.packages import install_command, package_of
from segzoo.store import atomic

BEST = "best.safetensors"


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
    values = info.as_dict() | {"checksum": METHOD}
    # Nothing is written that would not be read.
    if fault := description_fault(values) or tensors_fault(tensors):
        raise ValueError(f"{path} would not be readable: {fault}")
    metadata = {"format": "pt", "segzoo": json.dumps(values)}
    metadata[CHECKSUM] = sum_of(metadata, tensors)
    with atomic(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def weights_file(given: object) -> Path:
    """Return the file that `given` means: itself, or the best weights in the folder of a run.

    Raises SegzooError where it is no path, or where nothing lies there, with what does.
    """
    if not isinstance(given, (str, os.PathLike)):
        raise SegzooError(
            f"weights: a path is needed, not {'None' if given is None else type(given).__name__}",
            "give a .safetensors file or the folder of a run"
            + (", here `.weights`" if hasattr(given, "weights") else ""),
        )
    path = Path(given)
    try:
        path = path / BEST if (path / BEST).is_file() else path
        if path.is_file():
            return path
    except OSError as error:
        hint = "give a .safetensors file or the folder of a run"
        raise SegzooError(f"{path!s:.80}: {error.strerror}", hint) from error
    raise SegzooError(*_missing(path))


def _missing(path: Path) -> tuple[str, str]:
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        return f"{path} is a URL, which is not downloaded", "download it, and give the file"
    if get_registry().find("models", str(path)):
        return (
            f"{path}: no such file; it is the name of a model, which has no weights yet",
            f"train it with `segzoo train --model {path}`, or build it with "
            f'segzoo.create_model("{path}")',
        )
    if path.is_dir():
        return f"{path} is a folder without {BEST}", f"give {_nearby(path, path)}"
    return f"{path}: no such file", f"give {_nearby(path, path.parent)}"


def _nearby(path: Path, folder: Path) -> str:
    """Name the weights files that may have been meant."""
    try:
        beside = [path.parent / BEST] if path.is_dir() else []  # `last/` of a run was given
        found = beside if beside and beside[0].is_file() else sorted(folder.glob("*.safetensors"))
        found += folder.glob(f"*/{BEST}")
    except OSError:
        found = []
    found = [file for file in found if file.is_file()]
    if not found:
        return "a .safetensors file or the folder of a run"
    return f"one of those there: {listed((str(file) for file in found), 8)}"


def read_info(path: str | Path) -> WeightsInfo:
    """Read a weights file's description from its header, without its tensors.

    Raises SegzooError for a file that is missing, damaged, or not written by segzoo.
    """
    path = weights_file(path)
    return info_of(path, read_header(path))


def load_model(path: str | Path) -> tuple[SegmentationModel, WeightsInfo]:
    """Rebuild the model of a weights file on the CPU, in eval mode.

    Raises SegzooError for a bad file, weights of another architecture, or a model whose plugin is
    not installed, with the `pip install` line for it.
    """
    path = weights_file(path)
    header = read_header(path)
    info = info_of(path, header)
    _check_installed(path, info)
    options, build = _builder(path, info)
    with _told_of(path):
        model = outlined(str(path), build, header)
        if model is not None and (reason := _difference(model, header)):
            raise _unlike(path, info, reason)
        tensors = load_tensors(path)
        check_sum(path, header, tensors)
        # Once more, for what is not saved has to be made by the network itself.
        model = build_for(str(path), build, header)
    _check_kept(path, model, options)
    try:
        model.network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0].strip()[:300]
        raise _unlike(path, info, reason) from error
    _check_values(path, model)
    return model.eval(), info


def _builder(
    path: Path, info: WeightsInfo
) -> tuple[dict[str, Any], Callable[[], SegmentationModel]]:
    """Return the options of the model that a file names, looked through, and what builds it."""
    with _told_of(path):
        entry = get_registry().get("models", str(info.model["identity"]))
        options = options_of_file(entry.spec.options, info.model["options"], entry.owner, str(path))
        make_options(entry.spec.options, options, entry.owner)
        entry.resolve("build")  # What it imports is the package's own affair.

    def build() -> SegmentationModel:
        return create_model(
            entry.identity,
            in_channels=info.model["in_channels"],
            num_classes=len(info.classes),
            options=options,
        )

    return options, build


def _check_kept(path: Path, model: SegmentationModel, options: dict[str, Any]) -> None:
    """Refuse options that the network itself does not keep, as those that name other files.

    Their plugin has not declared them as `external`.
    """
    infos = option_infos(model.entry.spec.options)
    saved = saved_options(model)
    for info in infos:
        kept, given = saved.get(info.name), options.get(info.name)
        if given is not None and kept != given and kept in (None, info.default):
            raise SegzooError(
                f"{path}: its model's option {info.name}={given} reads or downloads something",
                "weights files hold all that they need; train anew, or `segzoo import` its tensors",
            )


def _unlike(path: Path, info: WeightsInfo, reason: str) -> SegzooError:
    model = info.model
    return SegzooError(
        f"{path} does not hold the weights of `{model['identity']}` with these options: {reason}",
        f"it says {model['identity']} {model['version']} with {model['options']}",
    )


def _check_installed(path: str | Path, info: WeightsInfo) -> None:
    identity = str(info.model["identity"])
    distribution, _, _ = identity.partition("/")
    registry = get_registry()
    if registry.find("models", identity):
        return
    try:
        registry.get("models", identity)
    except SegzooError as error:
        raise SegzooError(
            f"{path} needs the model `{identity}` of the package `{package_of(distribution)}` "
            f"{info.model['version']}, which is not installed",
            f"install it: {install_command(distribution)}\n{error.hint}",
        ) from error


@contextlib.contextmanager
def _told_of(path: str | Path) -> Iterator[None]:
    """Name the file in whatever goes wrong while its model is built."""
    try:
        yield
    except SegzooError as error:
        message = error.message
        if str(path) not in message:
            message = f"{path}: {message}"
        raise SegzooError(message, error.hint) from error
    except Exception as error:
        raise SegzooError(
            f"{path}: its model cannot be built: {one_line(error)[:300]}",
            "the file is damaged, or of another version of the model's package",
        ) from error


def _check_values(path: str | Path, model: SegmentationModel) -> None:
    """Raise SegzooError for weights that are no finite numbers: every prediction would be none."""
    values = model.network.state_dict()
    for name, variance in numbers_of(model.network):
        value = values.get(name)
        if value is None or not (value.is_floating_point() or value.is_complex()):
            continue
        if not bool(torch.isfinite(value).all()):
            raise SegzooError(
                f"{path}: the values of `{name}` are not all finite numbers",
                "it comes from a training that had diverged, or is damaged",
            )
        if variance and bool((value < 0).any()):
            raise SegzooError(
                f"{path}: `{name}`, a variance, is negative", "it is damaged: copy it again"
            )


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
