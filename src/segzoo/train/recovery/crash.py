"""What is said and kept of an error that ends a training: whose, where, and what is saved."""

import contextlib
import traceback
from datetime import datetime
from pathlib import Path

from segzoo.compute.rendezvous import is_of_others
from segzoo.data.loading.readers import signalled_death
from segzoo.errors import Overdue, PluginCodeError, SegzooError
from segzoo.host import system
from segzoo.plugins.isolation import trace_of
from segzoo.store import shown
from segzoo.train.recovery.culprit import Culprit, culprit, what_was_raised
from segzoo.train.run import Run

FILE = "traceback.txt"
MOST_CHARACTERS = 200_000
SHOWN = 4


def crash_of(run: Run, error: BaseException, pictures: list[str]) -> PluginCodeError | None:
    """Return what is to be raised in the place of an error that leaves a training.

    None where it stays what it is: the user's to mend, an interruption, or the core's own. Every
    other traceback is kept in the run folder. `pictures` are those of the step under way.
    """
    found = culprit(run, error)
    if isinstance(error, (Overdue, KeyboardInterrupt)) or _is_told(error, found):
        return None
    trace = error.trace if isinstance(error, PluginCodeError) else trace_of(error)
    when = _when(run, pictures)
    path = keep_traceback(run.folder, f"{when[:1].upper()}{when[1:]}", trace)
    if isinstance(error, PluginCodeError):
        message = error.message
    elif found:
        message = f"{found.owner}: {what_was_raised(error)} (in {found.place})"
    else:
        return None
    kept = f"the traceback is in {shown(path)}; " if path else ""
    return PluginCodeError(f"{message}, {when}", kept, trace)


def keep_traceback(folder: Path, when: str, trace: str) -> Path | None:
    """Add a traceback to those in the run folder; None where that cannot be written."""
    path = folder / FILE
    text = trace[:MOST_CHARACTERS].encode("utf-8", "backslashreplace")
    head = f"{datetime.now():%Y-%m-%d %H:%M:%S}  {when}\n".encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):
        system.append(path, head + text + b"\n")
        return path
    return None


def free_locals(error: BaseException) -> None:
    """Give up what the functions that an error came through hold: there may be no memory left."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _is_told(error: BaseException, found: Culprit | None) -> bool:
    """Whether an error says already, in segzoo's words, what there is to say, or will."""
    if is_of_others(error):
        return True
    if isinstance(error, SegzooError):
        return not isinstance(error, PluginCodeError)
    death = isinstance(error, RuntimeError) and "DataLoader worker" in what_was_raised(error)
    return signalled_death(error) or (death and found is None)


def _when(run: Run, pictures: list[str]) -> str:
    if run.partial.trained:
        return f"in the scoring of epoch {run.epoch + 1}"
    if not pictures:
        return f"in epoch {run.epoch + 1}, after step {run.step}"
    shown = ", ".join(pictures[:SHOWN]) + (" ..." if len(pictures) > SHOWN else "")
    return f"in step {run.step + 1}, with the pictures {shown}"
