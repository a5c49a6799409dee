"""Write docs/cli.md and docs/hooks.md from the code; a test checks that they are up to date."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from segzoo import hookspecs
from segzoo.specs import KINDS

DOCS = Path(__file__).parent
COMMANDS = (*("", "list", "show", "plugins", "train", "evaluate", "predict", "inspect", "compare"),)


def cli_page() -> str:
    """Return the help of every command of the core, as the terminal shows it without plugins."""
    parts = ["# The command line\n\nWritten by `make docs` from the commands' own help.\n"]
    environment = {**os.environ, "SEGZOO_NO_PLUGINS": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    environment |= {"TERM": "dumb", "TYPER_USE_RICH": "0"}
    for command in COMMANDS:
        words = [sys.executable, "-m", "segzoo", *command.split(), "--help"]
        text = subprocess.run(
            words, capture_output=True, text=True, check=True, env=environment
        ).stdout
        text = "\n".join(line.rstrip() for line in text.strip().splitlines())
        text = text.replace("python -m segzoo", "segzoo")
        parts.append(f"## {f'segzoo {command}'.strip()}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def hooks_page() -> str:
    """Return the hooks with their signatures and docstrings, and the fields of every spec."""
    parts = ["# Hooks and specs, plugin API 1\n\nWritten by `make docs` from the code.\n"]
    parts.append(inspect.getdoc(hookspecs) or "")
    for heading, wanted in (("Discovery hooks", True), ("Observer hooks", False)):
        parts.append(f"\n## {heading}\n")
        for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
            if name.startswith("segzoo_") and (name in hookspecs.DISCOVERY_HOOKS) == wanted:
                arguments = ", ".join(inspect.signature(function).parameters)
                gives = hookspecs.DISCOVERY_HOOKS.get(name)
                result = f" -> list of {gives.__name__}" if gives else ""
                parts.append(f"- `{name}({arguments}){result}`: {inspect.getdoc(function)}")
    parts.append("\n## Specs\n")
    for spec in KINDS.values():
        parts.append(f"### {spec.__name__}\n\n{inspect.getdoc(spec)}\n")
        parts.append("| field | type | default |\n|---|---|---|")
        for field in dataclasses.fields(spec):
            made = field.default_factory
            value = field.default if made is dataclasses.MISSING else made()
            kind = field.type if isinstance(field.type, str) else _type_name(field.type)
            escaped = kind.replace("|", "\\|")
            default = "required" if value is dataclasses.MISSING else f"`{value!r}`"
            parts.append(f"| `{field.name}` | `{escaped}` | {default} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _type_name(kind: object) -> str:
    name = getattr(kind, "__name__", "") if isinstance(kind, type) else ""
    return name or re.sub(r"typing\.|collections\.abc\.", "", str(kind))


PAGES = {"cli.md": cli_page, "hooks.md": hooks_page}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), encoding="utf-8")
