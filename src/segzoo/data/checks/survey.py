"""Looking through a whole data set, every picture once and in its own size: `items`, which
`segzoo data check` reads too, and `survey`, the statistics of `segzoo data stats`.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segzoo.data.finish import finish_sample
from segzoo.data.loading.reading import naming, other_channels
from segzoo.data.opening import DataSource, notices
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError
from segzoo.host.progress import NOTHING_SHOWN, Waiting

log = logging.getLogger("segzoo")

SPLITS = ("train", "val", "test")
_END: Any = object()


@dataclass
class SplitStats:
    """What one split holds. Shares are of all pixels; mean and std per channel, in 0..1."""

    pictures: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    shares: dict[str, float] = field(default_factory=dict)
    pictures_with: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    pictures_with_ignored: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture's name, and the finished sample, or what is wrong with it and of which kind that
    is: broken or mislabelled. `at_size` is the sample as a training at some size has it.
    """

    key: str
    found: Sample | SegzooError
    kind: str = ""
    at_size: Sample | None = None


def items(dataset: Any, info: DataInfo, size: tuple[int, int] | None = None) -> Iterator[Item]:
    """Yield every picture of a split in its own size; a stream ends with the first that fails."""
    stream = is_stream(dataset)
    keys = getattr(dataset, "keys", None)
    raws: Any = None
    first: Sample | None = None
    for index in itertools.count() if stream else range(len(dataset)):
        key = str(keys[index]) if isinstance(keys, Sequence) else f"#{index}"
        kind = "broken"
        try:
            with naming(info, index):
                raws = iter(dataset) if stream and raws is None else raws
                raw = next(raws, _END) if stream else dataset[index]
                if raw is _END:
                    return
                raw = Sample(*raw)
                kind, key = "mislabelled", str(raw.key)
                sample = finish_sample(raw, info, None)
                first = first or sample
                if len(sample.image) != len(first.image):
                    counts = len(sample.image), len(first.image)
                    raise other_channels(key, counts[0], first.key, counts[1])
                at_size = None if size is None else finish_sample(raw, info, size)
        except SegzooError as error:
            yield Item(key=key, found=error, kind=kind)
            if stream:
                return
        else:
            yield Item(key=key, found=sample, at_size=at_size)


def is_stream(dataset: Any) -> bool:
    """Whether a built split can only be iterated."""
    return not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__")


def survey(source: DataSource, shown: Waiting = NOTHING_SHOWN) -> dict[str, SplitStats]:
    """Return the statistics of every split; raises SegzooError for a picture that is broken.

    What the data set says of itself is logged, as a training does.
    """
    stats: dict[str, SplitStats] = {}
    splits = source.splits(SPLITS)
    for text in notices(splits.values()):
        log.warning("%s", text)
    for split, dataset in splits.items():
        info = source.info(dataset)
        record, sums = SplitStats(), _Sums(info)
        shown.says(f"reading `{split}`", None if is_stream(dataset) else len(dataset))
        for item in shown.through(items(dataset, info)):
            if isinstance(item.found, SegzooError):
                raise item.found
            record.pictures += 1
            size = (int(item.found.target.shape[0]), int(item.found.target.shape[1]))
            record.smallest = min(record.smallest, size, key=_area) if record.smallest[0] else size
            record.largest = max(record.largest, size, key=_area)
            _add(sums, item.found)
        if record.pictures:
            sums.finish(record)
            stats[split] = record
    return stats


class _Sums:
    """Pixels by class, and the channels' moments, added up over a split."""

    def __init__(self, info: DataInfo) -> None:
        self.info = info
        self.pixels = np.zeros(len(info.classes))
        self.with_class = np.zeros(len(info.classes), dtype=int)
        self.with_ignored = 0
        self.all_pixels = 0
        self.moments: Tensor | None = None

    def finish(self, record: SplitStats) -> None:
        """Write the sums into the record as shares, mean and std."""
        names = self.info.classes
        record.shares = dict(zip(names, (self.pixels / self.all_pixels).tolist(), strict=True))
        record.pictures_with = dict(zip(names, self.with_class.tolist(), strict=True))
        record.ignored = max(0.0, 1 - float(self.pixels.sum()) / self.all_pixels)
        record.pictures_with_ignored = self.with_ignored
        assert self.moments is not None
        mean_C, square_C = (self.moments / self.all_pixels).tolist()
        record.mean = tuple(mean_C)
        record.std = tuple(
            max(square - mean * mean, 0.0) ** 0.5
            for mean, square in zip(mean_C, square_C, strict=True)
        )


def _add(sums: _Sums, sample: Sample) -> None:
    low, high = sums.info.value_range
    scaled_CHW = (sample.image.double() - low) / (high - low)
    moments_2C = torch.stack([scaled_CHW.sum((1, 2)), scaled_CHW.square().sum((1, 2))])
    sums.moments = moments_2C if sums.moments is None else sums.moments + moments_2C
    sums.all_pixels += sample.target.numel()
    if sums.info.target == "alpha":
        share = float(sample.target.double().sum()) / 255
        counts = np.array([sample.target.numel() - share, share])
    else:
        labels = sample.target.flatten().numpy()
        kept = labels[labels < len(sums.pixels)]
        counts = np.bincount(kept, minlength=len(sums.pixels)).astype(float)
        sums.with_ignored += len(kept) < len(labels)
    sums.pixels += counts
    sums.with_class += counts > 0


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
