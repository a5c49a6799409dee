"""What loading a plugin may not do to the process, and what is said of one that does."""

import contextlib
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator

from segzoo.errors import SegzooError
from segzoo.plugins.entrypoints import Plugin

HEAVY = (
    *("torch", "torchvision", "timm", "transformers", "segmentation_models_pytorch", "numpy"),
    *("scipy", "PIL", "cv2", "matplotlib", "pandas", "skimage", "sklearn", "tensorflow", "jax"),
)
"""Modules that no plugin may import before it is used."""

SLOW = 0.3
"""Seconds that a plugin may take to load; `segzoo list` itself takes half of that."""


class PluginError(SegzooError):
    """A plugin does not conform; the text is the one-line reason."""


@contextlib.contextmanager
def contained(plugin: Plugin, *, heavy: str, slow: str) -> Iterator[None]:
    """Run a plugin's code so that the process is as before, and note what it costs.

    What it prints goes to stderr, beside the JSON on stdout; warning filters, logging and the
    working folder are put back. `heavy` and `slow` say in words what the code did where it
    imported heavy modules or took long.
    """
    modules = sys.modules.keys() & set(HEAVY)
    start = time.perf_counter()
    try:
        with (
            contextlib.redirect_stdout(sys.stderr),
            warnings.catch_warnings(),
            _kept_logging(),
            kept_folder(),
        ):
            yield
    finally:
        seconds = time.perf_counter() - start
        plugin.seconds += seconds
        new = [name for name in HEAVY if name in sys.modules and name not in modules]
        if new:
            plugin.warnings.append(
                f"imports {', '.join(new)} {heavy}: every command waits for it ({seconds:.1f} s); "
                "import it inside the functions that need it"
            )
        elif seconds > SLOW:
            plugin.warnings.append(f"takes {seconds:.1f} s {slow}: every command waits for it")


@contextlib.contextmanager
def traced(plugin: Plugin) -> Iterator[None]:
    """Note what a plugin's import leaves for all, which it may need later: path, environment."""
    path, environment = sys.path[:], dict(os.environ)
    try:
        yield
    finally:
        if sys.path != path:
            plugin.warnings.append("changes sys.path: its modules may hide those of others")
        after = dict(os.environ)
        keys = environment.keys() | after.keys()
        changed = sorted(key for key in keys if environment.get(key) != after.get(key))
        if changed:
            plugin.warnings.append(f"changes the environment for all: {', '.join(changed)}")


LONGEST = 1000  # characters of an error that is not ours


def one_line(error: BaseException) -> str:
    """Return an error in one line; the type is left out where the text is ours."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # the error is a plugin's, and so is its __str__
        text = ""
    if isinstance(error, SegzooError):
        return text
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def trace_of(error: BaseException) -> str:
    """Return the text of a traceback, which an error's own `__str__` cannot spoil."""
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # Whatever a plugin's error does when it is looked at.
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]
    return "".join(lines)


@contextlib.contextmanager
def _kept_logging() -> Iterator[None]:
    """Undo `basicConfig`, `disable`, and `dictConfig`, which mutes all loggers that there are."""
    loggers = [logging.getLogger(), logging.getLogger("segzoo")]
    kept = [(log, log.level, log.handlers[:], log.disabled, log.propagate) for log in loggers]
    disabled = logging.root.manager.disable
    try:
        yield
    finally:
        for log, level, handlers, off, propagate in kept:
            if log.level != level:
                log.setLevel(level)
            log.handlers[:] = handlers
            log.disabled, log.propagate = off, propagate
        if logging.root.manager.disable != disabled:
            logging.disable(disabled)


@contextlib.contextmanager
def kept_folder() -> Iterator[None]:
    """Come back to the working folder, on which relative paths on the command line depend."""
    folder = None
    with contextlib.suppress(OSError):  # it may have been deleted
        folder = os.getcwd()  # noqa: PTH109 - a string compares without touching the disk
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if folder and os.getcwd() != folder:  # noqa: PTH109
                os.chdir(folder)
