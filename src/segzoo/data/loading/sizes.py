"""How large the pictures of a data set are, before they are brought to the size of a training."""

import itertools
import logging
import math
from typing import Any

import numpy as np

from segzoo.compute.process_state import unchanged_process
from segzoo.compute.randomness import kept_random, seed_random
from segzoo.data.loading.reading import mixed
from segzoo.data.sample import Sample
from segzoo.errors import Overdue
from segzoo.plugins.isolation import one_line

log = logging.getLogger("segzoo")

LOOKED_AT = 5


def typical_size(dataset: Any, seed: int) -> tuple[int, int] | None:
    """Return (height, width) of the picture of middle area among five, evenly spread.

    None where none of them can be read. Of a stream it is the first picture's. Takes nothing from
    anybody's random numbers, and gives the same in every run.
    """
    sizes: list[tuple[int, int]] = []
    with kept_random():
        seed_random(mixed(seed, 0))
        for raw in _some(dataset):
            try:
                with unchanged_process():
                    shape = Sample(*raw()).image.shape
                sizes.append((int(shape[-2]), int(shape[-1])))
            except (Overdue, KeyboardInterrupt):
                raise
            except BaseException as error:  # If it lasts, reading it for the training ends with it.
                log.info("the size of a picture was not found out: %s", one_line(error))
    return sorted(sizes, key=math.prod)[len(sizes) // 2] if sizes else None


def _some(dataset: Any) -> Any:
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        return [lambda: next(itertools.islice(iter(dataset), 1))]
    count = len(dataset)
    places = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int))
    return [lambda place=int(place): dataset[place] for place in places]
