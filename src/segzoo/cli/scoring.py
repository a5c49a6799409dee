"""What ``segzoo evaluate`` prints: overall scores, classes by metrics, the confusion matrix."""

from pathlib import Path
from typing import Any

from segzoo.cli.console import say
from segzoo.cli.tables import (
    cell_width,
    ends,
    fits,
    lines_fit,
    number,
    print_pieces,
    print_text,
    printable,
    score_text,
)
from segzoo.errors import SegzooError

SHOWN = 5
"""How many pictures without a score are named."""
LONGEST_NAME = 20
CONFUSED = 20
"""How many pairs of classes are listed where the matrix has no room."""
DRAWN = (".png", ".svg", ".pdf")


def check_drawn(path: Path | None) -> None:
    """Raise SegzooError where a drawing cannot have that name."""
    if path is not None and path.suffix.lower() not in DRAWN:
        raise SegzooError(
            f"--confusion-png {path}: ends in {path.suffix or 'nothing'}",
            f"end it in {', '.join(DRAWN)}",
        )


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the scores with their intervals, then the worst pictures and the matrix."""
    say(f"{result['data']}, {result['split']}: {result['pictures']} pictures")
    scores, intervals = result["scores"], result["intervals"]
    rows = [
        [name, number(value), _interval(intervals, name)]
        for name, value in scores.items()
        if "/" not in name
    ]
    print_pieces(("score", "value", "95 % interval"), rows)
    _print_classes(result)
    if "confusion" in result:
        _print_confusion(result["classes"], result["confusion"])
    if result["worst"]:
        names = [name for name in result["worst"][0] if "/" not in name]
        rows = [[number(record.get(name)) for name in names] for record in result["worst"]]
        title = f"the worst pictures by {result['worst_by']}"
        print_pieces(("picture", *names[1:]), rows, title=title)
    if unscored := result["unscored"]:
        shown = ", ".join(unscored[:SHOWN]) + (", ..." if len(unscored) > SHOWN else "")
        print_text(f"{len(unscored)} without a scored pixel: {shown}")


def _interval(intervals: dict[str, Any], name: str) -> str:
    """Return the ends of a score's interval; where no score has one the pictures are too few."""
    if not intervals:
        return "too few pictures"
    return " to ".join(ends(intervals[name], 4)) if name in intervals else ""


def _print_classes(result: dict[str, Any]) -> None:
    """Print the scores ``metric/class``: classes in rows; what a class has not is a dash.

    Intervals go below their values where both have no room beside each other.
    """
    pairs = [name.partition("/")[::2] for name in result["scores"] if "/" in name]
    metrics = list(dict.fromkeys(metric for metric, _ in pairs))
    classes = list(dict.fromkeys([*result["classes"], *(name for _, name in pairs)]))
    if not metrics:
        return
    columns = ("class", *metrics)
    rows: list[list[str]] = []
    for between in (" ", "\n"):
        rows = [
            [name, *(_cell(result, f"{metric}/{name}", between) for metric in metrics)]
            for name in classes
        ]
        if fits(columns, rows):
            break
    print_pieces(columns, rows)
    absent = [
        name for name in classes if all(f"{m}/{name}" not in result["scores"] for m in metrics)
    ]
    if absent:
        shown = ", ".join(absent[:SHOWN]) + (", ..." if len(absent) > SHOWN else "")
        print_text(f"-: in no mask and no prediction, and in no mean: {shown}")


def _cell(result: dict[str, Any], name: str, between: str) -> str:
    return score_text(result["scores"].get(name), result["intervals"].get(name, ()), between)


def _print_confusion(classes: list[str], confusion: dict[str, Any]) -> None:
    """Print a row for each true class: shares with counts, or without where that has no room.

    Where even that has none, the pairs of classes that are confused most are listed.
    """
    counts, shares = confusion["counts"], confusion["shares"]
    title = "rows: true class, columns: predicted"
    columns = ["true", *classes]
    full = [
        [name, *(f"{_percent(share)} ({count:,})" for share, count in zip(*both, strict=True))]
        for name, *both in zip(classes, shares, counts, strict=True)
    ]
    if fits(columns, full):
        print_pieces(columns, full, title=f"{title}; % of the true class (pixels)")
        return
    lines = _short_lines(classes, counts, shares)
    if lines_fit(lines):
        print_text(f"{title} by number; % of the true class, . is less than half of one")
        say()
        say("\n".join(lines) + "\n")
        return
    _print_pairs(classes, counts, shares)


def _short_lines(
    classes: list[str], counts: list[list[int]], shares: list[list[float | None]]
) -> list[str]:
    """Return the matrix as lines of whole per cent, in as little room as there may be."""
    names = [printable(f"{place} {name}") for place, name in enumerate(classes)]
    names = [name if cell_width(name) <= LONGEST_NAME else f"{name[:8]}..." for name in names]
    label = max(map(cell_width, ["true", *names]))
    pixels = [f"{sum(row):,}" for row in counts]
    most = max(map(len, ["pixels", *pixels]))
    rows = [["true", "pixels", *map(str, range(len(classes)))]]
    rows += [
        [name, total, *map(_whole, row)]
        for name, total, row in zip(names, pixels, shares, strict=True)
    ]
    return [
        f"{name}{'':{label - cell_width(name)}} {total:>{most}} "
        + "".join(f"{cell:>4}" for cell in cells)
        for name, total, *cells in rows
    ]


def _print_pairs(
    classes: list[str], counts: list[list[int]], shares: list[list[float | None]]
) -> None:
    pairs = [
        (count, shares[true][predicted], classes[true], classes[predicted])
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [
        [true, predicted, f"{count:,}", _percent(share)]
        for count, share, true, predicted in pairs[:CONFUSED]
    ]
    title = f"confused most, of {len(pairs)} pairs of classes (all: --json, --confusion-png)"
    print_pieces(("true", "predicted as", "pixels", "of the class"), rows, title=title)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _whole(share: float | None) -> str:
    """Return whole per cent, a dot for what is next to nothing."""
    return "-" if share is None else "." if share < 0.005 else f"{100 * share:.0f}"
