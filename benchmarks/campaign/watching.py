"""What a process says, raises and takes."""

import contextlib
import ctypes
import gc
import logging
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MUCH_MEMORY = 1_200_000_000  # Of a picture of 179 million pixels, which are let through, 540 MB.


@contextlib.contextmanager
def watched(
    path: Path, failures: list[str], seconds: int = 20, much: int = MUCH_MEMORY
) -> Iterator[None]:
    """Note what is raised in the block, hangs, or takes `much` memory; keep the file then."""

    def hangs(*_: Any) -> None:
        raise TimeoutError(f"not done in {seconds} s")

    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    forget_most_memory()
    before, fault = most_memory(), ""
    try:
        yield
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if most_memory() - before > much:
        fault = fault or f"took {(most_memory() - before) / 1e6:.0f} MB"
    if fault:
        kept = Path(f"fault-{path.parent.name}-{len(failures)}{path.suffix}").absolute()
        shutil.copy(path, kept)
        failures.append(f"{kept.name}: {fault[:300]}")


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Give the list of what segzoo logs in the block, which goes nowhere else."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, ear = logging.getLogger("segzoo"), Ear()
    log.addHandler(ear)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(ear)
        log.propagate = True


def forget_most_memory() -> None:
    """Let `most_memory` count from what there is now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def most_memory() -> int:
    """Return the most bytes of memory that this process has had."""
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_memory(further: int) -> None:
    """Let this process take so many bytes of address space more than it has, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + further
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def taken() -> dict[str, int]:
    """Return the memory of this process that is in use, its open files, threads and children."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # What is free goes back, with glibc.
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "children": children(),
    }


def children() -> int:
    """Return how many processes this one has started, dead ones too until they are waited for."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has just ended.
            count += int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid()
    return count
