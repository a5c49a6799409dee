"""Doing something on a file's behalf without the network.

A weights file names a model and its options, and some options make some networks download. What a
file says is not to do that, whichever plugin's network it names, so connections are refused where
Python makes them (its audit events, PEP 578), not where segzoo or a plugin would ask for them.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from segzoo.errors import SegzooError

_on_behalf_of: ContextVar[str] = ContextVar("on_behalf_of", default="")


@contextlib.contextmanager
def offline(source: str) -> Iterator[None]:
    """Raise SegzooError naming `source` where code in the block, in this thread, connects."""
    _listen()
    token = _on_behalf_of.set(source)
    try:
        yield
    finally:
        _on_behalf_of.reset(token)


@functools.cache
def _listen() -> None:
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        return
    source = _on_behalf_of.get()
    # Connections by a path are within this machine.
    if source and not (event == "socket.connect" and isinstance(arguments[1], (str, bytes))):
        raise SegzooError(
            f"{source} asks for a download", "weights files are used without the network"
        )
