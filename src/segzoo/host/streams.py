"""Output that nobody reads any more, which ends no training: `segzoo train | head -1`."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""The reader of a pipe, the terminal, or the descriptor."""


def open_standard_streams() -> None:
    """Let stdin, stdout and stderr lead to nothing where the process began without them.

    Python has None for those (`segzoo train >&-`), and the next file that is opened would get
    their number: what a library in C prints would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def lead_nowhere(stream: Any) -> None:
    """Let a stream's descriptor lead to nothing: what is waiting is tried again at Python's end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


class Unbroken:
    """A text stream that forgets what it cannot write, for good where nobody is there to read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or forget it."""
        with self._forgetting():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts, or forget them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is waiting, or forget it."""
        with self._forgetting():
            self._stream.flush()

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError:
            raise
        except (OSError, ValueError, AttributeError) as error:  # closed, or None from the start
            if getattr(error, "errno", None) in GONE:
                lead_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


@contextlib.contextmanager
def unbroken_output() -> Iterator[None]:
    """Let nothing that is written to stdout and stderr in the block end it."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Unbroken(out), Unbroken(err)  # type: ignore[assignment]
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        sys.stdout, sys.stderr = out, err


def standard_stream(progress: bool, json_output: bool = False) -> Any:
    """Return where progress goes: stdout, stderr beside JSON output, or nowhere."""
    if not progress:
        return None
    return sys.stderr if json_output else sys.stdout
