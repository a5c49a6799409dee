"""A look at some pictures of every split before the first step, for what would be found later.

What is read is kept where a cache on disk keeps it, so that the first epoch does not read it again.
`segzoo data check` looks at all of them, and says the same.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segzoo.data.loading.batches import Batches
from segzoo.data.loading.reading import Samples
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError, listed

log = logging.getLogger("segzoo")

MOST_PICTURES = 32
MOST_SECONDS = 2.0
UNTIL_TRAIN, UNTIL_COMPARED = 0.8, 1.4
"""When to stop looking at training pictures, and comparing their masks with those of their own
size, so that something is left for other splits."""
FEWEST_COMPARED = 2
"""However slow reading is, as one mask alone says little."""
MOST_ID = 15
"""The highest value of mattes that are taken for class ids: a person of 6 % opacity is none."""
TOO_FEW = 8
"""Masks of one class alone are usual among fewer than these."""
MUCH_LOST = 0.25
"""The share of a class's pixels that lie in masks which lose it by resizing, worth a word."""


class Verdict(NamedTuple):
    """What pictures of a split show: of which kind, and whether a training stops at it."""

    kind: str
    text: str
    hint: str = ""
    stops: bool = False


class Look:
    """Samples of a split, as a training gets them, taken one by one and judged together."""

    def __init__(self, info: DataInfo, split: str) -> None:
        self.info, self.split = info, split
        self.count = self.floats = 0
        self.labels: set[int] = set()
        self.highest, self.brightest = 0, 0.0
        self.compared = 0
        self.size = (0, 0)
        self.own: Counter[int] = Counter()  # masks at their own size that hold a class
        self.gone: Counter[int] = Counter()  # those of them that lose it by resizing
        self.pixels: Counter[int] = Counter()  # of a class, at its own size
        self.pixels_gone: Counter[int] = Counter()  # in the masks that lose it

    def add(self, sample: Sample) -> None:
        """Take a sample."""
        self.count += 1
        if sample.image.is_floating_point():
            self.floats += 1
            self.brightest = max(self.brightest, float(sample.image.max()))
        if self.info.target == "alpha":
            self.highest = max(self.highest, int(sample.target.max()))
        else:
            self.labels.update(torch.unique(sample.target).tolist())

    def compare(self, own_HW: Tensor, resized_HW: Tensor) -> None:
        """Take the labels of a picture at its own size and at the training's."""
        self.compared += 1
        self.size = (int(resized_HW.shape[0]), int(resized_HW.shape[1]))
        left = set(torch.unique(resized_HW).tolist())
        for label, pixels in zip(*own_HW.unique(return_counts=True), strict=True):
            label, pixels = int(label), int(pixels)
            if label == self.info.ignore_index:
                continue
            self.own[label] += 1
            self.pixels[label] += pixels
            if label not in left:
                self.gone[label] += 1
                self.pixels_gone[label] += pixels

    def verdicts(self, *, whole: bool) -> Iterator[Verdict]:
        """Yield what is to be said; `whole` says that all of the split was looked at."""
        if not self.count:
            return
        where = f"{self.info.identity}, `{self.split}`"
        yield from self._range(where)
        if self.info.target == "alpha":
            yield from self._mattes(where)
            return
        seen = [label for label in sorted(self.labels) if label != self.info.ignore_index]
        if not seen:
            yield Verdict(
                "nothing to learn",
                f"{where}: every pixel of the {self.count} masks looked at is "
                f"{self.info.ignore_index}, which is ignored: there is nothing to learn",
                "`segzoo data stats` counts the pixels of each class",
                stops=True,
            )
            return
        vanished = list(self._vanished(where))
        if vanished:
            yield from vanished
        elif len(seen) == 1 and self.count >= TOO_FEW:
            yield Verdict(
                "one class",
                f"{where}: every pixel of the {self.count} masks looked at is "
                f"`{self.info.classes[seen[0]]}`; `segzoo data stats` counts all",
            )
        if whole and self.split == "train" and (len(seen) > 1 or self.count < TOO_FEW or vanished):
            held = {*seen, *self.own}
            missing = [name for k, name in enumerate(self.info.classes) if k not in held]
            if missing:
                yield Verdict("missing class", f"{where}: no mask holds {listed(missing)}")

    def _vanished(self, where: str) -> Iterator[Verdict]:
        """Say which classes are too thin or small for the size of the training."""
        lost = [k for k in self.gone if self.pixels_gone[k] > MUCH_LOST * self.pixels[k]]
        if not lost:
            return
        lost.sort(key=lambda k: -self.pixels_gone[k] / self.pixels[k])
        said = []
        for label in lost[:8]:
            name, gone, own = self.info.classes[label], self.gone[label], self.own[label]
            share = self.pixels_gone[label] / self.pixels[label]
            said.append(
                f"no mask holds `{name}`, which {own} of them {'do' if own > 1 else 'does'} at "
                "their own size"
                if gone == own
                else f"`{name}` is gone from {gone} of the {own} masks that hold it at their own "
                f"size, with {share:.0%} of its pixels"
            )
        more = " ..." if lost[8:] else ""
        looked = f"{self.compared} mask{'s' * (self.compared > 1)} looked at"
        yield Verdict(
            "vanishing class",
            f"{where}: at {self.size[0]} x {self.size[1]} {'; '.join(said)}{more} ({looked}): too "
            "thin or small for this size; a larger --size, or --crop, keeps more",
        )

    def _mattes(self, where: str) -> Iterator[Verdict]:
        if 0 < self.highest <= MOST_ID:
            yield Verdict(
                "class ids",
                f"{where}: the highest value of the {self.count} mattes looked at is "
                f"{self.highest}; a matte goes to 255, these look like class ids",
                "read them as ids (`folder`: -O target=labels), or scale the mattes to 0..255",
                stops=True,
            )
        if self.highest == 0:
            text = f"{where}: the {self.count} mattes looked at are 0 everywhere"
            yield Verdict("one class", text)

    def _range(self, where: str) -> Iterator[Verdict]:
        """Speak of floats 0..1 where no range is stated for them: they are read as 0..255 then."""
        low, high = self.info.value_range
        if self.floats and high == 255 and self.brightest <= 1:
            yield Verdict(
                "range",
                f"{where}: no value of the {self.count} pictures looked at is above 1, and the "
                f"data set's `value_range` is {low:g}..{high:g}: they are as good as black",
            )


def look(splits: Mapping[str, Batches], info: DataInfo) -> None:
    """Read up to 32 pictures of each split, evenly spread, for at most 2 seconds altogether.

    Raises SegzooError for one that cannot be read or has labels that are no classes, or of which
    the data set has said so by its `faults`, unless such ones are to be left out; and for masks
    with no pixel to learn from, and for ids read as mattes. Warns where all of them hold one class,
    or none holds some class of a small split, and where classes are lost by resizing.
    """
    start = time.monotonic()
    for split, batches in splits.items():
        _refuse_known_faults(batches)
        found = Look(info, split)
        until = start + (UNTIL_TRAIN if split == "train" else MOST_SECONDS)
        targets: dict[int, Tensor] = {}
        for index in _chosen(batches):
            if (sample := batches.tried(index)) is not None:
                found.add(sample)
                targets[index] = sample.target
            if time.monotonic() > until:
                break
        if split == "train" and info.target == "labels" and not batches.crops:
            _compare_sizes(batches, found, targets, start + UNTIL_COMPARED)
        for verdict in found.verdicts(whole=len(targets) == batches.pictures):
            if verdict.stops:
                raise SegzooError(verdict.text, verdict.hint)
            log.warning("%s", verdict.text)


def _compare_sizes(
    batches: Batches, found: Look, targets: Mapping[int, Tensor], until: float
) -> None:
    """Read training masks at their own size too, for as long as there is time."""
    whole = Samples(batches.samples.dataset, found.info, None, batches.seed)
    for index, resized in targets.items():
        found.compare(whole.finished(index).target, resized)
        if time.monotonic() > until and found.compared >= FEWEST_COMPARED:
            return


def _refuse_known_faults(batches: Batches) -> None:
    """Raise what a data set has found when it was built, in pictures that may not be looked at."""
    dataset: Any = batches.samples.dataset
    parts = getattr(dataset, "datasets", [dataset])  # of several splits as one
    for fault in (fault for part in parts for fault in getattr(part, "faults", ())):
        if batches.bad == "stop":
            raise fault


def _chosen(batches: Batches) -> list[int]:
    if batches.stream:
        return []
    count = min(batches.pictures, MOST_PICTURES)
    places = np.linspace(0, batches.pictures - 1, count).round().astype(int)
    return (places * (batches.crops.each if batches.crops else 1)).tolist()
