"""Choosing pictures that differ from each other, to show what is in a data set.

N pictures, S numbers of each thumbnail.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segzoo.data.loading.batches import Batches
from segzoo.data.sample import Sample

SIDE = 8
MOST_BYTES = 256 << 20
"""Of a stream, whose pictures cannot be read again, so much is held while it is chosen."""


def thumbnail(image_CHW: Tensor) -> Tensor:
    """Return a picture's mean colours in 8 x 8 cells, float32 S; three channels at most."""
    return functional.adaptive_avg_pool2d(image_CHW[:3].float(), (SIDE, SIDE)).flatten()


def different(thumbnails: Sequence[Tensor], count: int, given: Sequence[int] = ()) -> list[int]:
    """Return the places of `count` pictures, those `given` and then always the farthest one.

    That is farthest-point sampling (Gonzalez, Clustering to Minimize the Maximum Intercluster
    Distance, 1985): of near-duplicates, such as frames of one street, one is taken. Without
    `given` it begins with the picture that is nearest to the mean of all. No chance is in it.
    """
    if not thumbnails:
        return []
    points_NS = torch.stack(list(thumbnails)).double().numpy()
    chosen = list(dict.fromkeys(given))[:count]
    if not chosen and count:
        chosen = [int(np.argmin(np.square(points_NS - points_NS.mean(0)).sum(1)))]
    nearest_N = np.full(len(points_NS), np.inf)
    for place in chosen:
        nearest_N = np.minimum(nearest_N, np.square(points_NS - points_NS[place]).sum(1))
    nearest_N[chosen] = -1
    while len(chosen) < min(count, len(points_NS)):
        place = int(np.argmax(nearest_N))
        chosen.append(place)
        nearest_N = np.minimum(nearest_N, np.square(points_NS - points_NS[place]).sum(1))
        nearest_N[chosen] = -1
    return chosen


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the places 0..count-1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def varied(
    batches: Batches, looked_at: Sequence[int], count: int, *, first: int = 0
) -> list[tuple[int, Sample]]:
    """Return `count` samples of a split that differ, each with its place, of those `looked_at`.

    The first `first` of these are always taken. Those that cannot be read are passed over where
    `batches` passes over them. Of a stream the places are those in its own order.
    """
    if batches.stream:
        held = list(itertools.islice(_held(batches), len(looked_at)))
        order = different([thumbnail(sample.image) for sample in held], count)
        return [(place, held[place]) for place in order]
    thumbnails: dict[int, Tensor] = {}
    for place in looked_at:
        sample = batches.tried(place)
        if sample is not None:
            thumbnails[place] = thumbnail(sample.image)
    known = list(thumbnails)
    given = [known.index(place) for place in looked_at[:first] if place in thumbnails]
    order = [known[n] for n in different(list(thumbnails.values()), count, given)]
    samples = ((place, batches.tried(place)) for place in order)
    return [(place, sample) for place, sample in samples if sample is not None]


def _held(batches: Batches) -> Iterator[Sample]:
    """Yield the samples of a stream, until they take much memory."""
    size = 0
    for batch in batches.epoch(0):
        for sample in map(Sample, batch.images_BCHW, batch.target_BHW, batch.keys):
            size += sample.image.nbytes + sample.target.nbytes
            yield sample
            if size > MOST_BYTES:
                return
