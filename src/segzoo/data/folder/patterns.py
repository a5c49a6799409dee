"""Patterns that say which mask belongs to which image: ``-O pair=IMAGE:MASK``.

A pattern is a file's name, or with / its path below the root. ``{name}`` stands for what an image
and its mask share, as may any other word in braces; ``{split}`` for the split's folder, ``*`` for
anything within a name, ``{class}`` in the mask's pattern for the class of a mask that holds one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from segzoo.errors import SegzooError
from segzoo.words import number_of

FIELD = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\{\w+\}|\*|\?|[^{*?]+|.")
HOW = (
    "give two patterns, -O pair=IMAGE:MASK, with {name} for what both share: "
    "-O pair='img_{name}.*:mask_{name}.png'"
)


@dataclass(frozen=True)
class Pattern:
    """One of the two patterns, as regular expressions: the first as few signs as can be to a
    field, the second as many.
    """

    text: str
    shortest: re.Pattern[str]
    longest: re.Pattern[str]
    fields: tuple[str, ...]

    @property
    def of_path(self) -> bool:
        """Whether it is about a path below the root, not a name alone."""
        return "/" in self.text

    def fits(self, path: str) -> Iterator[dict[str, str]]:
        """Yield the fields' texts in a path relative to the root, where the pattern fits it."""
        text = path if self.of_path else path.rpartition("/")[2]
        seen: list[dict[str, str]] = []
        for expression in (self.shortest, self.longest):
            found = expression.fullmatch(text)
            if found and found.groupdict() not in seen:
                seen.append(found.groupdict())
                yield seen[-1]


@dataclass(frozen=True)
class PairPattern:
    """Both patterns; `shared` are the fields that an image and its mask have in common."""

    image: Pattern
    mask: Pattern
    shared: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether an image may have several masks."""
        return "class" in self.mask.fields or "*" in self.mask.text.rpartition(".")[0]


def parse_pair(text: str) -> PairPattern:
    """Read ``IMAGE:MASK``. Raises SegzooError saying what a pattern lacks."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.strip() for part in parts):
        raise SegzooError(f"-O pair={text}: {number_of(len(parts), 'pattern')}", HOW)
    image, mask = (_pattern(part.strip().removeprefix("./"), text) for part in parts)
    if "class" in image.fields:
        raise SegzooError(f"-O pair={text}: {{class}} in the image's pattern", HOW)
    shared = tuple(name for name in image.fields if name in mask.fields and name != "split")
    if not shared:
        raise SegzooError(f"-O pair={text}: the patterns share no field such as {{name}}", HOW)
    return PairPattern(image, mask, shared)


def _pattern(text: str, whole: str) -> Pattern:
    fields = tuple(dict.fromkeys(FIELD.findall(text)))
    if not text.replace("}", "{").count("{") == 2 * len(FIELD.findall(text)):
        raise SegzooError(f"-O pair={whole}: braces that are not a field such as {{name}}", HOW)
    if wrong := [name for name in fields if not name.isidentifier()]:
        raise SegzooError(f"-O pair={whole}: the field {{{wrong[0]}}}", HOW)
    shortest, longest = (re.compile(_expression(text, few)) for few in ("?", ""))
    return Pattern(text, shortest, longest, fields)


def _expression(text: str, few: str) -> str:
    seen: set[str] = set()
    parts: list[str] = []
    for part in _PART.findall(text):
        if not (field := FIELD.fullmatch(part)):
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part))
        elif (name := field[1]) in seen:
            parts.append(f"(?P={name})")
        else:
            seen.add(name)
            # A name may lie in folders of its own; a split or class is one name.
            signs = "[^/]" if name in ("split", "class") else "."
            parts.append(f"(?P<{name}>{signs}+{few})")
    return "".join(parts)
