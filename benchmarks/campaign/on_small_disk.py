"""Trainings on a disk that is filled, or whose folders become read-only, at a random moment.

disk.py runs it in a namespace of its own. Everything that a training writes is on that disk, the
cache too.
"""

import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .training import digest, import_all, in_a_child, train

DISK, ROOT, FOUND = (Path(word) for word in sys.argv[1:4])
BALLAST, CACHE = DISK / "ballast", DISK / "cache"
SETTINGS = {"epochs": 3, "workers": 0, "save_minutes": 0.001}
LOG = FOUND.with_name("log")
REFUSED = 3


def fill() -> None:
    """Leave no room on the disk."""
    with BALLAST.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def become_ordinary() -> None:
    """Give up root's right to write where permissions say no: all capabilities (Linux)."""
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capset(header, sets):
        raise OSError("capset failed")


def attempt(run: Path, spoil: Callable[[], None] = lambda: None, after: float = 0) -> str:
    """Train in a fork, with things spoilt after some time, 0 = before; return how it ended."""
    FOUND.with_name("said").unlink(missing_ok=True)

    def call() -> None:
        from segzoo.errors import SegzooError

        become_ordinary()
        try:
            train(run, ROOT, **SETTINGS)
        except SegzooError as error:
            FOUND.with_name("said").write_text(error.message)

    if not after:
        spoil()
    pid = in_a_child(call, LOG)
    if after:
        time.sleep(after)
        spoil()
    _, status = os.waitpid(pid, 0)
    if status:
        what = os.WTERMSIG(status) if os.WIFSIGNALED(status) else ""
        return f"fault: {what} {LOG.read_text()[-600:]}"
    said = FOUND.with_name("said")
    return f"refused: {said.read_text()}" if said.is_file() else "ended"


def judged(outcome: str, reason: int) -> str:
    """Return "ended", "refused", or what is wrong with how a training ended."""
    if outcome == "ended":
        return outcome
    named = str(DISK) in outcome and os.strerror(reason) in outcome
    return "refused" if outcome.startswith("refused: ") and named else outcome


def round_of(way: str, number: int, seconds: float, chance: random.Random) -> tuple[str, str]:
    """Spoil a training, try again, mend, go on; return how it ended first, and its digest."""
    run = DISK / f"{way}-{number}"
    places = [DISK, run, run / "last", CACHE / "resized"]
    chosen = chance.sample(places, chance.randint(1, 4))

    def spoil() -> None:
        if way == "full":
            return fill()
        for folder in chosen:
            if folder.is_dir():
                folder.chmod(0o555)
        return None

    reason = errno.ENOSPC if way == "full" else errno.EACCES
    shutil.rmtree(CACHE, ignore_errors=True)
    first = judged(attempt(run, spoil, max(0, chance.uniform(-0.15, 1)) * seconds), reason)
    if first == "refused":
        again = judged(attempt(run), reason)
        if again not in ("refused", "ended"):
            first = f"tried again without mending: {again}"
    BALLAST.unlink(missing_ok=True)
    for folder in places:
        if folder.is_dir():
            folder.chmod(0o755)
    last = attempt(run)
    if last != "ended":
        return first, f"after mending: {last}"
    found = digest(run)
    shutil.rmtree(run)
    return first, found


def main(count: int, seed: int) -> None:
    """Do the rounds, and write what was found."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(DISK)], check=True)
    os.environ["SEGZOO_CACHE"] = str(CACHE)
    import_all()
    chance = random.Random(seed)
    start = time.monotonic()
    if (outcome := attempt(DISK / "whole")) != "ended":
        raise RuntimeError(outcome)
    seconds = time.monotonic() - start
    whole = digest(DISK / "whole")
    shutil.rmtree(DISK / "whole")
    outcomes, failures = Counter[str](), []
    for number in range(count):
        way = ("full", "read-only")[number % 2]
        first, last = round_of(way, number, seconds, chance)
        known = first in ("ended", "refused")
        outcomes[f"{way}: {first if known else 'fault'}"] += 1
        if not known:
            failures.append(f"{way}, round {number}: {first}")
        if last != whole:
            after = last if last.startswith("after mending") else "other weights after mending"
            failures.append(f"{way}, round {number}: {after}")
    found = {"rounds": count, "outcomes": dict(outcomes), "failures": failures[:20]}
    FOUND.write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[4]), int(sys.argv[5]))
