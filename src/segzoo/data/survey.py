"""Looking through a whole data set: what is in it (`segzoo data stats`), and what is wrong with it
(`segzoo data check`).

Every picture of every split is read once, in its own size.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segzoo.data.finish import finish_sample
from segzoo.data.opening import DataSource, notices
from segzoo.data.reading import naming
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError

log = logging.getLogger("segzoo")

SPLITS = ("train", "val", "test")
# Of 130 portraits no two are nearer than 13 bits and 26 levels; a copy of half the size, darker and
# compressed, or cropped by 3 %, is within 5 bits and 8 levels (10 bits where a picture is flat).
SAME_BITS = 10  # of 64
SAME_LEVELS = 8.0  # mean difference of two 16 x 16 thumbnails, both stretched to 0..255
CHUNK = 2048
NOTICE = "notice"
_END: Any = object()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong: broken, mislabelled, unpaired, duplicate, leak (in two splits) or missing
    class; or, of the kind `notice`, what the data set says of itself.
    """

    kind: str
    split: str
    key: str
    text: str


@dataclass
class SplitStats:
    """What one split holds. Shares are of all pixels; mean and std per channel, in 0..1."""

    pictures: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    shares: dict[str, float] = field(default_factory=dict)
    pictures_with: dict[str, int] = field(default_factory=dict)
    ignored: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture's name, and the finished sample, or what is wrong with it and of which kind that
    is (see `Problem`).
    """

    key: str
    found: Sample | SegzooError
    kind: str = ""


def items(dataset: Any, info: DataInfo) -> Iterator[Item]:
    """Yield every picture of a split in its own size; a stream ends with the first that fails."""
    stream = not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__")
    keys = getattr(dataset, "keys", None)
    raws: Any = None
    channels = 0
    for index in itertools.count() if stream else range(len(dataset)):
        key = str(keys[index]) if isinstance(keys, Sequence) else f"#{index}"
        kind = "broken"
        try:
            with naming(info, index):
                raws = iter(dataset) if stream and raws is None else raws
                raw = next(raws, _END) if stream else dataset[index]
                if raw is _END:
                    return
                sample = Sample(*raw)
                kind, key = "mislabelled", str(sample.key)
                sample = finish_sample(sample, info, None)
                channels = channels or len(sample.image)
                if len(sample.image) != channels:
                    raise SegzooError(
                        f"{info.identity}, `{key}`: {len(sample.image)} channels, the first "
                        f"picture of its split has {channels}",
                        "all pictures of a data set have the same channels",
                    )
        except SegzooError as error:
            yield Item(key=key, found=error, kind=kind)
            if stream:
                return
        else:
            yield Item(key=key, found=sample)


def survey(source: DataSource) -> dict[str, SplitStats]:
    """Return the statistics of every split; raises SegzooError for a picture that is broken.

    What the data set says of itself is logged, as a training does.
    """
    stats: dict[str, SplitStats] = {}
    sums: dict[str, Any] = {}
    splits = source.splits(SPLITS)
    for text in notices(splits.values()):
        log.warning("%s", text)
    for split, dataset in splits.items():
        info = source.info(dataset)
        for item in items(dataset, info):
            if isinstance(item.found, SegzooError):
                raise item.found
            record = stats.setdefault(split, SplitStats())
            record.pictures += 1
            size = (int(item.found.target.shape[0]), int(item.found.target.shape[1]))
            record.smallest = min(record.smallest, size, key=_area) if record.smallest[0] else size
            record.largest = max(record.largest, size, key=_area)
            _add(sums.setdefault(split, _Sums(info)), item.found)
    for split, record in stats.items():
        sums[split].finish(record)
    return stats


class _Sums:
    """Pixels by class, and the channels' moments, added up over a split."""

    def __init__(self, info: DataInfo) -> None:
        self.info = info
        self.pixels = np.zeros(len(info.classes))
        self.with_class = np.zeros(len(info.classes), dtype=int)
        self.all_pixels = 0
        self.moments: Tensor | None = None

    def finish(self, record: SplitStats) -> None:
        """Write the sums into the record as shares, mean and std."""
        names = self.info.classes
        record.shares = dict(zip(names, (self.pixels / self.all_pixels).tolist(), strict=True))
        record.pictures_with = dict(zip(names, self.with_class.tolist(), strict=True))
        record.ignored = max(0.0, 1 - float(self.pixels.sum()) / self.all_pixels)
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
    sums.pixels += counts
    sums.with_class += counts > 0


def check(source: DataSource) -> Iterator[Problem]:
    """Yield what is wrong: unreadable pictures, bad labels, files without partner, duplicates,
    leaks, missing classes.
    """
    places: list[tuple[str, str]] = []
    marks: list[tuple[int, Tensor]] = []
    seen: dict[str, set[int]] = {}
    info: DataInfo | None = None
    lone: set[tuple[str, str]] = set()
    splits = source.splits(SPLITS)
    for text in notices(splits.values()):
        yield Problem(kind=NOTICE, split="", key="", text=text)
    for split, dataset in splits.items():
        info = source.info(dataset)
        unpaired: set[tuple[str, str]] = set(getattr(dataset, "unpaired", ()))
        for key, text in sorted(unpaired - lone):
            yield Problem(kind="unpaired", split=split, key=key, text=text)
        lone |= unpaired  # Two splits carved from one have the same.
        for item in items(dataset, info):
            if isinstance(item.found, SegzooError):
                text = item.found.message
                yield Problem(kind=item.kind, split=split, key=item.key, text=text)
                continue
            seen.setdefault(split, set()).update(item.found.target.unique().tolist())
            places.append((split, item.key))
            marks.append(fingerprint(item.found.image))
    yield from _alike(places, marks)
    if info is not None and info.target == "labels":
        for index, name in enumerate(info.classes):
            if index not in seen.get("train", set()):
                text = f"class {index}, `{name}`, is in no training picture"
                yield Problem(kind="missing class", split="train", key="", text=text)


def fingerprint(image_CHW: Tensor) -> tuple[int, Tensor]:
    """Return a picture's 64-bit difference hash, and its thumbnail of 16 x 16 grey levels 0..255.

    A bit says whether a cell of the 8 x 9 thumbnail is brighter than its left neighbour (dHash,
    Krawetz, 2013): sizes, brightness and compression hardly change it.
    """
    grey_11HW = image_CHW.double().mean(0)[None, None]
    small = functional.interpolate(grey_11HW, (8, 9), mode="bilinear", antialias=True)[0, 0]
    bits = (small[:, 1:] > small[:, :-1]).flatten().tolist()
    thumb = functional.interpolate(grey_11HW, (16, 16), mode="bilinear", antialias=True)[0, 0]
    low, high = float(thumb.min()), float(thumb.max())
    thumb = (thumb - low) * (255 / max(high - low, 1e-9))
    return sum(bit << place for place, bit in enumerate(bits)), thumb


def _alike(places: list[tuple[str, str]], marks: list[tuple[int, Tensor]]) -> Iterator[Problem]:
    """Yield the pairs of pictures that look the same, within a split and over two."""
    if len(places) < 2:
        return
    hashes = np.array([mark[0] for mark in marks], dtype=np.uint64)
    thumbs = torch.stack([mark[1] for mark in marks])
    for start in range(0, len(hashes), CHUNK):
        apart = np.bitwise_count(hashes[start : start + CHUNK, None] ^ hashes[None, :])
        for row, column in np.argwhere(apart <= SAME_BITS):
            one, two = int(start + row), int(column)
            if two <= one or float((thumbs[one] - thumbs[two]).abs().mean()) > SAME_LEVELS:
                continue
            (split, key), (other_split, other) = places[one], places[two]
            kind = "duplicate" if split == other_split else "leak"
            text = f"looks the same as `{other}` of `{other_split}`"
            yield Problem(kind=kind, split=split, key=key, text=text)


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
