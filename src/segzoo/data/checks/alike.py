"""Pictures that look the same: copies, and the frames of a film, as groups."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Pairs = npt.NDArray[np.int64]
"""Pairs of places, N x 2, the lower one first."""

# Of 130 portraits no two are nearer than 13 bits and 26 levels; a copy of half the size, darker and
# compressed, or cropped by 3 %, is within 5 bits and 8 levels (10 bits where a picture is flat).
SAME_BITS = 10  # of 64
SAME_LEVELS = 8.0  # mean difference of two 16 x 16 thumbnails, both stretched to 0..255
CHUNK = 512
COMPARED_AT_ONCE = 20_000


class Mark(NamedTuple):
    """A picture's 64-bit difference hash, and its thumbnail of 16 x 16 grey levels 0..255."""

    bits: int
    thumb: Tensor


def fingerprint(image_CHW: Tensor) -> Mark:
    """Return a picture's mark.

    A bit says whether a cell of the 8 x 9 thumbnail is brighter than its left neighbour (dHash,
    Krawetz, 2013): sizes, brightness and compression hardly change it.
    """
    grey_11HW = image_CHW.double().mean(0)[None, None]
    small = functional.interpolate(grey_11HW, (8, 9), mode="bilinear", antialias=True)[0, 0]
    bits = (small[:, 1:] > small[:, :-1]).flatten().tolist()
    thumb = functional.interpolate(grey_11HW, (16, 16), mode="bilinear", antialias=True)[0, 0]
    low, high = float(thumb.min()), float(thumb.max())
    thumb = (thumb - low) * (255 / max(high - low, 1e-9))
    return Mark(sum(bit << place for place, bit in enumerate(bits)), thumb.float())


def alike(one: Mark, two: Mark) -> bool:
    """Whether two pictures look the same."""
    near = (one.bits ^ two.bits).bit_count() <= SAME_BITS
    return near and float((one.thumb - two.thumb).abs().mean()) <= SAME_LEVELS


def alike_pairs(marks: Sequence[Mark]) -> Pairs:
    """Return the pairs of pictures that look the same, in order; 10,000 take some ten seconds."""
    if len(marks) < 2:
        return np.empty((0, 2), np.int64)
    hashes = np.array([mark.bits for mark in marks], dtype=np.uint64)
    thumbs = torch.stack([mark.thumb for mark in marks]).flatten(1)
    found: list[Pairs] = []
    for start in range(0, len(hashes), CHUNK):
        apart = np.bitwise_count(hashes[start : start + CHUNK, None] ^ hashes[None, start:])
        pairs = np.argwhere(apart <= SAME_BITS) + start
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        for first in range(0, len(pairs), COMPARED_AT_ONCE):
            some = pairs[first : first + COMPARED_AT_ONCE]
            one, two = torch.from_numpy(some).T
            near = (thumbs[one] - thumbs[two]).abs().mean(1) <= SAME_LEVELS
            found.append(some[near.numpy()])
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


def grouped(pairs: Pairs, count: int) -> list[list[int]]:
    """Return what the pairs connect, of `count` places, as groups of two and more, in order."""
    lowest = np.arange(count)  # the lowest place that each is known to be connected with
    one, two = pairs.T
    while True:
        before = lowest.copy()
        least = np.minimum(lowest[one], lowest[two])
        np.minimum.at(lowest, one, least)
        np.minimum.at(lowest, two, least)
        lowest = lowest[lowest]
        if (lowest == before).all():
            break
    groups: dict[int, list[int]] = {}
    for place in np.unique(pairs).tolist():
        groups.setdefault(int(lowest[place]), []).append(place)
    return list(groups.values())
