"""Reading ``2*ce(label_smoothing=0.1) + dice``: parts of the zoo by name, with options."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from segzoo.errors import SegzooError

_TERM = re.compile(
    r"\s*(?:(?P<weight>\d+\.?\d*(?:e-?\d+)?)\s*\*\s*)?"
    r"(?P<name>[a-z0-9][\w./-]*)\s*(?:\((?P<options>[^()]*)\))?\s*"
)


class Term(NamedTuple):
    """One part: its weight (1 unless given), its name, its options as strings."""

    weight: float
    name: str
    options: dict[str, str]


def parse_terms(expression: str, separator: str, what: str) -> list[Term]:
    """Split an expression at `separator` outside parentheses and read each term.

    Raises SegzooError quoting the part that cannot be read; `what` names the setting.
    """
    terms = []
    for part in re.split(rf"{re.escape(separator)}(?![^(]*\))", expression):
        match = _TERM.fullmatch(part)
        if not match:
            raise SegzooError(
                f"{what} `{expression}`: cannot read `{part.strip()}`",
                f"write names joined by `{separator}`, with options as in `dice(smooth=0)`"
                + (", and weights as in `ce + 0.5*dice`" if separator == "+" else ""),
            )
        pairs = [pair.split("=", 1) for pair in (match["options"] or "").split(",") if pair.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise SegzooError(f"{what} `{expression}`: options are written name=value")
        options = {key.strip(): value.strip() for key, value in pairs}
        weight = float(match["weight"] or 1)
        if not math.isfinite(weight):
            raise SegzooError(f"{what} `{expression}`: the weight {match['weight']} is too large")
        terms.append(Term(weight, match["name"], options))
    return terms


def write_terms(terms: Iterable[Term]) -> str:
    """Write a weighted sum that `parse_terms` reads back to the same terms."""
    parts = []
    for weight, name, options in terms:
        # The sign of an exponent would be read as the end of the term.
        times = "" if weight == 1 else f"{weight!r}*".replace("e+", "e")
        pairs = ",".join(f"{key}={value}" for key, value in options.items())
        parts.append(f"{times}{name}({pairs})" if pairs else f"{times}{name}")
    return " + ".join(parts)
