"""Printing tables and JSON the same way in every command, and a sign of life before either."""

import json
import math
import os
import re
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from segzoo.host.progress import Waiting, waiting
from segzoo.words import visible

if TYPE_CHECKING:
    from rich.console import Console

SLOW_SECONDS = 0.4
"""After this long a command says on a terminal that it is at work: torch is imported in 2 to 5."""

PIPE_WIDTH = 200
LEAST_TEXT = 16
"""Columns of a table that text is given at least, where there is more of it."""
LONGEST_TOKEN = 24

_sign: threading.Timer | None = None


class _AsItCame:
    """Stands where typer keeps what coerces a parameter's value; leaves it a string."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


class _Light:
    """Takes parameters as they came: strings and switches, which need no coercion.

    typer imports pydantic, which takes as long as all the rest of a listing (70 ms), to coerce
    even a string. A typer that keeps its coercion elsewhere would just do so again.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if hasattr(parameter, "_runtime_param"):
                parameter._runtime_param = _AsItCame()
        return parameters


class UsualCommand(TyperCommand):
    """A command whose arguments are called as usual, ``WEIGHTS PICTURES...``, in usage and errors.

    Newer versions of typer write ``{weights} {pictures}...``, older ones as is done here.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, arguments in capitals."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if hasattr(parameter, "display_name_raw") and parameter.param_type_name == "argument":
                parameter.metavar = parameter.metavar or parameter.name.upper()
        return parameters

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]


class LightCommand(_Light, UsualCommand):
    """A command of strings and switches only."""


class LightGroup(_Light, TyperGroup):
    """A group whose own parameters are switches: --version, --help and completion."""


JSON_HELP = "print JSON instead of text"


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout; numbers that JSON does not have, nan among them, as null."""
    try:
        text = json.dumps(value, indent=2, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(json.loads(json.dumps(value, default=str))), indent=2)
    print(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: object = "", *, to_stderr: bool = False) -> None:
    """Print a text that may hold names of files and what is in them, made visible."""
    stream = sys.stderr if to_stderr else sys.stdout
    print(visible(str(text)), file=stream, flush=to_stderr)


def make_console() -> "Console":
    """Return a console on stdout as wide as the terminal, or as $COLUMNS says.

    In a pipe lines are not cut, unless $COLUMNS is set.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = PIPE_WIDTH
    return console


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table on stdout that fits the terminal; numbers and names are not broken for it."""
    from rich import box
    from rich.table import Table

    cells = [["" if cell is None else visible(str(cell)) for cell in row] for row in rows]
    table = Table(
        title=visible(title) or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    console = make_console()
    whole = _unbroken(columns, cells, console.width)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place in whole)
    for row in cells:
        table.add_row(*row)
    show(table, console)


def show(table: Any, console: "Console") -> None:
    """Print a table; in a file no line ends in the spaces that fill a terminal's."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def broken(text: str, indent: str) -> str:
    """Return a text in lines of the terminal's width, broken between words, behind an indent."""
    return textwrap.fill(
        text,
        max(make_console().width, 40),
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _unbroken(columns: Sequence[str], cells: list[list[str]], width: int) -> set[int]:
    """Return the columns of numbers and names that are not broken: where they leave no room for
    the others, the widest are.
    """
    widths = {
        place: max(len(text) for text in (column, *(row[place] for row in cells)))
        for place, column in enumerate(columns)
    }
    whole = {place for place in widths if all(_whole(row[place]) for row in cells)}

    def needed() -> int:
        others = sum(min(widths[place], LEAST_TEXT) for place in widths if place not in whole)
        return sum(widths[place] for place in whole) + others + 3 * len(columns)

    while whole and needed() > width:
        whole.remove(max(whole, key=lambda place: widths[place]))
    return whole


def fitted(text: str, stream: Any) -> str:
    """Return a text whose lines are broken between words for a stream that is a terminal."""
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.split("\n"):
        wrapper.initial_indent = line[: len(line) - len(line.lstrip())]
        wrapper.subsequent_indent = wrapper.initial_indent + "  "
        lines.append(wrapper.fill(line.lstrip()))
    return "\n".join(lines)


def _whole(cell: str) -> bool:
    """Say whether a cell is a number or a name, which reads as nothing when it is broken."""
    return len(cell) <= LONGEST_TOKEN and not any(c.isspace() for c in cell)


def announce(text: str) -> None:
    """Say on a terminal at once what is being done, where it may take more than a second."""
    global _sign
    if _sign is not None:
        _sign.cancel()
        _sign = None
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        say(f"segzoo: {text} ...", to_stderr=True)


def announce_if_slow(command: str) -> None:
    """Let a command that says nothing by itself say soon that it is at work."""
    global _sign
    if sys.stderr.isatty():
        _sign = threading.Timer(SLOW_SECONDS, announce, (f"starting {command}",))
        _sign.daemon = True
        _sign.start()


def end_announcing() -> None:
    """Say nothing more: the command is at its end."""
    global _sign
    if _sign is not None:
        _sign.cancel()
        _sign = None


def working(text: str) -> AbstractContextManager[Waiting]:
    """Show on a terminal at once, and until the block ends, what is being waited for."""
    end_announcing()
    return waiting(text)
