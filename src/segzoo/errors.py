"""The one exception for what a user can mend, and the nearest match to a mistyped name."""

import difflib
from collections.abc import Iterable

from segzoo.words import visible

MANY = 12
"""Names from which on they are not all listed beside the one that was probably meant."""


class SegzooError(Exception):
    """Something a user can mend: a flag, a file, a plugin, a name.

    The text says what came and where; `hint` says what would work. The command line prints
    both without a traceback and exits with 2; everything else is a bug and keeps its traceback.
    What of them comes out of a file is made visible, for a terminal obeys control characters.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        message = visible(message)
        hint = "\n".join(line.rstrip() for line in visible(hint).split("\n"))
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class MissingSplitError(SegzooError):
    """Raised by a data set's builder for a split (`train`, `val`, `test`) that it does not have."""


class StoppedError(SegzooError):
    """A training was asked to end by a signal, and has saved where it is."""

    def __init__(self, message: str, hint: str, number: int) -> None:
        super().__init__(message, hint)
        self.number = number


class PluginCodeError(SegzooError):
    """A plugin's own code raised something in a training; `trace` is the traceback's text.

    The command line exits with 1.
    """

    def __init__(self, message: str, hint: str = "", trace: str = "") -> None:
        super().__init__(message, hint)
        self.trace = trace


class Overdue(BaseException):
    """Raised in the middle of what takes too long, when somebody wants the training to end.

    No Exception, so that nobody who handles those, such as a data set, takes it for theirs.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a phrase such as ``did you mean `unet`? `` for the closest known name, or ``""``."""
    close = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`? " if close else ""


def choices(
    name: str, known: Iterable[str], *, how: str = "", says: str = "there is", limit: int = 40
) -> str:
    """Say what may be given instead of `name`: all of it, or of `MANY` the closest alone.

    `how` is what lists them all, as in "`segzoo list models` lists all".
    """
    names = sorted(set(known))
    near = nearest(name, names)
    if near and len(names) > MANY:
        return near + how
    return f"{near}{says}: {listed(names, limit)}"


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Join names for a message: sorted, comma separated, cut after `limit`."""
    ordered = sorted(set(names))
    more = f", and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return (", ".join(ordered[:limit]) or "none") + more
