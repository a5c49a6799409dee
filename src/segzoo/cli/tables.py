"""Tables of scores: classes or runs in rows, metrics in columns, in pieces where they are wide."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from segzoo.cli.console import make_console, show
from segzoo.words import visible

NONE = "-"
PADDING, EDGES = 3, 2  # between columns, and around a table


def width() -> int:
    """Return how many characters a line may have: the terminal's or $COLUMNS, 200 in a pipe."""
    return make_console().width


def score_text(value: float | None, interval: Sequence[float] = (), between: str = " ") -> str:
    """Return ``0.8123 (0.791-0.831)``; the interval may stand on a line of its own."""
    if value is None:
        return NONE
    return number(value) + (f"{between}({interval_text(interval)})" if len(interval) else "")


def interval_text(interval: Sequence[float], *, signed: bool = False) -> str:
    """Return ``0.791-0.831``, and with signs ``-0.012..+0.034``."""
    low, high = interval
    if signed or low < 0:
        return f"{_outward(low, 3, math.floor):+.3f}..{_outward(high, 3, math.ceil):+.3f}"
    return "-".join(ends(interval, 3))


def ends(interval: Sequence[float], decimals: int) -> tuple[str, str]:
    """Return the ends with so many decimals, from 10 on with one as `number` has them.

    They are rounded outwards, so that the score, which has more decimals, is never outside.
    """

    def text(value: float, to_whole: Callable[[float], int]) -> str:
        if abs(value) < 10:
            return f"{_outward(value, decimals, to_whole):.{decimals}f}"
        return f"{_outward(value, 1, to_whole):,.1f}"

    return text(interval[0], math.floor), text(interval[1], math.ceil)


def _outward(value: float, decimals: int, to_whole: Callable[[float], int]) -> float:
    scaled = round(value * 10**decimals, 6)  # What sums are off by makes no whole step.
    return to_whole(scaled) / 10**decimals


def number(value: Any) -> str:
    """Return a number as tables have it: four decimals, fewer from 10 on, counts by thousands."""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if type(value) is int else str(value if value is not None else "")


def printable(text: str) -> str:
    """Return a foreign text as one line, with what a terminal would obey escaped."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def print_pieces(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", least: int = 20
) -> None:
    """Print a table, and what does not fit the width below it under the first column again.

    The first column may be folded down to `least` characters; the others never are.
    """
    room = width() - EDGES
    sizes = [_size([name, *cells]) for name, *cells in zip(columns, *rows, strict=True)]
    first = min(sizes[0], max(least, room // 3))
    pieces: list[list[int]] = [[]]
    used = first
    for place, size in enumerate(sizes[1:], start=1):
        if pieces[-1] and used + PADDING + size > room:
            pieces.append([])
            used = first
        pieces[-1].append(place)
        used += PADDING + size
    for piece in pieces:
        chosen = [0, *piece]
        shown = [[row[place] for place in chosen] for row in rows]
        if title:
            print_text(title)
            title = ""
        _print([columns[place] for place in chosen], shown, room + EDGES)


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False, width=room)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(printable(columns[0]), overflow="fold")
    for column in columns[1:]:
        table.add_column(printable(column), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    show(table, console)


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Say whether a table has room in one piece."""
    sizes = [_size([name, *cells]) for name, *cells in zip(columns, *rows, strict=True)]
    return sum(sizes) + PADDING * (len(sizes) - 1) <= width() - EDGES


def print_text(text: str) -> None:
    """Print a sentence that may hold foreign names, broken between words where it is long."""
    lines = textwrap.wrap(printable(text), width(), break_long_words=False, break_on_hyphens=False)
    print("\n".join(lines))


def lines_fit(lines: Sequence[str]) -> bool:
    """Say whether lines have room."""
    return max(map(cell_width, lines)) <= width()


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a line takes: Chinese characters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def _size(cells: Sequence[str]) -> int:
    lines = (printable(line) for cell in cells for line in cell.split("\n"))
    return max(map(cell_width, lines), default=0)
