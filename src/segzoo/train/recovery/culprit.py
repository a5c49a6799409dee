"""Whose code an error in a training came out of: by the frames of its traceback."""

import contextlib
import inspect
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch

from segzoo.losses.weighted import WeightedSum
from segzoo.metrics.selection import MetricSet
from segzoo.model.network import SegmentationModel
from segzoo.plugins.isolation import one_line
from segzoo.plugins.manager import get_manager
from segzoo.plugins.packages import CORE
from segzoo.plugins.registry import Entry
from segzoo.train.run import Run

Frames = list[tuple[FrameType, int]]
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "PIL")
"""Packages that the core calls itself: an error in them is theirs who called."""
SHORTEST_PATH = 2  # parts of a file's path that are shown


class Culprit(NamedTuple):
    """A part in words, as ``model `acme/net` ``, and the place of the error in its code."""

    owner: str
    place: str


def culprit(run: Run, error: BaseException) -> Culprit | None:
    """Return whose error this is, or None where it is the core's own.

    That is the plugin that the innermost frame of any plugin belongs to. A network or an optimizer
    of ready-made layers has none: it is known by the frame of the core that called it.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    parts = list(_parts(run, frames))
    packages = _packages()
    for frame, line in reversed(frames):
        package = packages.get(_package(frame))
        if package:
            return Culprit(_owner(run, parts, package), place(frame, line))
    by_library = [frame for frame in frames if _package(frame[0]) in LIBRARIES]
    if not by_library or by_library[-1] != frames[-1]:
        return None
    called = next(frame for frame, _ in reversed(frames) if _package(frame) not in LIBRARIES)
    if called.f_code.co_name == "change_weights":
        return Culprit(f"optimizer `{run.config.optimizer}`", place(*frames[-1]))
    if parts and parts[-1].distribution != CORE:
        return Culprit(parts[-1].owner, place(*frames[-1]))
    if called.f_code.co_name == "backward":
        if own := _function_of(error):
            return Culprit(_owner(run, [], own.distribution), own.place)
        # What it goes back through is the network above all.
        return Culprit(run.model.entry.owner, place(*frames[-1]))
    return None


def _owner(run: Run, parts: list[Entry], package: str) -> str:
    """Return which part of a package was called, or where that is not known, as in a backward
    pass, which of those that a step goes back through is the only one of it.
    """
    called = [part.owner for part in parts if part.distribution == package]
    losses = [entry for entry in getattr(run.loss, "entries", ()) if entry]
    gone_through = {
        part.owner for part in (run.model.entry, *losses) if part.distribution == package
    }
    if called:
        return called[-1]
    return gone_through.pop() if len(gone_through) == 1 else f"plugin `{package}`"


class _Function(NamedTuple):
    distribution: str
    place: str


def _function_of(error: BaseException) -> _Function | None:
    """Return the plugin's `autograd.Function` that torch complains of after its backward pass.

    Its gradients are of another number or shape: no frame of it is left then, but its name is said.
    """
    said = re.search(r"\b(\w+)Backward returned ", str(error))
    packages = _packages()
    kinds = list(torch.autograd.Function.__subclasses__()) if said else []
    while said and kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        package = packages.get(kind.__module__.partition(".")[0])
        if package and kind.__name__ == said[1]:
            code = inspect.unwrap(kind.backward).__code__
            return _Function(package, _shown(code.co_filename, code.co_firstlineno))
    return None


def place(frame: FrameType, line: int) -> str:
    """Return file and line as they are shown."""
    return _shown(frame.f_code.co_filename, line)


def _shown(file: str, line: int) -> str:
    return f"{'/'.join(Path(file).parts[-SHORTEST_PATH:])}:{line}"


def what_was_raised(error: BaseException) -> str:
    """Return an error of somebody's code in one line, at most a few hundred characters."""
    return one_line(error)[:300]


def _parts(run: Run, frames: Frames) -> Iterator[Entry]:
    """Yield the parts of the run whose code the core was calling, outermost first."""
    for frame, _ in frames:
        module, values = frame.f_globals.get("__name__"), frame.f_locals
        # Locals of the core's own functions: `self`, and names beside which parts are called.
        with contextlib.suppress(KeyError, AttributeError):
            if module == SegmentationModel.__module__ and frame.f_code.co_name == "forward":
                yield values["self"].entry
            elif module == MetricSet.__module__ and "identity" in values:
                yield values["self"].entries[values["identity"]]
            elif module == WeightedSum.__module__ and values["entry"] is not None:
                yield values["entry"]


def _packages() -> dict[str, str]:
    """Return the distribution of each top-level package that a plugin lies in, but the core's."""
    return {
        plugin.module.partition(".")[0]: plugin.distribution
        for plugin in get_manager().plugins
        if plugin.distribution != CORE
    }


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
