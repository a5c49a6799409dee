"""The command line: ``segzoo list | show | plugins | train | evaluate | predict | ...``.

Commands import their heavy code when they run, so that help, listings and completion are instant.
"""

import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from segzoo.cli.console import (
    LightCommand,
    LightGroup,
    UsualCommand,
    announce_if_slow,
    end_announcing,
    fitted,
)
from segzoo.cli.plugin import COMMANDS, QUICK
from segzoo.errors import PluginCodeError, SegzooError, StoppedError
from segzoo.host.ending import ending
from segzoo.host.memory import asked, is_out_of_memory
from segzoo.host.streams import lead_nowhere, open_standard_streams
from segzoo.plugins.packages import core_version
from segzoo.words import visible

_BAD_USE, _BROKEN_PLUGIN = 2, 1
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF)


def make_app(only: str = "") -> typer.Typer:
    """Build the typer application: the core's commands, then those of plugins.

    With the name of a core command in `only`, just that one: the others' modules and signatures
    take a tenth of a second that `segzoo list` need not wait for.
    """
    app = typer.Typer(
        name="segzoo",
        cls=LightGroup,
        help="A plugin-based model zoo for semantic segmentation: any model on any data set.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=only not in COMMANDS,
    )
    app.callback()(_root)  # keeps `segzoo list` a subcommand when it is the only one
    for name in [only] if only in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        cls = LightCommand if module == "segzoo.cli.zoo" else UsualCommand
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=cls)(command)
    if only not in COMMANDS:
        _add_plugin_commands(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version_line())
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """A plugin-based model zoo for semantic segmentation: any model on any data set."""


def version_line() -> str:
    """Return what `segzoo --version` prints."""
    return f"segzoo {core_version()}"


def program() -> None:
    """Run the command line as a process of its own, which ends soon after its work is done, or
    after it is asked to, whatever it waits for.
    """
    status: object = 1
    open_standard_streams()
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:  # A plugin's command may go on after a Ctrl-C.
        ending.take_over()
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
        raise
    finally:
        ending.done(status if isinstance(status, int) else int(status is not None))


def main() -> None:
    """Run the command line; a SegzooError becomes two lines on stderr and exit status 2."""
    words = sys.argv[1:]
    _drop_odd_widths()
    _set_up_logging()
    if isinstance(sys.stdout, io.TextIOWrapper):  # A file's name may be no text of this terminal's.
        sys.stdout.reconfigure(errors="backslashreplace")
    if words and not words[0].startswith("-") and words[0] not in QUICK and "--help" not in words:
        announce_if_slow(words[0])
    try:
        try:
            _run(words)
        finally:
            sys.stdout.flush()  # Python's own attempt, at its end, would say less.
    except SystemExit as end:
        # What click and rich make of a reader that has gone (head, less): nothing is wrong.
        unread = end.code == 1 and isinstance(end.__context__, BrokenPipeError)
        raise SystemExit(0 if unread else end.code) from None
    except SegzooError as error:
        _print_error(error)
        raise SystemExit(_status(error)) from (error if _debugging() else None)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or _debugging():
            raise
        _print_error(
            SegzooError(
                f"this machine has not enough memory for it{asked(error)}",
                "give smaller sizes and numbers; SEGZOO_TRACEBACK=1 shows where it was asked for",
            )
        )
        raise SystemExit(_BAD_USE) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and there is nowhere to say so.
        lead_nowhere(sys.stdout)
        raise SystemExit(0) from None
    except (OSError, UnicodeEncodeError) as error:
        # A name that no file system takes, a folder without rights: nothing of segzoo's own.
        if _debugging() or not (said := _of_files(error)):
            raise
        _print_error(SegzooError(said, "SEGZOO_TRACEBACK=1 shows what was done with it"))
        raise SystemExit(_BAD_USE) from None
    finally:
        end_announcing()


def _run(words: list[str]) -> None:
    if words == ["--version"]:  # Before plugins are looked for: it answers in any installation.
        print(version_line())
        return
    if words and words[0] not in QUICK:
        _check_working_folder()
    make_app(only=words[0] if words else "")()


def _check_working_folder() -> None:
    """Refuse one that has been removed, in which torch's own libraries end the process."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise SegzooError(
            f"the working folder cannot be used: {error.strerror}",
            "it has been removed, or its rights were: change into another one first",
        ) from error


def _status(error: SegzooError) -> int:
    if isinstance(error, StoppedError):
        return 128 + error.number
    return _BROKEN_PLUGIN if isinstance(error, PluginCodeError) else _BAD_USE


def _add_plugin_commands(app: typer.Typer) -> None:
    from rich.markup import escape

    from segzoo.plugins.manager import get_registry

    for entry in get_registry().all("commands"):
        unique = len(get_registry().find("commands", entry.spec.name)) == 1
        name = entry.spec.name if unique and entry.spec.name not in COMMANDS else entry.identity
        app.command(
            name,
            help=escape(entry.spec.summary),
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
        app.command(help=entry.spec.summary, cls=UsualCommand)(entry.resolve("target"))
        app(args=context.args, prog_name=f"segzoo {entry.spec.name}")

    return run


def _of_files(error: OSError | UnicodeEncodeError) -> str:
    """Say which file the system refused and why, or "" where it is no file's error."""
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:80]!a}: a name that is not UTF-8"
    if error.filename is None and error.errno in _UNWRITABLE and _stdout_fails():
        return f"the output cannot be written: {error.strerror or error}"
    name = "" if error.filename is None else str(error.filename)
    name = name if len(name) < 200 else f"{name[:80]}...{name[-40:]}"
    return f"{name}: {error.strerror or error}" if name else ""


def _stdout_fails() -> bool:
    """Whether nothing can be printed any more; it is not tried again then."""
    try:
        print(flush=True)
    except OSError:
        lead_nowhere(sys.stdout)
        return True
    return False


def _drop_odd_widths() -> None:
    """Forget widths of a terminal that are no numbers, at which the libraries raise."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name)
        if value is not None and not (value.isdecimal() and int(value[:9]) > 0 and len(value) < 6):
            del os.environ[name]


def _debugging() -> bool:
    return os.environ.get("SEGZOO_TRACEBACK", "") not in ("", "0")


def _print_error(error: SegzooError) -> None:
    if _debugging():
        import traceback

        traceback.print_exception(error)
    print(fitted(f"error: {error.message}", sys.stderr), file=sys.stderr)
    for line in error.hint.splitlines():
        print(fitted(f"  {line}", sys.stderr), file=sys.stderr)


def _set_up_logging() -> None:
    """Print segzoo's notices on stderr, warnings marked, whatever the root logger does."""
    handler = _NoticeHandler()
    handler.setFormatter(_NoticeFormatter())
    log = logging.getLogger("segzoo")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if _debugging() else logging.INFO)
    if "MASTER_ADDR" not in os.environ:
        return
    # Ranks that torchrun has started. torch says of each that a search for unused parameters,
    # which other networks need, found none.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if os.environ.get("RANK", "0") != "0":  # The first one speaks for all, but for errors.
        log.setLevel(logging.ERROR)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


class _NoticeHandler(logging.StreamHandler[Any]):
    """Writes to what stderr is by then: above a line of progress, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # setStream flushes the one before, which may be closed.
        super().emit(record)


class _NoticeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        mark = "warning: " if record.levelno >= logging.WARNING else "note: "
        return fitted(mark + visible(super().format(record)), sys.stderr)
