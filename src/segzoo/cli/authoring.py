"""``segzoo new``: from a name to a plugin package that installs, passes its tests and trains."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from segzoo.cli.console import JSON_HELP, print_json, say
from segzoo.devtools.scaffold import KINDS, Package, write_package
from segzoo.plugins.manager import get_registry
from segzoo.plugins.packages import FIRST_PARTY, install_words

USUAL_MODELS = ("unet", "linknet")


def new_command(
    kind: Annotated[str, typer.Argument(help=f"what it provides: {', '.join(KINDS)}")],
    name: Annotated[str, typer.Argument(help="its name, `foo` or `segzoo-foo`")],
    folder: Annotated[
        Path, typer.Option(help="where the folder segzoo-NAME is made", show_default=False)
    ] = Path(),
    author: Annotated[
        str, typer.Option(help="`Name` or `Name <address>`, for the package's metadata")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Write a complete plugin package that installs, passes its tests and trains as it is."""
    package = write_package(kind, name, folder, author=author)
    commands = next_commands(package)
    if json:
        print_json(
            {
                "kind": package.kind,
                "name": package.names.name,
                "identity": package.names.identity,
                "distribution": package.names.distribution,
                "module": package.names.module,
                "folder": str(package.folder),
                "files": package.files,
                "next": commands,
            }
        )
        return
    say(f"{package.folder}: {len(package.files)} files")
    for file in package.files:
        say(f"  {file}")
    say("next:")
    for command in commands:
        say(f"  {command}")


def next_commands(package: Package) -> list[str]:
    """Return the commands from a package to its first training; all but a model need a model."""
    installed = [entry.spec.name for entry in get_registry().all("models")]
    usual = [name for name in USUAL_MODELS if name in installed]
    model = (usual or installed or USUAL_MODELS)[0]
    name = package.names.name
    parts = {
        "model": f"--model {name} --data folder",
        "dataset": f"--model {model} --data {name}",
        "loss": f"--model {model} --data folder --loss {name}",
        "metric": f"--model {model} --data folder --metrics {name}",
    }
    # `-e .` finds segzoo-core installed already: it runs this command.
    lacks = package.kind != "model" and not installed
    first = [f"{install_words(FIRST_PARTY[model])}  # in a checkout of segzoo"] if lacks else []
    return [
        *first,
        f"cd {shlex.quote(str(package.folder))}",
        "pip install -e '.[dev]'",
        "pytest",
        f"segzoo train {parts[package.kind]} --sample --epochs 1 --size 64",
    ]
