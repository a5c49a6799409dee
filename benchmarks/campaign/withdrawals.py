"""Trainings from which something that they need is taken away: a folder, memory, a process."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.util
import os
import random
import resource
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .training import digest, in_a_child, train, trained

LIMIT = 60
"""Seconds for a training of three; on a machine of much other work."""
EPOCHS, STEPS = 2, 8
READERS = {"workers": 2, "cache": "none"}
NEW_MOUNTS, PRIVATE = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC | MS_PRIVATE


class Taking:
    """What is taken from a training in its folder; the first methods are called in its process."""

    def __init__(self, root: Path, place: Path, chance: random.Random) -> None:
        self.root, self.place, self.chance = root, place, chance
        self.cache = place / "cache"

    def cache_removed(self) -> None:
        shutil.rmtree(self.cache)

    def cache_evicted(self) -> None:
        """Another run has removed it, and made it anew, of zeros."""
        for path in self.cache.rglob("*.bin"):
            size = path.stat().st_size
            path.unlink()
            path.touch()
            os.truncate(path, size)

    def cache_cut_off(self) -> None:
        for path in self.cache.rglob("*.bin"):
            path.unlink()
            path.write_bytes(b"short")

    def cache_a_file(self) -> None:
        for folder in [*(self.cache / "resized").iterdir()]:
            shutil.rmtree(folder)
            folder.write_text("")

    def shared_memory(self) -> None:
        with contextlib.suppress(OSError), Path("/dev/shm/filled").open("wb", 0) as file:
            while file.write(bytes(1 << 12)):
                pass

    def descriptors(self) -> None:
        most = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + self.chance.randint(-1, 3), hard))

    def reader_killed(self) -> None:
        self._signal(signal.SIGKILL)

    def readers_killed(self) -> None:
        for _ in multiprocessing.active_children():
            self._signal(signal.SIGKILL)

    def reader_stopped(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        if readers := multiprocessing.active_children():
            os.kill(self.chance.choice(readers).pid or 0, number)

    def working_folder(self) -> None:
        shutil.rmtree(self.place / "here")

    def temporary_folder(self) -> None:
        shutil.rmtree(self.place / "tmp")

    def pictures(self) -> None:
        self.root.rename(self.place / "gone")

    def output(self) -> None:
        """Nobody reads stdout any more."""
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)


KINDS: dict[str, tuple[Callable[[Taking], None], dict[str, Any]]] = {
    "cache removed, with workers": (Taking.cache_removed, {"workers": 2}),
    "shared memory filled": (Taking.shared_memory, READERS),
    "one reading process killed": (Taking.reader_killed, READERS),
    "working folder removed": (Taking.working_folder, READERS),
    "pictures moved away": (Taking.pictures, READERS),
    "cache made anew by another": (Taking.cache_evicted, {}),
    "file descriptors": (Taking.descriptors, READERS),
    "all reading processes killed": (Taking.readers_killed, READERS),
    "temporary folder removed": (Taking.temporary_folder, READERS),
    "stdout's reader gone": (Taking.output, {"progress": True}),
    "cache cut off": (Taking.cache_cut_off, {"workers": 2}),
    "a reading process stopped": (Taking.reader_stopped, READERS),
    "cache removed": (Taking.cache_removed, {}),
    "cache replaced by a file": (Taking.cache_a_file, {"workers": 2}),
}


def withdrawals(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Take something away at a random step; what ends must say why, and go on to the same bits."""
    expected = digest(trained(folder / "whole", root, epochs=EPOCHS, workers=0))
    failures: list[str] = []
    outcomes, kinds = Counter[str](), Counter[str]()
    slowest = 0.0
    able = os.waitpid(in_a_child(little_shared_memory, folder / "log"), 0)[1] == 0
    known = [kind for kind in KINDS if able or kind != "shared memory filled"]
    for number in range(count):
        kind = known[number % len(known)]
        place = folder / str(number)
        place.mkdir()
        own = place / "root"
        shutil.copytree(root, own)
        start = time.monotonic()
        how, fault = one(kind, own, place, chance)
        slowest = max(slowest, time.monotonic() - start)
        if not fault and digest(place / "run") != expected:
            fault = "other weights than undisturbed"
        kinds[kind] += 1
        outcomes[how] += 1
        failures += [f"{kind}: {fault}"] if fault else []
        shutil.rmtree(place, ignore_errors=True)
        print(f"{number + 1} {kind}: {how}; {fault or 'well'}", flush=True)
    return {"withdrawals": count, "kinds": dict(kinds), "outcomes": dict(outcomes),
            "slowest_seconds": round(slowest), "failures": failures[:20]}  # fmt: skip


def one(kind: str, root: Path, place: Path, chance: random.Random) -> tuple[str, str]:
    """Disturb a training, and go on with it if it ends; return how it went, and what was wrong."""
    take, settings = KINDS[kind]
    taking, at = Taking(root, place, chance), chance.randint(1, STEPS)
    settings = {"workers": 0, **settings, "epochs": EPOCHS}
    log, run = place / "log", place / "run"
    status = ended(lambda: disturbed(taking, take, at, run, settings), log)
    said = log.read_text(errors="replace")
    if status == 0:
        return "went on", "" if (run / "summary.json").is_file() else "it is not finished"
    if status is None:
        return "hung", f"not done after {LIMIT} s at step {at}: {said[-300:]}"
    raised = [line for line in said.splitlines() if "Error: " in line and line[:1].strip()]
    if not raised or not raised[-1].startswith("segzoo.errors."):
        return "ended", f"no reason at step {at}: {said[-600:]}"
    if (place / "gone").is_dir():
        (place / "gone").rename(root)
    status = ended(lambda: train(run, root, **settings), log)
    return (
        "ended, naming the cause",
        "" if status == 0 else f"not resumed: {log.read_text()[-600:]}",
    )


def disturbed(
    taking: Taking, take: Callable[[Taking], None], at: int, run: Path, settings: dict[str, Any]
) -> None:
    """Train, and take something away after the step numbered `at`."""
    from segzoo.host import waiting
    from segzoo.train.recovery.saving import StateKeeper

    for name in ("here", "tmp"):
        (taking.place / name).mkdir()
    os.chdir(taking.place / "here")
    os.environ |= {"SEGZOO_CACHE": str(taking.cache), "TMPDIR": str(taking.place / "tmp")}
    if take is Taking.shared_memory:
        little_shared_memory()
    waiting.LIMIT_SECONDS = 3.0  # A stopped process is waited for no longer.
    real = StateKeeper.after_step

    def after_step(keeper: Any, training: Any) -> None:
        if training.step == at:
            take(taking)
        real(keeper, training)

    StateKeeper.after_step = after_step  # type: ignore[method-assign]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    train(run, taking.root, **settings)


def little_shared_memory() -> None:
    """Give this process a /dev/shm of its own, of 1 MB, where the system lets it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS) or libc.mount(b"none", b"/", None, PRIVATE, None):
        raise RuntimeError("mounting is refused here")
    if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m"):
        raise RuntimeError("mounting is refused here")


def ended(call: Callable[[], object], log: Path) -> int | None:
    """Call something in a fork, in a group of its own; return its status, None if it hangs.

    Raises RuntimeError where a process of the group outlives it.
    """

    def whole() -> None:
        os.setsid()
        # Figures take half the time of so small a training, and have no part in this.
        try:
            with (
                patch("segzoo.report.runs.draw_curves"),
                patch("segzoo.report.runs.draw_predictions"),
            ):
                call()
        finally:
            multiprocessing.util._exit_function()  # type: ignore[attr-defined]  # as at the end

    pid = in_a_child(whole, log)
    until = time.monotonic() + LIMIT
    status = None
    while status is None and time.monotonic() < until:
        time.sleep(0.05)
        done, found = os.waitpid(pid, os.WNOHANG)
        status = found if done else None
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None
    until = time.monotonic() + 5
    while left := of_group(pid):
        if time.monotonic() > until:
            os.killpg(pid, signal.SIGKILL)
            raise RuntimeError(f"{len(left)} processes outlived a training")
        time.sleep(0.05)
    return status


def of_group(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own = path.read_text().rpartition(")")[2].split()[:3]
            found += [int(path.parent.name)] if int(own) == group and state not in "ZX" else []
    return found
