"""Ranks that find each other, know of each other's ends, and begin again with each other.

Each leaves word in the store that they share (of `torchrun`, or of the first rank): that it has
come, every few seconds that it is alive and where it is, and why it ends.
"""

import contextlib
import datetime
import json
import logging
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from segzoo.compute.ranks import Ranks, asked_for
from segzoo.errors import SegzooError, StoppedError, listed
from segzoo.host.ending import ending, waited_in

log = logging.getLogger("segzoo")

PATIENCE = datetime.timedelta(minutes=30)
"""How long a rank waits for the others, who may be reading pictures for the first time. One that
has ended is noticed at once."""
START_VARIABLE, START_SECONDS = "SEGZOO_START_SECONDS", 300
"""How long ranks wait until all of them have come: processes that a cluster starts one by one."""
HEARD_SECONDS = 5.0
"""How long the first rank stays, when it ends by an error, so that the others hear why."""
BEAT_SECONDS, SILENT_BEATS = 2.0, 3
SILENT_SECONDS = 300.0
"""One that gives no sign of life for so long is given up: its machine is gone, or it is stopped."""
AGAIN = datetime.timedelta(seconds=15)
"""How long ranks wait for each other to save together, after one has raised an error."""


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other ranks for the time of the block, over gloo, and over NCCL between GPUs.

    A process that no `torchrun` started is alone. Raises SegzooError where another rank ends.
    """
    ranks = asked_for()
    if ranks.count == 1 or dist.is_initialized():
        yield ranks
        return
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        torch.cuda.set_device(ranks.local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    limit = _start_limit()
    store, own = _stores(ranks, limit)
    board = Board(ranks, own)
    board.call_the_roll(limit)
    before = _sockets()
    with _all_present(ranks):
        dist.init_process_group(
            backend, store=PrefixStore("first", store), rank=ranks.rank,
            world_size=ranks.count, timeout=PATIENCE,
        )  # fmt: skip
    _here.append((board, store))
    _between.update(_sockets() - before)
    try:
        with board.watched():
            try:
                yield ranks
            except BaseException as error:
                part()  # Now the others notice, who may be waiting.
                if not is_of_others(error):
                    board.tell(error)
                    raise
                raise lost(ranks, board.cause(error)) from error
            leave()
    finally:
        _here.pop()
        _between.clear()


def _start_limit() -> datetime.timedelta:
    text = os.environ.get(START_VARIABLE, "").strip() or str(START_SECONDS)
    if not re.fullmatch("[0-9]{1,6}", text) or not int(text):
        raise SegzooError(
            f"{START_VARIABLE}={text[:40]} in the environment: not a number of seconds",
            "it says how long processes wait until all of them have come: a whole number from 1",
        )
    return datetime.timedelta(seconds=int(text))


def _stores(ranks: Ranks, limit: datetime.timedelta) -> tuple[Store, Store]:
    """Return two connections to the store of all ranks: one is for a thread of its own."""
    address, port = os.environ["MASTER_ADDR"], os.environ.get("MASTER_PORT", "").strip()
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise SegzooError(
            f"MASTER_PORT={port[:40]} in the environment: not a port",
            "start the processes by `torchrun --nproc-per-node N -m segzoo ...`",
        )
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    stores = []
    for number in range(2):
        try:
            store = TCPStore(
                address, int(port), is_master=ranks.first and not agent and not number,
                timeout=limit, wait_for_workers=False, multi_tenant=True,
            )  # fmt: skip
        except (dist.DistStoreError, dist.DistNetworkError, RuntimeError) as error:
            raise SegzooError(
                f"rank {ranks.rank} of {ranks.count} has not found rank 0 at {address}:{port} "
                f"within {limit.total_seconds():.0f} s: {' '.join(str(error).split())[:200]}",
                "start all of them, with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT; "
                f"{START_VARIABLE} is how long to wait",
            ) from error
        stores.append(PrefixStore(f"segzoo/{attempt}", store))
    return stores[0], stores[1]


@contextlib.contextmanager
def _all_present(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except (dist.DistStoreError, dist.DistNetworkError, dist.DistBackendError) as error:
        raise SegzooError(
            f"rank {ranks.rank} of {ranks.count} has not found the others: "
            f"{' '.join(str(error).split())[:200]}",
            "start all of them, with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
        ) from error


def is_of_others(error: BaseException) -> bool:
    """Whether an error is that another rank has ended."""
    known = (dist.DistBackendError, dist.DistNetworkError)
    return isinstance(error, known) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def lost(ranks: Ranks, cause: str) -> SegzooError:
    """Return the error of a rank that has lost another one."""
    return SegzooError(
        f"rank {ranks.rank} of {ranks.count} has lost another one: {cause}",
        "see what that rank says; after a kill, continue with --resume",
    )


def leave() -> None:
    """Leave the others: those who wait for this rank find out."""
    if dist.is_initialized():
        dist.destroy_process_group()


def part() -> None:
    """Leave the others in the middle of something; who waits for this rank finds out at once.

    A network whose gradients are averaged holds on to its connections as long as there is any
    traceback with it, so that these are closed by themselves.
    """
    for number in _between & _sockets():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
            connection.getpeername()  # Not one that only listens, without which gloo aborts.
            connection.shutdown(socket.SHUT_RDWR)
    _between.clear()
    leave()


def _sockets() -> set[int]:
    """Return the descriptors of this process that are sockets."""
    found = set()
    with contextlib.suppress(OSError):
        for path in Path("/dev/fd").iterdir():  # Windows has no such list.
            with contextlib.suppress(OSError, ValueError):
                if stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                    found.add(int(path.name))
    return found


@contextlib.contextmanager
def again() -> Iterator[bool]:
    """Let the ranks talk in the block, for the last time, whom an error of one of them has parted.

    Yields whether all of them have come within `AGAIN`, the one with the error among them. Only on
    the CPU: what NCCL was doing on a GPU may never come to its end.
    """
    part()
    board, store = _here[-1]
    together = False
    with contextlib.suppress(RuntimeError, ValueError):
        if board.come_again():
            dist.init_process_group(
                "gloo", store=PrefixStore("again", store), rank=board.ranks.rank,
                world_size=board.ranks.count, timeout=AGAIN,
            )  # fmt: skip
            together = True
    try:
        yield together
    finally:
        leave()


class Board:
    """Where ranks leave word of themselves, for those that miss them."""

    def __init__(self, ranks: Ranks, store: Store) -> None:
        self.ranks, self._store = ranks, store
        self._over, self._began = threading.Event(), False
        self._beats: dict[int, tuple[str, float]] = {}

    def call_the_roll(self, limit: datetime.timedelta) -> None:
        """Wait until all have come; raise SegzooError that names those that have not."""
        until = time.monotonic() + limit.total_seconds()
        missing = everybody = set(range(self.ranks.count))
        with _all_present(self.ranks):
            self._store.set(f"here/{self.ranks.rank}", "1")
            while missing := {rank for rank in missing if not self._store.check([f"here/{rank}"])}:
                if time.monotonic() > until or self._store.check(["missing"]):
                    self._store.set("missing", "1")
                    self._be_heard(len(everybody - missing))
                    break
                time.sleep(0.1)
        if missing:
            names = listed(map(str, sorted(missing)))
            raise SegzooError(
                f"rank {names} of {self.ranks.count} has not come within "
                f"{limit.total_seconds():.0f} s",
                f"see what became of it; WORLD_SIZE may be too large; {START_VARIABLE} is how long "
                "to wait",
            )

    def come_again(self) -> bool:
        """Wait for all of them within `AGAIN`; return whether they have come.

        One that has ended, or gives no sign of life, will not.
        """
        until = time.monotonic() + AGAIN.total_seconds()
        self._store.set(f"again/{self.ranks.rank}", "1")
        everybody = [f"again/{rank}" for rank in range(self.ranks.count)]
        while not self._store.check(everybody):
            gone = self._said() or self._silent(BEAT_SECONDS * SILENT_BEATS)
            if gone or time.monotonic() > until:
                return False
            time.sleep(0.05)
            self._look()
        return True

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Leave signs of life in the block, and look for those of the others and for their ends."""
        thread = threading.Thread(target=self._watch, name="segzoo-ranks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(HEARD_SECONDS)
            if self._began:
                ending.call_off()

    def _watch(self) -> None:
        number = 0
        while True:
            try:
                number += 1
                self._store.set(f"beat/{self.ranks.rank}", json.dumps([number, waited_in()]))
                self._look()
                cause = self._said() or self._silent(SILENT_SECONDS)
            except (RuntimeError, ValueError):  # The first rank has the store.
                cause = "rank 0 cannot be reached any more"
            if cause and not self._began and not cause.startswith(f"rank {self.ranks.rank} "):
                error = lost(self.ranks, cause)
                self._began = ending.begin(2, error.message, error.hint)
            if self._over.wait(BEAT_SECONDS):
                return

    def _look(self) -> None:
        """Take note of the others' signs of life, and of when they last changed."""
        for rank in set(range(self.ranks.count)) - {self.ranks.rank}:
            if self._store.check([f"beat/{rank}"]):
                beat = self._store.get(f"beat/{rank}").decode()
                if beat != self._beats.get(rank, ("", 0.0))[0]:
                    self._beats[rank] = beat, time.monotonic()

    def _silent(self, seconds: float) -> str:
        """Say which ranks have given no sign of life for so long, or ""."""
        now = time.monotonic()
        silent = {
            rank: (now - at, json.loads(beat)[1])
            for rank, (beat, at) in sorted(self._beats.items())
            if now - at > seconds
        }
        return "; ".join(
            f"rank {rank} has given no sign of life for {since:.0f} s, and was in {place}"
            for rank, (since, place) in silent.items()
        )

    def tell(self, error: BaseException) -> None:
        """Leave word of an error. The rank that holds the board waits until the others know."""
        text = f"rank {self.ranks.rank} ended first: " + (
            error.message if isinstance(error, SegzooError) else type(error).__name__
        )
        if isinstance(error, StoppedError):
            return  # All of them have stopped together.
        with contextlib.suppress(RuntimeError):
            self._store.compare_set("ended", "", text.encode("utf-8", "replace").decode())
            self._be_heard(self.ranks.count)

    def _be_heard(self, count: int) -> None:
        """Say that this rank knows; the one that holds the board waits until `count` do."""
        heard = self._store.add("heard", 1)
        until = time.monotonic() + HEARD_SECONDS
        while self.ranks.first and heard < count and time.monotonic() < until:
            time.sleep(0.05)
            heard = self._store.add("heard", 0)

    def cause(self, error: BaseException) -> str:
        """Return why another one has ended: what it said, or who gives no sign of life."""
        said = ""
        with contextlib.suppress(RuntimeError, ValueError):
            until = time.monotonic() + BEAT_SECONDS * (SILENT_BEATS + 1)
            while not (said := self._said()) and time.monotonic() < until:
                self._look()
                if said := self._silent(BEAT_SECONDS * SILENT_BEATS):
                    break
                time.sleep(0.1)
            self._store.add("heard", 1)
        if not said and "timed out" in str(error).lower():
            places = (f"rank {r} is in {json.loads(b)[1]}" for r, (b, _) in self._beats.items())
            return f"it did not come within {PATIENCE.total_seconds():.0f} s; {'; '.join(places)}"
        return said or "it was killed, or ended without a word"

    def _said(self) -> str:
        """Return what the rank said that ended first, or ""."""
        return self._store.get("ended").decode() if self._store.check(["ended"]) else ""


_between: set[int] = set()
"""The descriptors of its connections to the others."""
_here: list[tuple[Board, Store]] = []
"""The board of the ranks that this process has joined, and the store to find them by again."""
