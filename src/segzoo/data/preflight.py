"""A look at some pictures of every split before the first step, for what would be found later.

What is read is kept where a cache on disk keeps it, so that the first epoch does not read it again.
`segzoo data check` looks at all of them.
"""

import logging
import time
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from segzoo.data.batches import Batches
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError, listed

log = logging.getLogger("segzoo")

MOST_PICTURES = 32
MOST_SECONDS = 2.0
MOST_ID = 15
"""The highest value of mattes that are taken for class ids: a person of 6 % opacity is none."""
TOO_FEW = 8
"""Masks of one class alone are usual among fewer than these."""


def look(splits: Mapping[str, Batches], info: DataInfo) -> None:
    """Read up to 32 pictures of each split, evenly spread, for at most 2 seconds altogether.

    Raises SegzooError for one that cannot be read or has labels that are no classes, or of which
    the data set has said so by its `faults`, unless such ones are to be left out; and for masks
    with no pixel to learn from, and for ids read as mattes. Warns where all of them hold one class,
    or none holds some class of a small split.
    """
    until = time.monotonic() + MOST_SECONDS
    for split, batches in splits.items():
        _refuse_known_faults(batches)
        samples = list(_looked_at(batches, until))
        if not samples:
            continue
        targets = [sample.target for sample in samples]
        _look_at_range(samples, f"{info.identity}, `{split}`", info)
        if info.target == "alpha":
            _look_at_mattes(targets, f"{info.identity}, `{split}`")
            continue
        labels = torch.cat([torch.unique(target_HW) for target_HW in targets]).unique().tolist()
        seen = [int(label) for label in labels if label != info.ignore_index]
        where = f"{info.identity}, `{split}`"
        if not seen:
            raise SegzooError(
                f"{where}: every pixel of the {len(targets)} masks looked at is {info.ignore_index}"
                ", which is ignored: there is nothing to learn",
                "`segzoo data stats` counts the pixels of each class",
            )
        if len(seen) == 1 and len(targets) >= TOO_FEW:
            log.warning(
                "%s: every pixel of the %d masks looked at is `%s`; `segzoo data stats` counts all",
                *(where, len(targets), info.classes[seen[0]]),
            )
        elif len(targets) == batches.count and split == "train":
            missing = [name for k, name in enumerate(info.classes) if k not in seen]
            if missing:
                log.warning("%s: no mask holds %s", where, listed(missing))


def _refuse_known_faults(batches: Batches) -> None:
    """Raise what a data set has found when it was built, in pictures that may not be looked at."""
    dataset = batches.samples.dataset
    parts = getattr(dataset, "datasets", [dataset])  # of several splits as one
    for fault in (fault for part in parts for fault in getattr(part, "faults", ())):
        if batches.bad == "stop":
            raise fault


def _look_at_mattes(targets: list[Tensor], where: str) -> None:
    highest = max(int(target_HW.max()) for target_HW in targets)
    if 0 < highest <= MOST_ID:
        raise SegzooError(
            f"{where}: the highest value of the {len(targets)} mattes looked at is {highest}; a "
            "matte goes to 255, these look like class ids",
            "read them as ids (`folder`: -O target=labels), or scale the mattes to 0..255",
        )
    if highest == 0:
        log.warning("%s: the %d mattes looked at are 0 everywhere", where, len(targets))


def _look_at_range(samples: list[Sample], where: str, info: DataInfo) -> None:
    """Warn of floats 0..1 in a data set that states no range for them: they are 0..255 then."""
    floats = [sample.image for sample in samples if sample.image.is_floating_point()]
    if floats and info.value_range[1] == 255 and max(float(image.max()) for image in floats) <= 1:
        log.warning(
            "%s: no value of the %d pictures looked at is above 1, and the data set's "
            "`value_range` is %g..%g: they are as good as black",
            *(where, len(floats), *info.value_range),
        )


def _looked_at(batches: Batches, until: float) -> Iterable[Sample]:
    if batches.stream:
        return
    count = min(batches.count, MOST_PICTURES)
    for index in np.linspace(0, batches.count - 1, count).round().astype(int):
        if (sample := batches.tried(int(index))) is not None:
            yield sample
        if time.monotonic() > until:
            return
