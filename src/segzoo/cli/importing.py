"""``segzoo import``: weights that others saved, as a weights file of segzoo's."""

from pathlib import Path
from typing import Annotated

import typer

from segzoo.cli.console import JSON_HELP, print_json, say
from segzoo.cli.training import parse_pairs


def import_command(
    file: Annotated[Path, typer.Argument(help="state dict: .safetensors, .pth or .pt")],
    model: Annotated[str, typer.Option(help="architecture that they are of")],
    classes: Annotated[str, typer.Option(help="names of the outputs in order, comma separated")],
    out: Annotated[Path, typer.Option(help="weights file to write")],
    o: Annotated[list[str], typer.Option("-o", help="model option NAME=VALUE")] = [],  # noqa: B006
    in_channels: Annotated[int, typer.Option(min=1, max=4096, help="channels of a picture")] = 3,
    size: Annotated[str, typer.Option(help="size that it was trained at: 256 or 192x256")] = "256",
    normalize: Annotated[
        str, typer.Option(help="mean and std that it was trained with: imagenet, half or unit")
    ] = "imagenet",
    rename: Annotated[list[str], typer.Option(help="replace the beginning of names: OLD=NEW")] = [],  # noqa: B006
    by_order: Annotated[
        bool, typer.Option("--by-order", help="match tensors in their order, not by name")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Convert foreign weights into a weights file, without running anything in them."""
    from segzoo.model.foreign import import_weights
    from segzoo.size import parse_size

    report = import_weights(
        file,
        out,
        model=model,
        options=parse_pairs(o, "-o"),
        classes=[name.strip() for name in classes.split(",")],
        in_channels=in_channels,
        size=parse_size(size),
        normalize=normalize,
        renames=parse_pairs(rename, "--rename"),
        by_order=by_order,
    )
    if as_json:
        print_json(report.as_dict())
        return
    how = "in their order" if report.by_order else "by name"
    without = f", without `{report.prefix}`" if report.prefix else ""
    say(f"{report.tensors} tensors matched {how}{without}")
    for what, names in (("not used", report.left_over), ("no tensors", report.no_tensors)):
        if names:
            say(f"{what}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}")
    say(f"weights: {out}")
