"""What is refused before any data is looked for: losses, metrics and splits that there are not."""

from segzoo.errors import SegzooError, nearest
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options
from segzoo.plugins.terms import parse_terms

SPLITS = ("train", "val", "test")


def check_loss(expression: str) -> None:
    """Raise SegzooError for a sum of losses of which one, or an option, is unknown."""
    _check_terms("losses", expression, "+", "loss")


def check_metrics(further: str) -> None:
    """Raise SegzooError for metrics of which one, or an option, is unknown."""
    if further.strip():
        _check_terms("metrics", further, ",", "metrics")


def check_split(split: str | None) -> None:
    """Raise SegzooError for a name that no split of any data set has."""
    if split is not None and split not in SPLITS:
        raise SegzooError(
            f"--split {split}: no such split", f"{nearest(split, SPLITS)}there is: train, val, test"
        )


def _check_terms(kind: str, expression: str, separator: str, what: str) -> None:
    for _, name, values in parse_terms(expression, separator, what):
        entry = get_registry().get(kind, name)
        make_options(entry.spec.options, values, entry.owner)
