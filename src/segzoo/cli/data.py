"""``segzoo data stats | check | preview``: looking at a data set before training on it."""

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from segzoo.cli.console import (
    JSON_HELP,
    UsualCommand,
    broken,
    fitted,
    print_json,
    print_table,
    say,
    working,
)
from segzoo.cli.training import parse_pairs
from segzoo.data.roots import check_root
from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins.early import check_split
from segzoo.plugins.options import make_options, option_infos
from segzoo.size import parse_size
from segzoo.store import new_file
from segzoo.train.config import RunConfig

FAILED = 1
DEFAULT_PREVIEW = Path("runs", "preview.png")

Name = Annotated[str, typer.Argument(help="data set, by name or `distribution/name`")]
Root = Annotated[str | None, typer.Option(help="folder of the data set")]
Options = Annotated[list[str], typer.Option("-O", help="data option NAME=VALUE")]
Stand = Annotated[bool, typer.Option("--sample", help="use the generated stand-in")]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="pixels of the largest picture that is read, by default 179 million"),
]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]

app = typer.Typer(
    help="Look at a data set: what is in it, what is wrong, what the network sees.",
    no_args_is_help=True,
)


@app.command("stats", cls=UsualCommand)
def stats_command(
    name: Name,
    root: Root = None,
    o: Options = [],  # noqa: B006
    sample: Stand = False,
    max_pixels: MaxPixels = None,
    json: AsJson = False,
) -> None:
    """Count pictures, sizes, the classes' shares, mean and std of every split."""
    with working("starting") as shown:
        source = _open(name, root, o, sample, max_pixels)
        from segzoo.data.checks.survey import survey

        stats = survey(source, shown)
    if json:
        print_json({split: dataclasses.asdict(record) for split, record in stats.items()})
        return
    rows = [
        (
            split,
            record.pictures,
            " to ".join(dict.fromkeys(f"{h}x{w}" for h, w in (record.smallest, record.largest))),
            " ".join(f"{value:.3f}" for value in record.mean),
            " ".join(f"{value:.3f}" for value in record.std),
        )
        for split, record in stats.items()
    ]
    colours = any(len(record.mean) == 3 for record in stats.values())
    unit = "(R G B of 0..1)" if colours else "(of 0..1)"
    print_table(("split", "pictures", "height x width", f"mean {unit}", f"std {unit}"), rows)
    print_table(("class", *stats), list(_shares(stats)), title="share of pixels (in pictures)")


def _shares(stats: dict[str, Any]) -> Any:
    classes = next(iter(stats.values())).shares
    for name in classes:
        cells = (f"{r.shares[name]:.4f} ({r.pictures_with[name]})" for r in stats.values())
        yield name, *cells
    yield "ignored", *(f"{r.ignored:.4f} ({r.pictures_with_ignored})" for r in stats.values())


@app.command("check", cls=UsualCommand)
def check_command(
    name: Name,
    root: Root = None,
    o: Options = [],  # noqa: B006
    sample: Stand = False,
    max_pixels: MaxPixels = None,
    size: Annotated[
        str | None, typer.Option(help="also look for classes lost at this size of a training")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="list every pair that looks alike")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 on suspicions too")] = False,
    json: AsJson = False,
) -> None:
    """Find broken, mislabelled, leaking pictures and suspicious masks.

    Exits with 1 where there is a problem, which a training would stop at, or a leak from one split
    into another. Suspicions, such as a mask that fits its picture better mirrored, are listed.
    """
    pixels = parse_size(size) if size else None
    with working("starting") as shown:
        source = _open(name, root, o, sample, max_pixels)
        from segzoo.data.checks.checking import GROUPS, PROBLEM, SUSPICION, check

        found = list(check(source, size=pixels, shown=shown))
    if json or every:
        found = [each for finding in found for each in finding.pairs or (finding,)]
    if json:
        print_json([_record(finding) for finding in found])
    else:
        _print_findings([finding for finding in found if finding.kind != GROUPS])
        for finding in found:
            if finding.kind == GROUPS:
                say(fitted(finding.text, sys.stdout))
    if any(f.grade == PROBLEM or (strict and f.grade == SUSPICION) for f in found):
        raise typer.Exit(FAILED)


def _record(finding: Any) -> dict[str, str]:
    names = ("grade", "kind", "split", "key", "text", "hint")
    return {name: getattr(finding, name) for name in names}


def _print_findings(found: list[Any]) -> None:
    if not found:
        say("nothing wrong was found")
        return
    hints: set[str] = set()
    for grade, kind in sorted({(f.grade, f.kind): None for f in found}, key=_grade_first):
        say(kind if kind == grade else f"{grade}: {kind}")
        for finding in (f for f in found if (f.grade, f.kind) == (grade, kind)):
            where = " ".join(filter(None, (finding.split, finding.key)))
            say(broken(f"{where}: {finding.text}" if where else finding.text, "  "))
            if finding.hint and finding.hint not in hints:  # Each is said once.
                say("\n".join(broken(line, "    ") for line in finding.hint.splitlines()))
            hints.add(finding.hint)
        say()
    worst_first = sorted(found, key=lambda finding: _grade_first((finding.grade, finding.kind)))
    counts = Counter(finding.kind for finding in worst_first)
    say(", ".join(f"{count} {kind}" for kind, count in counts.items()))


def _grade_first(group: tuple[str, str]) -> int:
    from segzoo.data.checks.checking import NOTICE, PROBLEM, SUSPICION

    return (PROBLEM, SUSPICION, NOTICE).index(group[0])


@app.command("preview", cls=UsualCommand)
def preview_command(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="PNG file to write; default: a new one, runs/preview.png, runs/preview-2.png, ...",
        ),
    ] = None,
    root: Root = None,
    o: Options = [],  # noqa: B006
    sample: Stand = False,
    max_pixels: MaxPixels = None,
    split: Annotated[str, typer.Option(help="train, val or test")] = "train",
    size: Annotated[str, typer.Option(help="height x width that the network sees")] = "256",
    augment: Annotated[str, typer.Option(help="none, light or strong")] = "light",
    count: Annotated[int, typer.Option(min=1, max=1000, help="pictures")] = 6,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="seed of choice and augmentation")
    ] = 0,
) -> None:
    """Write a contact sheet of what the network sees, augmentation included."""
    presets = next(info.choices for info in option_infos(RunConfig) if info.name == "augment")
    if augment not in presets:
        hint = f"{nearest(augment, presets)}there is: {listed(presets)}"
        raise SegzooError(f"--augment {augment}: no such preset", hint)
    if out is not None and out.suffix.lower() != ".png":
        ending = out.suffix or "nothing"
        raise SegzooError(f"-o {out}: ends in {ending}", "a preview is a PNG: end it in .png")
    check_split(split)
    pixels, source = parse_size(size), _open(name, root, o, sample, max_pixels)
    from segzoo.report.preview import draw_preview

    how = {"split": split, "size": pixels, "augment": augment, "count": count, "seed": seed}
    if out is not None:
        draw_preview(source, out, **how)
    else:
        with new_file(DEFAULT_PREVIEW) as out:
            draw_preview(source, out, **how)
    say(f"written: {out}", to_stderr=True)


def _open(name: str, root: str | None, o: list[str], sample: bool, max_pixels: int | None) -> Any:
    options: dict[str, Any] = parse_pairs(o, "-O")
    root = root or options.pop("root", None)
    from segzoo.plugins.manager import get_registry

    # Before torch is imported, which takes seconds: what is mistyped is told at once.
    entry = get_registry().get("datasets", name)
    make_options(entry.spec.options, options, entry.owner)
    if not sample:
        check_root(entry.identity, root)
    from segzoo.data.opening import DataSource
    from segzoo.data.pictures.decoding import allow_pixels

    allow_pixels(max_pixels)
    return DataSource(name, root=root, options=options, sample=sample)
