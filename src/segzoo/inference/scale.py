"""At what scale a network sees pictures, beside the one that it was trained at.

A network that learned objects 20 pixels wide does not know them 160 pixels wide. Training shows
whole pictures at one size, or crops; a weights file says how large its pictures were and at what
part of that they were shown. Whoever shows others at their own size, or in windows of it, is told.
"""

import dataclasses
import logging
import math
from typing import Any

from segzoo.compute.ranks import asked_for
from segzoo.errors import SegzooError
from segzoo.inference.settings import AUTO, Inference
from segzoo.model.description import WeightsInfo
from segzoo.size import Size, mean_side

log = logging.getLogger("segzoo")

TOLERANCE = 1.5
"""How many times as large or small things may be seen without a word; strong augmentation shows
them 0.6 to 1.6 times as large."""


def trained_scale(info: WeightsInfo) -> float | None:
    """Return what part of their own size training pictures were shown at; None: not known."""
    return info.shown["scale"] if info.shown else None


def on_crops(info: WeightsInfo) -> bool:
    """Whether the network was trained on crops, and so sees pictures in windows by default."""
    return bool(info.shown and info.shown["crops"])


def fitting(how: Inference, info: WeightsInfo) -> Inference:
    """Return the settings with what a model trained on crops has otherwise: windows, and the scale.

    Raises SegzooError where `--size auto` is asked for and the file says no scale.
    """
    if on_crops(info):
        if how.size is None and how.window is None:
            how = dataclasses.replace(how, window=AUTO)
        if how.size is None:
            how = dataclasses.replace(how, size=AUTO)
    if how.size == AUTO and trained_scale(info) is None:
        raise SegzooError(
            "--size auto: the weights file does not say at what scale it was trained",
            "give a size, or full; files that this version of segzoo trains say it",
        )
    return how


class ScaleWatch:
    """Tells once of a picture that a network sees at another scale than it was trained at."""

    def __init__(self, how: Inference, info: WeightsInfo) -> None:
        self.how, self.info = how, info
        self.told = (how.size is None and how.window is None) or not asked_for().first

    def look(self, own: Size, seen: Size) -> None:
        """Look at the size of a picture, and the one at which it is seen."""
        if self.told or not (said := difference(own, seen, self.how, self.info)):
            return
        self.told = True
        log.warning("%s", said)


def difference(own: Size, seen: Size, how: Inference, info: WeightsInfo) -> str:
    """Say how a picture of size `own`, seen at `seen`, differs in scale from the training, or "".

    Pictures may be alike in what they show, as portraits are, whatever their size, or in how large
    a pixel is, as those of a microscope are: whichever makes the scale the training's is meant.
    """
    scale = trained_scale(info)
    now = mean_side(seen) / mean_side(own)
    factors = [] if on_crops(info) else [mean_side(seen) / mean_side(info.size)]
    if scale is not None:
        factors.append(now / scale)
    factor = min(factors, key=lambda value: abs(math.log(value)), default=1.0)
    if 1 / TOLERANCE <= factor <= TOLERANCE:
        return ""
    flags = " ".join(
        f"--{name} {_words(value)}"
        for name, value in (("size", how.size), ("window", how.window))
        if value is not None
    )
    shown = "" if scale is None else f" of {_words(info.shown['pictures'])}"  # type: ignore[index]
    crops = f"in crops of {_words(info.size)}" if on_crops(info) else f"at {_words(info.size)}"
    at = "" if scale is None else f", {_times(scale, 'their')}"
    ways = [f"leave out {flags.replace(' --', ' and --')}"]
    if scale is not None and how.size != AUTO:
        ways.append(f"add --size auto, {_times(scale, 'their')}")
    return (
        f"{flags} shows the network a picture of {_words(own)} at {_words(seen)}, "
        f"{_times(now, 'its')}; it was trained on pictures{shown} {crops}{at}: it "
        f"{'may see' if scale is None else 'sees'} everything {factor:.3g} times as large as it "
        f"knows it. To show pictures as in the training {', or '.join(ways)}"
    )


def _times(scale: float, whose: str) -> str:
    part = "" if abs(scale - 1) < 0.005 else f"{scale:.3g} times "
    return f"at {part}{whose} own size"


def _words(size: Any) -> str:
    return "x".join(map(str, size)) if isinstance(size, (tuple, list)) else str(size)
