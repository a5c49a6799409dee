"""Whose code an error in a training came out of: by the frames of its traceback."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from segzoo.isolation import one_line
from segzoo.packages import CORE
from segzoo.plugins import get_manager
from segzoo.registry import Entry
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
            of_it = [part for part in parts if part.distribution == package]
            owner = of_it[-1].owner if of_it else f"plugin `{package}`"
            return Culprit(owner, place(frame, line))
    by_library = [frame for frame in frames if _package(frame[0]) in LIBRARIES]
    if not by_library or by_library[-1] != frames[-1]:
        return None
    called = next(frame for frame, _ in reversed(frames) if _package(frame) not in LIBRARIES)
    if called.f_code.co_name == "change_weights":
        return Culprit(f"optimizer `{run.config.optimizer}`", place(*frames[-1]))
    if parts and parts[-1].distribution != CORE:
        return Culprit(parts[-1].owner, place(*frames[-1]))
    if called.f_code.co_name == "backward":  # What it goes back through is the network above all.
        return Culprit(run.model.entry.owner, place(*frames[-1]))
    return None


def place(frame: FrameType, line: int) -> str:
    """Return file and line as they are shown."""
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-SHORTEST_PATH:])}:{line}"


def what_was_raised(error: BaseException) -> str:
    """Return an error of somebody's code in one line, at most a few hundred characters."""
    return one_line(error)[:300]


def _parts(run: Run, frames: Frames) -> Iterator[Entry]:
    """Yield the parts of the run whose code the core was calling, outermost first."""
    for frame, _ in frames:
        module, values = frame.f_globals.get("__name__"), frame.f_locals
        # Locals of the core's own functions: `self`, and names beside which parts are called.
        with contextlib.suppress(KeyError, AttributeError):
            if module == "segzoo.model" and frame.f_code.co_name == "forward":
                yield values["self"].entry
            elif module == "segzoo.metrics.selection" and "identity" in values:
                yield values["self"].entries[values["identity"]]
            elif module == "segzoo.losses" and values["entry"] is not None:
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
