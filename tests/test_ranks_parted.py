"""Ranks that are missing, that raise errors, hang or are killed: named, and nothing lost."""

import contextlib
import os
import re
import signal
import socket
import tempfile
import time

import pytest
import torch
from breaking import PARTS, PLUGIN, SETTINGS
from test_plugin_code import assert_same_end, end, raising

from segzoo import SegzooError, fit
from segzoo.compute import rendezvous
from segzoo.compute.ranks import told
from segzoo.compute.rendezvous import START_VARIABLE, joined
from segzoo.host import ending
from segzoo.train.recovery.state import read_generations
from segzoo.train.step import change_weights

HOW = {**SETTINGS, "metrics": ""}


@pytest.fixture
def parts(install):
    install("acme", PLUGIN, files={"parts.py": PARTS})
    import acme.parts  # type: ignore[import-not-found]

    return acme.parts


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(rendezvous, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def in_ranks(work, count=2, started=None, seconds=120.0):
    """Do something in forks that are ranks; return what each said, and its status."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count) if started is None else started:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - not a pipe, which may be full
        child = os.fork()
        if not child:
            status = 1
            try:
                torch.set_num_threads(1)
                os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                os.environ["WORLD_SIZE"] = str(count)
                os.dup2(said.fileno(), 2)
                try:
                    work(rank)
                    status = 0
                except BaseException as error:
                    os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(status)
        running.append((child, said))
    until = time.monotonic() + seconds
    done = []
    for child, said in running:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > until:
                for other, _ in running:
                    with contextlib.suppress(OSError):
                        os.kill(other, signal.SIGKILL)
                raise AssertionError(f"a rank has not come to its end: {done}")
            time.sleep(0.02)
        with said:
            said.seek(0)
            done.append((os.waitstatus_to_exitcode(ended[1]), said.read().decode()))
    return done


_END = []


@pytest.fixture
def whole(parts, tmp_path):
    """Return the end of a training of two ranks that nothing disturbs, which is done once."""
    if not _END:
        statuses = in_ranks(lambda _: fit(**HOW, out=str(tmp_path / "whole")))
        assert [status for status, _ in statuses] == [0, 0], statuses
        _END.append(end(tmp_path / "whole"))
    return _END[0]


BROKEN = [
    ("network", 3, 1), ("loss", 7, 0), ("data", 9, 1), ("scored network", 2, 0),
    ("scored network", 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("place", "call", "rank"), BROKEN)
def test_what_one_raises_costs_nothing(parts, whole, tmp_path, place, call, rank):
    def work(own):
        if own == rank:
            parts.broken[place] = call, raising(ZeroDivisionError("7"))
        fit(**HOW, out=str(tmp_path / "b"))

    done = in_ranks(work)
    assert "ZeroDivisionError: 7" in done[rank][1]
    assert "; correct it, and go on with" in done[rank][1]
    assert re.search("the state before it is saved|nothing was trained", done[rank][1]), done
    assert f"rank {rank} ended first: " in done[1 - rank][1]
    assert [s for s, _ in in_ranks(lambda _: fit(resume=tmp_path / "b", progress=False))] == [0, 0]
    assert_same_end(whole, tmp_path / "b")


def test_where_one_has_finished_the_step_the_last_save_stands(parts, whole, tmp_path, monkeypatch):
    def half_way(run, watch, undo):
        if run.ranks.rank == 1 and run.step == 5:
            undo.change()
            raise ZeroDivisionError("7")
        change_weights(run, watch, undo)

    with monkeypatch.context() as patch:
        patch.setattr("segzoo.train.step.change_weights", half_way)
        done = in_ranks(lambda _: fit(**HOW, out=str(tmp_path / "b")))
    assert [status for status, _ in done] == [1, 1]
    assert read_generations(tmp_path / "b")[0].values["step"] == 4
    assert [s for s, _ in in_ranks(lambda _: fit(resume=tmp_path / "b", progress=False))] == [0, 0]
    assert_same_end(whole, tmp_path / "b")


@pytest.mark.parametrize("started", [(0, 2), (2,)])
def test_those_that_do_not_come_are_named(monkeypatch, started):
    monkeypatch.setenv(START_VARIABLE, "1")

    def work(_):
        with joined():
            pass

    for rank, (status, said) in zip(started, in_ranks(work, 3, started), strict=True):
        assert status == 1
        if 0 in started:
            assert "rank 1 of 3 has not come within 1 s" in said
        else:
            assert f"rank {rank} of 3 has not found rank 0 at localhost:" in said


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1.5", "9" * 9])
def test_a_limit_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(START_VARIABLE, text)
    with pytest.raises(SegzooError, match=START_VARIABLE):
        rendezvous._start_limit()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_is_killed_or_stands_still_is_named(monkeypatch, number):
    monkeypatch.setattr(rendezvous, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(ending, "END_SECONDS", 0.5)
    stopped = []

    def work(rank):
        ending.ending.own = True
        with joined() as ranks:
            if rank == 1:
                stopped.append(os.getpid())
                time.sleep(1)
                if number == signal.SIGSTOP:  # Somebody lets it go on, so that it ends.
                    os.system(f"(sleep 5; kill -CONT {os.getpid()}) > /dev/null 2>&1 &")
                os.kill(os.getpid(), number)
            told(rank)
            del ranks

    done = in_ranks(work)
    assert "rank 1 has given no sign of life for" in done[0][1]
    assert "rank 0 of 2 has lost another one: " in done[0][1]
    assert done[0][0] in (1, 2)


def test_one_in_a_long_call_hears_of_the_end_of_another(monkeypatch):
    monkeypatch.setattr(ending, "END_SECONDS", 0.5)

    def work(rank):
        ending.ending.own = True
        with joined():
            if rank == 1:
                raise SegzooError("out of pictures")
            time.sleep(300)

    done = in_ranks(work)
    assert done[0][0] == 2
    assert "rank 0 of 2 has lost another one: rank 1 ended first: out of pictures" in done[0][1]
    assert "still waits in " in done[0][1]


def test_one_that_stays_out_for_too_long_is_said_to_be_where_it_is(monkeypatch):
    import datetime

    monkeypatch.setattr(rendezvous, "PATIENCE", datetime.timedelta(seconds=2))

    def work(rank):
        with joined():
            if rank == 1:
                time.sleep(5)
            told(rank)

    said = in_ranks(work)[0][1]
    assert "it did not come within 2 s; rank 1 is in " in said
    assert "test_ranks_parted.py:" in said
