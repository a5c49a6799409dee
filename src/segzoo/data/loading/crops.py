"""Random crops of pictures, for `--crop`: what large pictures are trained on at their own scale.

An epoch takes of each picture as many crops as cover a picture of the typical size. They are in
random order among those of some pictures, so that a process that reads a picture keeps it until
its crops are cut. Shapes: C channels, H x W a picture, h x w a crop.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segzoo.data.sample import Sample
from segzoo.size import Size, scaled

PICTURES_MIXED = 16
KEPT_BYTES = 512 << 20
"""How much one process keeps of pictures that it cuts crops of, beside the last one."""


@dataclass(frozen=True)
class Crops:
    """Crops of a size, `each` of every picture in an epoch, out of pictures times `scale`."""

    size: Size
    scale: float
    each: int

    @staticmethod
    def covering(size: Size, scale: float, pictures: Size | None) -> "Crops":
        """Return as many crops of each picture as cover one of a typical size."""
        height, width = scaled(pictures or size, scale)
        each = round(height * width / math.prod(size)) if pictures else 1
        return Crops(size, scale, max(1, each))

    def shown(self, image: Any) -> Size | None:
        """Return the size that a whole picture is brought to; None: its own."""
        own = tuple(getattr(image, "shape", ()))[-2:]
        return scaled((int(own[0]), int(own[1])), self.scale) if len(own) == 2 else None

    def cut(self, whole: Sample, seed: int) -> Sample:
        """Return the crop of a seed, any place being as likely; where the picture is smaller, image
        and target go on mirrored.
        """
        generator = torch.Generator().manual_seed(seed)
        image_CHW, target_HW = whole.image, whole.target
        for axis, side in ((-2, self.size[0]), (-1, self.size[1])):
            length = image_CHW.shape[axis]
            spare = abs(length - side)
            first = int(torch.randint(spare + 1, (), generator=generator))
            if length >= side:
                image_CHW = image_CHW.narrow(axis, first, side)
                target_HW = target_HW.narrow(axis, first, side)
            else:
                places = _mirrored(length, side, first)
                image_CHW = image_CHW.index_select(axis, places)
                target_HW = target_HW.index_select(axis, places)
        return Sample(image_CHW.clone(), target_HW.clone(), whole.key)

    def ordered(self, pictures: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
        """Return the numbers of all crops: those of some pictures at random, then of the next ones.

        Crop k of picture n is n * each + k.
        """
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for first in range(0, len(pictures), PICTURES_MIXED):
            some = pictures[first : first + PICTURES_MIXED]
            crops = (some[:, None] * self.each + np.arange(self.each)).ravel()
            parts.append(crops[torch.randperm(len(crops), generator=generator).numpy()])
        return np.concatenate(parts)


class Recent:
    """Pictures that a process has read last, by key, as many as fit; for crops of them."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self.most_bytes = most_bytes
        self.samples: dict[Any, Sample] = {}

    def get(self, key: Any) -> Sample | None:
        """Return a picture that is kept."""
        return self.samples.get(key)

    def put(self, key: Any, sample: Sample) -> None:
        """Keep a picture, and let those go that were kept longest."""
        self.samples[key] = sample
        while len(self.samples) > 1 and sum(map(_bytes, self.samples.values())) > self.most_bytes:
            del self.samples[next(iter(self.samples))]
        while len(self.samples) > PICTURES_MIXED:
            del self.samples[next(iter(self.samples))]

    def __getstate__(self) -> dict[str, Any]:
        """Take no pictures along to another process."""
        return {"most_bytes": self.most_bytes, "samples": {}}


def _bytes(sample: Sample) -> int:
    return sample.image.nbytes + sample.target.nbytes


def _mirrored(length: int, side: int, before: int) -> Tensor:
    """Return which of `length` places lie along `side`, the first being `before` outside."""
    places = (torch.arange(side) - before) % (2 * length)
    return torch.where(places < length, places, 2 * length - 1 - places)
