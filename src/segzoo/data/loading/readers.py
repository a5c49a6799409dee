"""The processes that read pictures: how many, what is lost on the way, and how they end.

They are deaf to the signals that ask a training to end: those reach a whole group of processes, and
the last batches are still needed. So whoever leaves the loader, however that is, ends them by
SIGKILL, and so does the end of the process: nobody waits for a picture that nobody wants.
"""

import contextlib
import errno
import logging
import multiprocessing
import multiprocessing.queues
import os
import shutil
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from torch._C import _remove_worker_pids  # type: ignore[attr-defined]
from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]
from torch.utils.data._utils import signal_handling

from segzoo.errors import SegzooError
from segzoo.host.waiting import Watch, kill

log = logging.getLogger("segzoo")

SHARED_MEMORY = Path("/dev/shm")
AHEAD = 2
"""Batches that each process holds ready: what torch's DataLoader does unless told otherwise."""
IN_USE = 2
"""Further batches that there may be at a time: the one in the step, and the one arriving."""
DEAF_TO = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
JOIN_SECONDS = 5.0
INSTEAD = "--workers 0 reads in the training's own process"


class Readers:
    """What a DataLoader of `workers` processes yields; they end when nobody listens any more."""

    def __init__(self, loader: Iterable[Any], workers: int) -> None:
        self.loader, self.workers = loader, workers

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches; raise SegzooError where they stay out."""
        if not self.workers:
            yield from self.loader
            return
        before = set(multiprocessing.active_children())
        started: list[Any] = []
        ended = Finalize(None, _end, (started,), exitpriority=100)  # before any that waits for them
        iterator: Any = None
        try:
            try:
                iterator = iter(self.loader)
            except OSError as error:
                _forget_half_made(error)
                raise
            finally:  # Some may have been started before one could not.
                started += set(multiprocessing.active_children()) - before
            watch = Watch(
                f"the next batch of {len(started)} processes that read pictures",
                lambda: [process.pid for process in started],
            )
            with watch:
                yield from _arriving(iterator, watch)
        finally:
            if iterator is not None:
                _let_go(iterator)
            ended()


def _arriving(iterator: Iterator[Any], watch: Watch) -> Iterator[Any]:
    while True:
        try:
            with watch.waiting():
                item = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if not watch.given_up:
                raise
            raise SegzooError(
                watch.given_up, f"the disk may not answer; continue with --resume; {INSTEAD}"
            ) from error
        yield item


def _end(processes: list[Any]) -> None:
    """Kill processes and take note of their ends."""
    kill([process.pid for process in processes if process.pid and process.is_alive()])
    for process in processes:
        process.join(JOIN_SECONDS)


def _let_go(iterator: Any) -> None:
    """Keep torch from telling of, or waiting for, processes that are about to be killed.

    Its own end asks each of them to come to its end, which takes as long as a picture takes, and
    takes locks that one of them may have had when it died.
    """
    if iterator._shutdown:
        return
    iterator._shutdown, iterator._worker_pids_set = True, False
    _remove_worker_pids(id(iterator))
    pinning = getattr(iterator, "_pin_memory_thread", None)
    if pinning is not None:
        iterator._pin_memory_thread_done_event.set()
        iterator._worker_result_queue.put((None, None))
        pinning.join(JOIN_SECONDS)
    for queue in (*iterator._index_queues, iterator._worker_result_queue):
        queue.cancel_join_thread()
        queue.close()


def _forget_half_made(error: BaseException) -> None:
    """Keep torch from ending an iterator whose processes could not all be started: it cannot."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        made: Any = frame.f_locals.get("self")
        if hasattr(made, "_worker_pids_set"):
            made._shutdown = True


def prepare_reader(_worker: int, *, end_with: int = 0) -> None:
    """Make a process one that reads: deaf, telling what it cannot send, ending with its parent.

    `end_with` is the number of that process, or 0 where it goes on without it.
    """
    if end_with:
        _prctl_pr_set_pdeathsig(signal.SIGKILL)
        # It may have died before that, and then nobody is told of it.
        if _is_own_child() and os.getppid() != end_with:
            os._exit(1)
    for name in DEAF_TO:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    multiprocessing.queues.Queue._on_queue_feeder_error = _send_the_error  # type: ignore[assignment, method-assign]


def _is_own_child() -> bool:
    """Whether the training itself has started this process, and no server of processes."""
    return multiprocessing.get_start_method() in ("fork", "spawn")


def in_main_thread() -> bool:
    """Whether the processes started now may end with what starts them: the system means a thread
    by that, which may be over long before the last batch.
    """
    return threading.current_thread() is threading.main_thread()


def _send_the_error(queue: Any, error: Exception, item: Any) -> None:
    """Send what went wrong in the place of a batch that could not be sent.

    Python prints a traceback and forgets the batch, for which the training would wait for ever.
    """
    queue.put((item[0], not_sent(error)))


def not_sent(error: Exception) -> SegzooError:
    """Return the error for a batch that does not get from one process to the other."""
    text = " ".join(str(error).split())[:200]
    hint = f"give fewer --workers; {INSTEAD}"
    if (
        isinstance(error, OSError) and error.errno == errno.EMFILE
    ) or "Too many open files" in text:
        hint = f"raise the limit by `ulimit -n 4096`, or {hint}"
    elif "AF_UNIX path too long" in text:
        hint = f"set TMPDIR to a folder of a shorter name; {INSTEAD}"
    elif "No space left" in text or "shared memory" in text or "unable to" in text:
        hint = f"{SHARED_MEMORY} may be full (docker run --shm-size=2g makes it larger): {hint}"
    return SegzooError(
        f"pictures that another process has read do not arrive: {text or type(error).__name__}",
        hint,
    )


@contextlib.contextmanager
def losses_told() -> Iterator[None]:
    """Turn the errors of a connection to a reading process, or of none, into a SegzooError."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise not_sent(error) from error
    except RuntimeError as error:
        if "Communication with the workers is no longer possible" not in str(error):
            raise
        raise not_sent(error) from error


@contextlib.contextmanager
def deaths_told() -> Iterator[None]:
    """Turn torch's error for a reading process that has died into a SegzooError.

    It comes out of the DataLoader, or, by a signal, out of whatever the main process is doing.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SegzooError(
            f"a process that reads pictures has died: {str(error).splitlines()[0]}",
            "the machine may be out of memory, or /dev/shm full: give fewer --workers; 0 reads in "
            "the training's own process",
        ) from error


def signalled_death(error: BaseException) -> bool:
    """Whether torch raised an error on the signal that a process of a DataLoader has died.

    It does so in whatever the main process is doing then.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename == signal_handling.__file__


def with_room(workers: int, batch_bytes: int) -> tuple[int, str]:
    """Return how many of the `workers` there is shared memory for, in which batches travel, and
    what to say where that is fewer.

    Containers often have 64 MB of it. Ranks of one machine share it.
    """
    if not workers or not batch_bytes or not SHARED_MEMORY.is_dir():
        return workers, ""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return workers, ""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    free //= int(ranks) if ranks.isdecimal() and int(ranks) else 1
    room = max(0, (free // batch_bytes - IN_USE) // AHEAD)
    if room >= workers:
        return workers, ""
    readers = f"{room} of {workers} processes" if room else "the training's own process"
    return room, (
        f"{SHARED_MEMORY} has room for {free / 1e6:.0f} MB, and a batch takes "
        f"{batch_bytes / 1e6:.1f} MB: {readers} will read the pictures "
        "(docker run --shm-size=2g makes it larger)"
    )
