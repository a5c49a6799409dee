"""Reading processes that begin with the user's script: the start methods spawn and forkserver.

With them every new process imports the script again. One that calls `segzoo.fit` outside of
``if __name__ == "__main__":`` would so train in every process that is to read its pictures. Python
ends that with a page of text a process. Linux forks by default up to Python 3.13, and then there is
nothing of it.
"""

import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segzoo.errors import SegzooError

IMPORTED_AGAIN = 3
"""The exit status of a process that was to read pictures and came upon a training."""


def leave_if_imported_again() -> None:
    """End, in silence, a process that is only to read pictures; the main process tells of it."""
    # multiprocessing sets this while a new process imports the main module.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(IMPORTED_AGAIN)


def first_then_rest(loader: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield what a DataLoader yields; tell of processes that end before they have read anything.

    Raises SegzooError in place of what torch and multiprocessing raise then, where the user's
    script may be the cause.
    """
    method = multiprocessing.get_start_method()
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if not workers or method == "fork" or script is None:
        yield from loader
        return
    if not Path(script).is_file():  # `python - < script.py`
        raise SegzooError(
            f"with the start method `{method}`, processes that read pictures begin with the "
            f"program that started them, and {script} is not a file",
            "run it from a file, or give workers=0, which reads in the training's own process",
        )
    failed = ""
    iterator: Iterator[Any] = iter(())
    try:
        iterator = iter(loader)
        first = next(iterator)
    except StopIteration:
        return
    except (BrokenPipeError, ConnectionResetError, EOFError) as error:
        failed = type(error).__name__
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        failed = str(error).splitlines()[0]
    if failed:
        raise SegzooError(
            f"the processes that read pictures ended before they had read any ({failed}): with the "
            f"start method `{method}`, each of them runs {Path(script).name} from its top",
            'put what the script does under `if __name__ == "__main__":`, or give workers=0, which '
            "reads in the training's own process",
        )
    yield first
    yield from iterator
