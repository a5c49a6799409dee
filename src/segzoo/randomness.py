"""The random states of Python, numpy and torch: kept from others, and apart from others."""

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.random import fork_rng


@contextlib.contextmanager
def kept_random(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Put back, after the block, the states that the process has now, also those of `devices`.

    Takes 0.1 ms, most of it numpy's.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_random(seed: int) -> None:
    """Seed Python, numpy and torch on the CPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed % 2**63)


class OwnRandom:
    """Random states that depend on a seed alone, and go on from one use to the next.

    What code in ``with own.in_use():`` draws neither depends on what others have drawn nor changes
    what they will draw.
    """

    def __init__(self, seed: int) -> None:
        with kept_random():
            seed_random(seed)
            self._take()

    def _take(self) -> None:
        self._states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Let Python, numpy and torch (on the CPU) draw from these states in the block."""
        with kept_random():
            python, numpy, torch_state = self._states
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_rng_state(torch_state)
            try:
                yield
            finally:
                self._take()
