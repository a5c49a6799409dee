"""Weights that fit nothing, and commands without the things a command needs."""

import torch
from torch import Tensor


def load() -> dict[str, Tensor]:
    """Return one tensor of a network that has many."""
    return {"conv1.0.weight": torch.zeros(24, 3, 3, 3)}


def draw() -> dict[str, Tensor]:
    """Return other weights each time."""
    return {"conv1.0.weight": torch.randn(24, 3, 3, 3)}


def undocumented(count: int = 1) -> None:
    print(count)


def untyped(words: int | bytes | float = 1) -> None:
    """Take what typer cannot parse."""
    print(words)
