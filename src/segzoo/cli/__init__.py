"""The command line: ``segzoo list | show | plugins | train | evaluate | predict | ...``.

Commands import their heavy code when they run, so that help, listings and completion are instant.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from segzoo.cli import results, training, zoo
from segzoo.errors import SegzooError

_BAD_USE = 2


def make_app() -> typer.Typer:
    """Build the typer application: the core's commands, then those of plugins."""
    app = typer.Typer(
        name="segzoo",
        help="A plugin-based model zoo for semantic segmentation: any model on any data set.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.command("list")(zoo.list_command)
    app.command("show")(zoo.show_command)
    app.command("plugins")(zoo.plugins_command)
    app.command("train")(training.train_command())
    app.command("evaluate")(results.evaluate_command)
    app.command("predict")(results.predict_command)
    app.command("inspect")(results.inspect_command)
    app.command("compare")(results.compare_command)
    _add_plugin_commands(app)
    return app


def main() -> None:
    """Run the command line; a SegzooError becomes two lines on stderr and exit status 2."""
    _set_up_logging()
    try:
        make_app()()
    except SegzooError as error:
        _print_error(error)
        raise SystemExit(_BAD_USE) from (error if _debugging() else None)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and there is nowhere to say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _add_plugin_commands(app: typer.Typer) -> None:
    from segzoo.plugins import get_registry

    own = {command.name for command in app.registered_commands}
    for entry in get_registry().all("commands"):
        unique = len(get_registry().find("commands", entry.spec.name)) == 1
        name = entry.spec.name if unique and entry.spec.name not in own else entry.identity
        app.command(
            name,
            help=entry.spec.summary,
            rich_help_panel="Commands of plugins",
            # The plugin's function is imported, and its own parameters parsed, when it runs.
            context_settings={
                "allow_extra_args": True,
                "ignore_unknown_options": True,
                "help_option_names": [],
            },
        )(_deferred(entry))


def _deferred(entry: Any) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        app.command(help=entry.spec.summary)(entry.resolve("target"))
        app(args=context.args, prog_name=f"segzoo {entry.spec.name}")

    return run


def _debugging() -> bool:
    return os.environ.get("SEGZOO_TRACEBACK", "") not in ("", "0")


def _print_error(error: SegzooError) -> None:
    if _debugging():
        import traceback

        traceback.print_exception(error)
    print(f"error: {error.message}", file=sys.stderr)
    for line in error.hint.splitlines():
        print(f"  {line}", file=sys.stderr)


def _set_up_logging() -> None:
    """Print segzoo's notices on stderr, warnings marked, whatever the root logger does."""
    handler = logging.StreamHandler()
    handler.setFormatter(_NoticeFormatter())
    log = logging.getLogger("segzoo")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if _debugging() else logging.INFO)


class _NoticeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        mark = "warning: " if record.levelno >= logging.WARNING else "note: "
        return mark + super().format(record)
