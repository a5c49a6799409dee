"""Short words for what a prompt or a notebook shows of an object."""

from collections.abc import Sequence

SHOWN = 6
"""How many names are listed of many."""


def named(names: Sequence[str], limit: int = SHOWN) -> str:
    """Join names, the first few of many: ``a, b, ... (19 in all)``."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[: limit - 1])}, ... ({len(names)} in all)"


def counted(classes: Sequence[str]) -> str:
    """Say how many classes there are, and which."""
    return f"{len(classes)} classes: {named(classes)}"


def number_of(count: int, noun: str, *, plural: str = "") -> str:
    """Say how many there are of something: ``1 picture``, ``3 pictures``, ``2 entries``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def sized(size: Sequence[int]) -> str:
    """Write a size or shape: ``75 x 101``."""
    return " x ".join(map(str, size))
