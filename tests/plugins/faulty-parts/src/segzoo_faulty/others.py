"""Weights that fit nothing, and commands without the things a command needs."""

import torch
from torch import Tensor


def load() -> dict[str, Tensor]:
    """Return one tensor of a network that has many."""
    return {"conv1.0.weight": torch.zeros(24, 3, 3, 3)}


def whole() -> dict[str, Tensor]:
    """Return every tensor of the network, the same each time."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("resnet10t", pretrained=False).state_dict()


def count(upto: int = 3) -> None:
    """Count up to a number."""
    print(*range(1, upto + 1))


def draw() -> dict[str, Tensor]:
    """Return other weights each time."""
    return {"conv1.0.weight": torch.randn(24, 3, 3, 3)}


def undocumented(count: int = 1) -> None:
    print(count)


def untyped(words: int | bytes | float = 1) -> None:
    """Take what typer cannot parse."""
    print(words)
