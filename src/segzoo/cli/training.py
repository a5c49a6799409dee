"""``segzoo train``: every field of RunConfig is a flag, with its help."""

import contextlib
import inspect
import json as json_module
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from segzoo.cli.console import JSON_HELP, announce, say
from segzoo.data.roots import check_root
from segzoo.errors import SegzooError
from segzoo.host.streams import unbroken_output
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import option_infos
from segzoo.train.config import RunConfig, make_config, with_typed_options

if TYPE_CHECKING:
    from segzoo.train.run import RunResult

MAIN = ("model", "data", "root", "sample", "recipe", "epochs", "out")


def train_command() -> Callable[..., None]:
    """Return the command's function, its signature made from RunConfig's fields."""

    def train(**values: Any) -> None:
        """Train a model on a data set; writes a run folder with the best weights."""
        run_training(values)

    parameters = []
    for info in option_infos(RunConfig):
        if get_origin(info.type) is dict:
            continue
        panel = None if info.name in MAIN else "Settings (flag > --config > --recipe)"
        flag = f"--{info.name.replace('_', '-')}"
        is_bool = info.type is bool
        declared = [f"{flag}/--no-{flag[2:]}"] if is_bool else [flag]
        hint = Annotated[
            (bool | None) if is_bool else (str | None),
            typer.Option(
                *declared, help=info.help, rich_help_panel=panel, show_default=False,
                metavar=None if is_bool else _metavar(info.type, info.choices),
            ),
        ]  # fmt: skip
        parameters.append(_parameter(info.name, hint, None))
    parameters += [
        _parameter(
            "o", Annotated[list[str], typer.Option("-o", help="model option NAME=VALUE")], ()
        ),
        _parameter(
            "O", Annotated[list[str], typer.Option("-O", help="data option NAME=VALUE")], ()
        ),
        _parameter(
            "config", Annotated[str | None, typer.Option(help="TOML file of these settings")], None
        ),
        _parameter(
            "resume", Annotated[str | None, typer.Option(help="run folder to continue")], None
        ),
        _parameter(
            "force",
            Annotated[bool, typer.Option("--force", help="resume with other settings or pictures")],
            False,
        ),
        _parameter("json", Annotated[bool, typer.Option("--json", help=JSON_HELP)], False),
    ]
    order = {name: place for place, name in enumerate((*MAIN, "o", "O", "resume", "force", "json"))}
    parameters.sort(key=lambda p: order.get(p.name, len(order)))
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {p.name: p.annotation for p in parameters}
    return train


def run_training(values: dict[str, Any]) -> None:
    """Train with the flags that were given, and print where the result is."""
    as_json = values.pop("json")
    recipe, file, resume = values.pop("recipe"), values.pop("config"), values.pop("resume")
    force = values.pop("force", False)
    model_options = parse_pairs(values.pop("o"), "-o")
    data_options = parse_pairs(values.pop("O"), "-O")
    settings = {name: value for name, value in values.items() if value is not None}
    if model_options:
        settings["model_options"] = model_options
    if "root" in data_options:
        settings.setdefault("root", data_options.pop("root"))
    if data_options:
        settings["data_options"] = data_options
    if resume and (recipe or file):
        raise SegzooError(
            "--resume takes the run's own settings", "leave --recipe and --config out"
        )
    config = None
    if not resume:
        # Before torch is imported, which takes seconds: a mistyped flag is told at once.
        config, settings = with_typed_options(make_config(settings, recipe=recipe, file=file)), {}
        if not config.sample:
            check_root(get_registry().get("datasets", config.data).identity, config.root)
    announce(f"resuming {resume}" if config is None else f"reading {config.data}")
    from segzoo.compute.freed_memory import keep_freed_memory
    from segzoo.train.fit import fit

    keep_freed_memory()
    with unbroken_output():
        stream = sys.stderr if as_json else sys.stdout
        with contextlib.redirect_stdout(stream):  # what plugins print stays out of the JSON
            result = fit(config, resume=resume, force=force, stream=stream, **settings)
        _print_result(result, as_json)


def _print_result(result: "RunResult", as_json: bool) -> None:
    if as_json:
        print(json_module.dumps(result.as_dict(), indent=2))
        return
    scores = ", ".join(
        f"{split} {result.scores[split][result.monitor]:.4f}"
        for split in result.scores
        if result.monitor in result.scores[split]
    )
    say(f"best epoch {result.best_epoch}: {result.monitor} {scores}")
    for name, error in result.observer_errors.items():
        say(f"disabled observer: {name} raised {error}")
    say(f"weights: {result.weights}")


def parse_pairs(pairs: list[str] | tuple[str, ...], flag: str) -> dict[str, str]:
    """Turn ``NAME=VALUE`` words into a dict; raise SegzooError naming the flag for others."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SegzooError(f"{flag} {pair}", f"options are written {flag} NAME=VALUE")
        values[name.strip()] = value.strip()
    return values


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    default = list(default) if isinstance(default, tuple) else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _metavar(hint: Any, choices: tuple[Any, ...]) -> str:
    if choices:
        return "|".join(map(str, choices))
    members = [member for member in get_args(hint) if member is not type(None)] or [hint]
    name = getattr(members[0], "__name__", "str")
    return {"str": "TEXT", "int": "N", "float": "X"}.get(name, "TEXT")


train = train_command()
"""The command's function."""
