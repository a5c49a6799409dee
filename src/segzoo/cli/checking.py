"""``segzoo check``, ``doctor`` and ``matrix``: whether what is installed does what it should."""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from segzoo.cli.console import JSON_HELP, print_json, print_table, say
from segzoo.cli.training import parse_pairs
from segzoo.errors import SegzooError, choices
from segzoo.plugins.manager import get_manager, get_registry
from segzoo.plugins.packages import distribution_of
from segzoo.plugins.registry import Entry
from segzoo.plugins.specs import KINDS
from segzoo.size import parse_size

AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
FAILED = 1


def check_command(
    name: Annotated[str, typer.Argument(help="an installed package, or one part DIST/NAME")],
    o: Annotated[list[str], typer.Option("-o", help="option NAME=VALUE of the parts")] = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Run the conformance checks on the parts of an installed plugin package."""
    options, parts = parse_pairs(o, "-o"), find_parts(name)
    from segzoo.testing.run import check_part

    logging.getLogger("segzoo").setLevel(logging.ERROR)  # notices of every data set that is built
    outcomes = []
    for entry in parts:
        say(f"checking {entry.owner}", to_stderr=True)
        with contextlib.redirect_stdout(sys.stderr):  # what the part prints stays out of the JSON
            outcomes += check_part(entry, options)
    failed = [outcome for outcome in outcomes if outcome.outcome == "failed"]
    if json:
        print_json([dataclasses.asdict(outcome) for outcome in outcomes])
    else:
        _print_outcomes(outcomes)
    if failed:
        raise typer.Exit(FAILED)


def doctor_command(json: AsJson = False) -> None:
    """Check the installation: versions, plugins, folders, imports, device; exit 1 on trouble."""
    from segzoo.devtools.doctor import TROUBLE, examine

    findings = list(examine())
    troubles = sum(finding.state == TROUBLE for finding in findings)
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [(f.area, f.state, f.text + (f"\n-> {f.hint}" if f.hint else "")) for f in findings]
        print_table(("area", "state", "what was found"), rows)
        say(f"{troubles} troubles" if troubles else "no trouble")
    if troubles:
        raise typer.Exit(FAILED)


def matrix_command(
    model: Annotated[list[str], typer.Option(help="only this model; may be repeated")] = [],  # noqa: B006
    data: Annotated[list[str], typer.Option(help="only this data set; may be repeated")] = [],  # noqa: B006
    size: Annotated[str, typer.Option(help="height x width of the pictures: 64 or 48x64")] = "64",
    epochs: Annotated[int, typer.Option(help="epochs of training; 0 = a single step", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps")] = "auto",
    json: AsJson = False,
) -> None:
    """Train a step of every model on every data set's stand-in, and print who works with whom."""
    models, datasets = chosen("models", model), chosen("datasets", data)
    pixels = parse_size(size)
    from segzoo.devtools.matrix import matrix

    pairings = []
    for pairing in matrix(models, datasets, size=pixels, epochs=epochs, device=device):
        if not pairings or pairings[-1].model != pairing.model:
            say(f"{pairing.model}", to_stderr=True)
        pairings.append(pairing)
    if json:
        print_json([dataclasses.asdict(pairing) for pairing in pairings])
    else:
        _print_matrix(pairings, [entry.identity for entry in datasets])
    if not all(pairing.works for pairing in pairings):
        raise typer.Exit(FAILED)


def find_parts(name: str) -> list[Entry]:
    """List what a distribution provides, or the one part `distribution/name`.

    Raises SegzooError for what is not installed, broken, or provides nothing.
    """
    name = distribution_of(name)
    registry = get_registry()
    entries = [entry for kind in KINDS for entry in registry.all(kind)]
    wanted = [entry for entry in entries if name in (entry.distribution, entry.identity)]
    plugins = [p for p in get_manager().plugins if name in (p.distribution, p.identity)]
    for plugin in plugins:
        if plugin.status != "ok":
            raise SegzooError(
                f"plugin {plugin.identity} is {plugin.status} ({plugin.phase}): {plugin.reason}",
                f"see `segzoo plugins --why {plugin.identity}`",
            )
    if wanted:
        return wanted
    known = {plugin.distribution for plugin in get_manager().plugins}
    what = "provides no parts to check" if plugins else "is not installed"
    raise SegzooError(f"`{name}` {what}", choices(name, known, how="`segzoo plugins` lists all"))


def chosen(kind: str, names: Sequence[str]) -> list[Entry]:
    """Return the entries of a kind by name, or all; raises SegzooError for an unknown one."""
    registry = get_registry()
    return [registry.get(kind, name) for name in names] if names else registry.all(kind)


def _print_matrix(pairings: list[Any], datasets: list[str]) -> None:
    by_model: dict[str, list[str]] = {}
    reasons: dict[str, int] = {}
    for pairing in pairings:
        cell = f"{pairing.loss:.2f}" if pairing.works else ""
        if not pairing.works:
            cell = f"fails ({reasons.setdefault(pairing.reason, len(reasons) + 1)})"
        by_model.setdefault(pairing.model, []).append(cell)
    columns = ("loss of", *(name.rsplit("/", 1)[-1] for name in datasets))
    print_table(columns, [(model, *cells) for model, cells in by_model.items()])
    for reason, number in reasons.items():
        say(f"({number}) {reason}")
    works = sum(pairing.works for pairing in pairings)
    seconds = sum(pairing.seconds for pairing in pairings)
    say(f"{works} of {len(pairings)} pairs work, {seconds:.0f} s")


def _print_outcomes(outcomes: list[Any]) -> None:
    words = ("passed", "failed", "exception", "skipped")
    rows = []
    for part in dict.fromkeys((outcome.kind, outcome.part) for outcome in outcomes):
        own = [outcome for outcome in outcomes if (outcome.kind, outcome.part) == part]
        counts = [sum(outcome.outcome == word for outcome in own) for word in words]
        rows.append((*part, *counts, f"{sum(outcome.seconds for outcome in own):.1f}"))
    print_table(("kind", "part", *words, "seconds"), rows)
    for outcome in outcomes:
        if outcome.outcome in ("failed", "exception"):
            say(f"{outcome.outcome}: {outcome.check}: {outcome.text}\n")
