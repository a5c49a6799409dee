"""Short words for what a prompt or a notebook shows of an object; foreign texts made visible."""

import unicodedata
from collections.abc import Sequence

SHOWN = 6
"""How many names are listed of many."""


_KEPT = "\n\t\u200c\u200d"  # The joiners are parts of words, and of emoji.


def visible(text: str) -> str:
    """Return a text with what a terminal would obey escaped: control and bidi characters.

    Names in files and archives are anybody's. Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in _KEPT or unicodedata.category(c) == "Zs"
        else c.encode("unicode_escape").decode()
        for c in text
    )


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
