"""Carving a validation split out of the training pictures, the same way every time."""

import random
from collections.abc import Sequence


def carve(keys: Sequence[str], fraction: float, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Split keys into (train, val), val being `fraction` of them, at least one if there are two.

    The choice depends on the sorted keys and the seed alone; both lists come back sorted.
    """
    ordered = sorted(keys)
    count = round(len(ordered) * fraction)
    if fraction > 0 and len(ordered) > 1:
        count = min(max(count, 1), len(ordered) - 1)
    held_out = set(random.Random(seed).sample(ordered, count if len(ordered) > 1 else 0))
    return [key for key in ordered if key not in held_out], sorted(held_out)
