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
from segzoo.data.sample import DataInfo
from segzoo.errors import SegzooError, listed

log = logging.getLogger("segzoo")

MOST_PICTURES = 32
MOST_SECONDS = 2.0
TOO_FEW = 8
"""Masks of one class alone are usual among fewer than these."""


def look(splits: Mapping[str, Batches], info: DataInfo) -> None:
    """Read up to 32 pictures of each split, evenly spread, for at most 2 seconds altogether.

    Raises SegzooError for one that cannot be read or has labels that are no classes, unless such
    ones are to be left out, and for masks with no pixel to learn from. Warns where all of them hold
    one class, or none holds some class of a small split.
    """
    until = time.monotonic() + MOST_SECONDS
    for split, batches in splits.items():
        targets = list(_targets(batches, until))
        if info.target != "labels" or not targets:
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


def _targets(batches: Batches, until: float) -> Iterable[Tensor]:
    if batches.stream or batches.all_kept:
        return  # Each has been looked at when it was kept.
    count = min(batches.count, MOST_PICTURES)
    for index in np.linspace(0, batches.count - 1, count).round().astype(int):
        if (sample := batches.tried(int(index))) is not None:
            yield sample.target
        if time.monotonic() > until:
            return
