"""Processes that read pictures: what is lost on the way is told, and none outlives its use."""

import errno
import logging
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import time
from collections import namedtuple
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch

from segzoo import SegzooError
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.readers import not_sent, prepare_reader, with_room
from segzoo.data.sample import DataInfo, Sample, voc_palette
from segzoo.host import waiting

FOR_EVER = 300
INFO = DataInfo(
    identity="acme/x", version="1", classes=("a", "b"), palette=voc_palette(2), target="labels",
    ignore_index=255, options={},
)  # fmt: skip


class Toy:
    """Eight pictures of 8 x 8; reading the one numbered `stuck` in another process never ends."""

    keys = tuple(map(str, range(8)))

    def __init__(self, stuck=-1, dies=-1):
        self.stuck, self.dies, self.main = stuck, dies, os.getpid()

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if os.getpid() != self.main and index == self.stuck:
            time.sleep(FOR_EVER)
        if os.getpid() != self.main and index == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        image = torch.full((3, 8, 8), index, dtype=torch.uint8)
        return Sample(image, torch.zeros((8, 8), dtype=torch.uint8), str(index))


def made(toy, workers=2):
    return Batches(toy, INFO, size=(8, 8), batch_size=2, workers=workers, cache="none")


def test_whoever_leaves_ends_those_that_read():
    epoch = made(Toy(stuck=4)).epoch(0)
    assert next(epoch).keys == ["0", "1"]
    assert multiprocessing.active_children()
    epoch.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_the_end_of_the_process_ends_those_that_read():
    read, write = os.pipe()
    child = os.fork()
    if not child:
        epoch = made(Toy(stuck=4)).epoch(0)
        next(epoch)
        pids = [process.pid for process in multiprocessing.active_children()]
        os.write(write, " ".join(map(str, pids)).encode())
        # What Python does at its end, which waits for them.
        getattr(multiprocessing.util, "_exit_function")()  # noqa: B009
        os._exit(0)
    os.close(write)
    pids = [int(word) for word in os.read(read, 1000).split()]
    os.close(read)
    try:
        assert os.waitpid(child, 0)[1] == 0
        assert len(pids) == 2
        assert not [pid for pid in pids if running(pid)]
    finally:
        waiting.kill(pids)


def test_a_process_that_dies_takes_the_others_along():
    with pytest.raises(SegzooError, match="a process that reads pictures has died"):
        list(made(Toy(stuck=0, dies=2)).epoch(0))
    assert multiprocessing.active_children() == []


def test_readers_end_with_a_killed_training():
    read, write = os.pipe()
    child = os.fork()
    if not child:
        epoch = made(Toy(stuck=4)).epoch(0)
        next(epoch)
        pids = [process.pid for process in multiprocessing.active_children()]
        os.write(write, " ".join(map(str, pids)).encode())
        time.sleep(FOR_EVER)
    pids = [int(word) for word in os.read(read, 1000).split()]
    os.close(write)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        until = time.monotonic() + 60
        while alive := [pid for pid in pids if running(pid)]:
            assert time.monotonic() < until, alive
            time.sleep(0.05)
        assert os.read(read, 1) == b""  # Nobody has the other end of the pipe any more.
    finally:
        waiting.kill([pid for pid in pids if running(pid)])
        os.close(read)


@pytest.mark.parametrize(("parent", "status"), [(os.getppid, 1), (os.getpid, 0), (int, 0)])
def test_a_reader_whose_training_died_before_it_began_ends(parent, status):
    known, child = parent(), os.fork()
    if not child:
        prepare_reader(0, end_with=known)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "--shm-size"),
        (RuntimeError("unable to write to file </torch_1_2_3>: No space left"), "--shm-size"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError("AF_UNIX path too long"), "TMPDIR"),
        (ConnectionRefusedError(), "--workers 0"),
    ],
)
def test_a_batch_that_cannot_be_sent_is_told_in_its_place(monkeypatch, error, hint):
    main, real = os.getpid(), ForkingPickler.dumps

    def dumps(item):
        if os.getpid() != main and not isinstance(item[1], SegzooError) and item[0] == 1:
            raise error
        return real(item)

    monkeypatch.setattr(ForkingPickler, "dumps", dumps)
    epoch = made(Toy()).epoch(0)
    assert next(epoch).keys == ["0", "1"]
    with pytest.raises(SegzooError, match="pictures that another process has read do not") as told:
        next(epoch)
    assert hint in told.value.hint
    assert "--workers 0" in told.value.hint
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create", "error::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("number", [0, 3])
def test_processes_that_cannot_be_started_are_told(monkeypatch, number):
    real, started = os.fork, []

    def fork():
        started.append(1)
        if len(started) > number:
            raise OSError(errno.EMFILE, "Too many open files")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(SegzooError, match="Too many open files"):
        list(made(Toy(stuck=0), workers=4).epoch(0))
    assert multiprocessing.active_children() == []


def test_a_long_wait_is_told_and_then_given_up(monkeypatch, caplog):
    for name, seconds in (("TOLD_SECONDS", 0.1), ("LIMIT_SECONDS", 0.5), ("LOOKED_EVERY", 0.05)):
        monkeypatch.setattr(waiting, name, seconds)
    epoch = made(Toy(stuck=4)).epoch(0)
    with caplog.at_level(logging.WARNING, "segzoo"), pytest.raises(SegzooError) as told:
        list(epoch)
    assert "for the next batch of 2 processes that read pictures, which did" in told.value.message
    assert "--resume" in told.value.hint
    assert any(record.getMessage().startswith("waiting for") for record in caplog.records)
    assert multiprocessing.active_children() == []


def test_processes_that_work_are_waited_for(monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "LOOKED_EVERY", 0.02)
    work = iter(range(1000))
    monkeypatch.setattr(waiting, "signs_of_life", lambda pids: [str(next(work))])
    killed = []
    monkeypatch.setattr(waiting, "kill", killed.append)
    with waiting.Watch("something", lambda: [1]) as watch, watch.waiting():
        time.sleep(0.6)
    assert (killed, watch.given_up) == ([], "")


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "ranks", "workers", "expected"),
    [(64, 1, 2, 0), (64, 1, 0, 0), (200, 1, 2, 1), (4000, 1, 2, 2), (400, 2, 8, 1), (0, 1, 3, 0)],
)
def test_shared_memory_is_shared_out_before_it_is_short(
    monkeypatch, free, ranks, workers, expected
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free * 10**6))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    count, said = with_room(workers, 38 * 10**6)
    assert count == expected
    assert bool(said) == (expected < workers)
    if said:
        assert "--shm-size" in said
        assert "38.0 MB" in said


def test_a_loader_of_little_shared_memory_says_it_once(monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 100))
    loader = made(Toy(stuck=0, dies=2))
    with caplog.at_level(logging.WARNING, "segzoo"):
        for number in range(2):
            assert len(list(loader.epoch(number))) == 4
    (record,) = caplog.records
    assert "the training's own process will read" in record.getMessage()


def test_errors_of_no_text_are_told_by_their_kind():
    assert "EOFError" in not_sent(EOFError()).message
