"""Write docs/cli.md, hooks.md and gallery.md from the code; tests check that they are up to date.

Building every network for the gallery takes half a minute; tests build a few of them.
"""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segzoo import get_manager, get_registry
from segzoo.cli.plugin import COMMANDS
from segzoo.plugins import hookspecs
from segzoo.plugins.packages import CORE, FIRST_PARTY, package_of
from segzoo.plugins.registry import Entry
from segzoo.plugins.signatures import HOOKS
from segzoo.plugins.specs import target_kinds

DOCS = Path(__file__).parent
DATA_COMMANDS = ("data stats", "data check", "data preview")
FEW_CLASSES = 4

Measured = Mapping[str, tuple[int, int]]
"""Identity of a model -> (parameters, stride) with 3 channels, 2 classes and default options."""

HELP = """
import contextlib, io, json, sys
from segzoo.cli import main

texts = []
for command in json.loads(sys.argv[1]):
    sys.argv = ["segzoo", *command.split(), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    texts.append(out.getvalue())
print(json.dumps(texts))
"""
"""Prints the help of several commands, in one process that sets out as a terminal's would."""


def cli_page() -> str:
    """Return the help of every command of the core, as the terminal shows it without plugins."""
    parts = ["# The command line\n\nWritten by `make docs` from the commands' own help.\n"]
    environment = {**os.environ, "SEGZOO_NO_PLUGINS": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    environment |= {"TERM": "dumb", "TYPER_USE_RICH": "0"}
    commands = ["", *COMMANDS, *DATA_COMMANDS]
    words = [sys.executable, "-c", HELP, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    for command, text in zip(commands, json.loads(done.stdout), strict=True):
        text = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {f'segzoo {command}'.strip()}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def hooks_page() -> str:
    """Return the index of the hooks: signatures, docstrings, fields, and links to the pages."""
    parts = ["# Hooks, plugin API 1\n\nWritten by `make docs` from the code.\n"]
    parts.append(inspect.getdoc(hookspecs) or "")
    observers = [hook for hook in HOOKS if hook not in hookspecs.DISCOVERY_HOOKS]
    for heading, hooks in (
        ("Discovery hooks", list(hookspecs.DISCOVERY_HOOKS)),
        ("Observer hooks", observers),
    ):
        parts.append(f"\n## {heading}\n")
        for hook in hooks:
            function = getattr(hookspecs, hook)
            call = f"{hook}({', '.join(inspect.signature(function).parameters)})"
            line = f"- [`{call}`](hooks/{hook}.md): {inspect.getdoc(function)}"
            if spec := hookspecs.DISCOVERY_HOOKS.get(hook):
                fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(spec))
                line += f" Fields of `{spec.__name__}`: {fields}."
            parts.append(line)
    return "\n".join(parts) + "\n"


def type_and_default(field: dataclasses.Field[Any]) -> tuple[str, str]:
    """Return the two cells with which a page's row of a spec's field begins."""
    made = field.default_factory
    value = field.default if made is dataclasses.MISSING else made()
    kind = field.type if isinstance(field.type, str) else _type_name(field.type)
    escaped = kind.replace("|", "\\|")
    return f"`{escaped}`", "required" if value is dataclasses.MISSING else f"`{value!r}`"


def gallery_page(measured: Measured) -> str:
    """Return the models and data sets of the first-party packages that are installed."""
    parts = [GALLERY_HEAD]
    for package in (CORE, *sorted(set(FIRST_PARTY.values()))):
        models, datasets = (
            [entry for entry in get_registry().all(kind) if entry.distribution == package]
            for kind in ("models", "datasets")
        )
        if models or datasets:
            parts.append(f"## {package_of(package)}\n")
        if models:
            header = ("model", "what it is", "parameters", "stride", "paper", "licence")
            cells = (_model_cells(entry, *measured[entry.identity]) for entry in models)
            parts.append(_table(header, cells, right=(2, 3)))
        if datasets:
            header = ("data set", "what it is", "classes", "targets", "homepage", "licence")
            parts.append(_table(header, map(_dataset_cells, datasets)))
        for entry in (*models, *datasets):
            for name, reason in entry.spec.exceptions.items():
                parts.append(f"`{entry.spec.name}` declares the exception `{name}`: {reason}.\n")
    return "\n".join(parts)


def measure(entries: Iterable[Entry]) -> dict[str, tuple[int, int]]:
    """Build models for 3 channels and 2 classes; return their parameters and strides.

    They are built on the meta device, which allocates nothing, or else, where a builder looks at
    values, on the CPU.
    """
    import torch

    from segzoo.model.network import count_parameters, create_model

    measured = {}
    for entry in entries:
        try:
            with torch.device("meta"):
                model = create_model(entry.identity)
        except Exception:  # the builder's own, of whatever type its library raises there
            model = create_model(entry.identity)
        measured[entry.identity] = (count_parameters(model), model.stride)
    return measured


def read_measured(page: str) -> dict[str, tuple[int, int]]:
    """Return the figures that a gallery page states."""
    row = re.compile(r"^\| `([\w./-]+)` \| [^|]* \| ([\d,]+) \| (\d+) \|", re.MULTILINE)
    return {m[1]: (int(m[2].replace(",", "")), int(m[3])) for m in row.finditer(page)}


GALLERY_HEAD = """# Gallery

Written by `make docs` from the installed first-party packages. A part's name is what stands behind
the slash; `segzoo show NAME` prints its options. Parameters and stride are those of the default
options with 3 channels and 2 classes, parameters that are not trained included. Pictures are padded
to multiples of the stride. A declared exception is a [check](plugins.md#testing-your-plugin) that a
part does not pass, with the reason.
"""


def _model_cells(entry: Entry, parameters: int, stride: int) -> tuple[str, ...]:
    spec = entry.spec
    figures = (f"{parameters:,}", str(stride))
    return (f"`{entry.identity}`", spec.summary, *figures, _link(spec.paper), spec.licence)


def _dataset_cells(entry: Entry) -> tuple[str, ...]:
    spec = entry.spec
    targets = ", ".join(target_kinds(spec.target))
    classes = _class_names(spec.classes)
    homepage = _link(spec.homepage)
    return (f"`{entry.identity}`", spec.summary, classes, targets, homepage, spec.licence)


def _class_names(classes: Sequence[str]) -> str:
    if not classes:
        return "the data's own"
    shown = list(classes) if len(classes) <= FEW_CLASSES else [*classes[: FEW_CLASSES - 1], "..."]
    return f"{len(classes)}: {', '.join(shown)}"


def _link(address: str) -> str:
    return f"<{address}>" if address.startswith("http") else address


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    rules = ["---:" if place in right else "---" for place in range(len(header))]
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join(rules)}|"]
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _type_name(kind: object) -> str:
    name = getattr(kind, "__name__", "") if isinstance(kind, type) else ""
    return name or re.sub(r"typing\.|collections\.abc\.", "", str(kind))


PAGES = {"cli.md": cli_page, "hooks.md": hooks_page}
"""The pages that depend on nothing but the core."""

if __name__ == "__main__":
    for file, make_page in PAGES.items():
        (DOCS / file).write_text(make_page(), encoding="utf-8")
    first_party = set(FIRST_PARTY.values())
    for package in sorted(first_party - {plugin.distribution for plugin in get_manager().plugins}):
        print(f"{package} is not installed: the gallery lacks it", file=sys.stderr)
    models = [e for e in get_registry().all("models") if e.distribution in first_party]
    (DOCS / "gallery.md").write_text(gallery_page(measure(models)), encoding="utf-8")
