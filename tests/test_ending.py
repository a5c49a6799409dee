"""A process of segzoo's own ends soon after it is asked to, whatever it waits for."""

import ctypes
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from segzoo.host import ending as module
from segzoo.host.ending import Ending, waited_in
from segzoo.store import write_bytes
from segzoo.train.recovery.stopping import listening

LONG = 300
libc = ctypes.CDLL(None)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(module, "END_SECONDS", 0.3)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(module, "FINISH_SECONDS", 0.3)
    monkeypatch.setattr(module, "LOOKED_EVERY", 0.02)
    monkeypatch.setattr(module.ending, "own", False)


def in_a_fork(work, *numbers, after=0.3):
    """Do something in a fork; send it signals then. Return its status and what it said."""
    read, write = os.pipe()
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 2)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            module.ending.take_over()
            work(lambda: os.write(go, b"x"))
        finally:
            os._exit(77)
    os.close(write)
    os.close(go)
    os.read(ready, 1)
    os.close(ready)
    for number in numbers:
        time.sleep(after)
        os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(read) as said:
        return status, said.read()


def in_c():
    """Wait as C code does that no signal interrupts; other threads of Python work on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # another thread has them
    libc.poll(None, 0, 1000 * LONG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_training_in_a_long_call_of_c_ends(number):
    def work(ready):
        with listening():
            ready()
            in_c()

    status, said = in_a_fork(work, number)
    assert status == 128 + number
    assert said.startswith(f"error: {number.name} came; 0 s later this process still waits in ")
    assert "test_ending.py:" in said


def test_a_ctrl_c_in_a_long_import_ends_the_process():
    def work(ready):
        ready()
        in_c()

    status, said = in_a_fork(work, signal.SIGINT)
    assert status == 130
    assert "SIGINT came" in said


def test_a_signal_that_somebody_else_listens_to_ends_nothing():
    def work(ready):
        signal.signal(signal.SIGUSR1, lambda *_: None)
        with listening():
            ready()
            time.sleep(1)
        os._exit(3)

    assert in_a_fork(work, signal.SIGUSR1) == (3, "")


def test_what_took_the_descriptor_gives_it_back():
    def work(ready):
        with listening() as wish:
            signal.set_wakeup_fd(-1)  # as asyncio does at its end
            wish.rearm()
            ready()
            in_c()

    assert in_a_fork(work, signal.SIGTERM)[0] == 143


def test_a_fork_of_it_does_not_speak_for_it():
    def work(ready):
        with listening():
            child = os.fork()
            if not child:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.8)
        os._exit(3)

    assert in_a_fork(work) == (3, "")


def test_a_save_that_grows_is_finished(tmp_path):
    def work(ready):
        with listening():
            ready()
            with module.ending.writing(tmp_path):
                for _ in range(10):
                    with (tmp_path / ".writing-x").open("ab") as file:
                        file.write(b"x")
                    time.sleep(0.2)
            (tmp_path / "whole").touch()
            in_c()

    assert in_a_fork(work, signal.SIGTERM)[0] == 143
    assert (tmp_path / "whole").exists()


def test_a_save_that_stands_still_is_not_waited_for(tmp_path):
    def work(ready):
        with listening(), module.ending.writing(tmp_path):
            ready()
            in_c()

    status, said = in_a_fork(work, signal.SIGTERM)
    assert (status, said[:18]) == (143, "error: SIGTERM cam")


def test_writing_is_known_while_it_lasts(tmp_path):
    seen = []

    class Data(bytes):
        pass

    real = module.ending.writing

    def writing(folder):
        seen.append(folder)
        return real(folder)

    module.ending.writing = writing
    try:
        write_bytes(tmp_path / "file", Data(b"x"))
    finally:
        module.ending.writing = real
    assert seen == [tmp_path]
    assert not module.ending._writes


def test_a_process_whose_work_is_done_ends():
    def work(ready):
        ready()
        module.ending.done(7)
        in_c()

    status, said = in_a_fork(work)
    assert status == 7
    assert "waits for at its end" in said


def test_the_end_of_another_rank_can_be_called_off():
    def work(ready):
        ready()
        module.ending.begin(2, "rank 1 ended")
        module.ending.call_off()
        time.sleep(0.8)
        os._exit(3)

    assert in_a_fork(work)[0] == 3


def test_a_program_that_calls_fit_is_not_ended():
    other = Ending()
    other.begin(2, "nothing")
    assert not other._deadline


def test_where_it_waits_is_said():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(waited_in).result().count(".py:") == 1
