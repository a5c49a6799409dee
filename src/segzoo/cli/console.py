"""Printing tables and JSON the same way in every command."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup


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


class LightCommand(_Light, TyperCommand):
    """A command of strings and switches only."""


class LightGroup(_Light, TyperGroup):
    """A group that has no parameters of its own but --help and completion."""


JSON_HELP = "print JSON instead of text"


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table on stdout that fits the terminal; in a pipe, lines are not cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)
