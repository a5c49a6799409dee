"""``segzoo cache``: what lies in the cache, how much room it takes, and clearing it."""

from pathlib import Path
from typing import Annotated

import typer

from segzoo.cli.console import JSON_HELP, print_json, print_table, say
from segzoo.data.loading.cleaning import KINDS, Kept, cache_parts, check_kind, clear
from segzoo.data.roots import user_cache_folder


def cache_command(
    kind: Annotated[str | None, typer.Argument(help=f"only this: {', '.join(KINDS)}")] = None,
    clear_it: Annotated[
        bool, typer.Option("--clear", help="remove it; all of it can be made again")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="also what was used within the hour")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Show what lies in the cache and how much room it takes; with --clear [KIND], remove it."""
    check_kind(kind)
    if clear_it:
        freed, left = clear(kind, force=force)
        if json:
            print_json({"freed": freed, "left": [entry.path for entry in left]})
        else:
            _print_cleared(freed, left)
        return
    folder = user_cache_folder()
    parts = [part for part in cache_parts() if kind in (None, part.kind)]
    if json:
        print_json({"folder": str(folder), "parts": [part.as_dict() for part in parts]})
        return
    if not parts:
        say(f"nothing{f' of the kind {kind}' if kind else ''} in {folder}")
        return
    say(f"{folder}: {size_text(sum(part.bytes for part in parts))}")
    if kind is None:
        rows = [(p.kind, size_text(p.bytes), len(p.entries), p.what) for p in parts]
        print_table(("kind", "size", "entries", "what it is"), rows)
        say("`segzoo cache --clear [KIND]` removes it; end the trainings that read it first")
    else:
        entries = [(Path(e.path).name, size_text(e.bytes), e.about) for e in parts[0].entries]
        print_table(("name", "size", "made of"), entries)


def _print_cleared(freed: int, left: list[Kept]) -> None:
    say(f"{size_text(freed)} freed")
    if left:
        say(f"left, {size_text(sum(entry.bytes for entry in left))}:")
        for entry in left:
            say(f"  {entry.path}")
        say("used within the hour, maybe by a running training (--force), or not removable")


def size_text(count: int) -> str:
    """Return a number of bytes for people: 1.4 GB."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
