"""Waiting for other processes: told after a minute, given up after ten in which they do nothing."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

log = logging.getLogger("segzoo")

TOLD_SECONDS = 60.0
LIMIT_SECONDS = 600.0
"""Without a sign of life; somebody's disk may need minutes for a batch."""
LOOKED_EVERY = 1.0


class Watch:
    """Watches that processes bring something, in a thread of its own.

    A wait of `TOLD_SECONDS` is said once. After `LIMIT_SECONDS` in which none of the processes has
    computed anything or read from a disk, `give_up` holds what to say of it, and they are killed:
    whoever waits for them finds out at once.
    """

    def __init__(self, what: str, pids: Callable[[], Sequence[int]]) -> None:
        self.what, self.pids = what, pids
        self.given_up = ""
        self._since = 0.0  # 0: nobody waits
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="segzoo-watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait in the block."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = 0.0

    def _look(self) -> None:
        told, alive_at, before = False, 0.0, None
        while not self._over.wait(LOOKED_EVERY):
            since, now = self._since, time.monotonic()
            if not since:
                continue
            if (work := signs_of_life(self.pids())) != before or work is None:
                before, alive_at = work, now
            if now - since > TOLD_SECONDS and not told:
                told = True
                log.warning("waiting for %s for %.0f s so far", self.what, now - since)
            if now - max(since, alive_at) > LIMIT_SECONDS:
                self.given_up = f"waited {now - since:.0f} s for {self.what}, which did nothing"
                kill(self.pids())
                return


def signs_of_life(pids: Sequence[int]) -> list[str] | None:
    """Return what changes while processes work (Linux); None while one waits for a disk."""
    work = []
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] == "D":
                return None
            work.append(" ".join(fields[11:13]))  # its time in its own code and in the kernel
    return work


def kill(pids: Sequence[int]) -> None:
    """End processes of our own at once."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
