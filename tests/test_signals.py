"""Who may ask a training to end, and who hears it; output that nobody reads; folders in use."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from segzoo import SegzooError, fit
from segzoo.errors import StoppedError
from segzoo.host.streams import Unbroken, unbroken_output
from segzoo.store import _HELD, locked
from segzoo.train import fit as fitting
from segzoo.train.recovery.saving import StateKeeper
from segzoo.train.recovery.state import has_state
from segzoo.train.recovery.stopping import MILD, SIGNALS, listening

TINY = {
    "model": "unet", "model_options": {"width": 4, "depth": 2}, "data": "hk", "size": 32,
    "batch_size": 4, "workers": 0, "precision": "fp32", "device": "cpu", "epochs": 3,
}  # fmt: skip


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_is_a_wish_and_gone_afterwards(number):
    with listening() as wish:
        send(number)
        assert wish.signal == number
    assert [signal.getsignal(other) for other in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("number", MILD)
def test_those_that_come_again_end_nothing(number):
    with listening() as wish:
        for again in (number, number, signal.SIGTERM, *MILD):
            send(again)
        assert wish.signal == number
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # The next one insists.


@pytest.mark.parametrize("number", SIGNALS)
def test_what_the_process_was_started_to_ignore_is_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with listening() as wish:
        send(number)
        assert wish.signal == 0
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.parametrize("number", MILD)
def test_a_program_keeps_what_it_listens_to_itself(number):
    heard = []
    signal.signal(number, lambda *_: heard.append(number))
    with listening() as wish:
        send(number)
        assert (wish.signal, heard) == (0, [number])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("taken", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_somebody_took_is_listened_to_again(number, taken):
    with listening() as wish:
        signal.signal(number, taken)
        wish.rearm()
        send(number)
        assert wish.signal == number
        wish.rearm()
        insists = number in (signal.SIGINT, signal.SIGTERM)
        assert (signal.getsignal(number) == signal.SIG_DFL) == insists


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_a_training_saves_and_ends(hk_root, tmp_path, monkeypatch, number):
    real = StateKeeper.after_step

    def after_step(keeper, run):
        if run.step == 2:
            signal.signal(number, signal.SIG_IGN)  # as code of a plugin may
        elif run.step == 3:
            send(number)
        real(keeper, run)

    monkeypatch.setattr(StateKeeper, "after_step", after_step)
    with pytest.raises(StoppedError, match=signal.Signals(number).name) as stopped:
        fit(**TINY, root=str(hk_root), out=str(tmp_path / "run"), progress=False)
    assert stopped.value.number == number
    assert has_state(tmp_path / "run")


def broken_pipe():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


def test_a_training_goes_on_when_nobody_reads_its_lines(hk_root, tmp_path):
    with broken_pipe() as stream:
        result = fit(**TINY, root=str(hk_root), out=str(tmp_path / "run"), stream=stream)
    assert result.disabled_observers == ()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 3


def test_what_cannot_be_written_is_forgotten(monkeypatch):
    with broken_pipe() as out, broken_pipe() as err:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        with unbroken_output():
            for _ in range(3):
                print("a line")
                print("another", file=sys.stderr, flush=True)
        out.flush()  # As Python does at its end.


@pytest.mark.parametrize("error", [OSError(28, "full"), OSError(5, "gone"), ValueError("closed")])
def test_other_streams_that_fail_end_nothing(error):
    class Failing:
        encoding = "utf-8"

        def write(self, text):
            raise error

        flush = fileno = lambda self: self.write("")

    stream = Unbroken(Failing())
    assert stream.write("text") == 4
    stream.writelines(["a", "b"])
    stream.flush()
    assert stream.encoding == "utf-8"


def refused(folder):
    """Say whether another process may not have the folder."""
    child = os.fork()
    if not child:
        status = 1
        try:
            with locked(folder):
                status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] != 0


def test_a_copy_of_a_folder_leaves_its_lock(tmp_path):
    folder = tmp_path / "last"
    with locked(folder):
        shutil.copytree(folder, tmp_path / "copy")
        (folder / ".lock").read_text()
        assert refused(folder)
        with pytest.raises(SegzooError, match="another training of this process"), locked(folder):
            pass
        assert refused(folder)
    assert not refused(folder)
    assert not _HELD


def test_a_fork_that_outlives_a_training_does_not_keep_its_folder(tmp_path):
    read, write = os.pipe()
    with locked(tmp_path / "last"):
        child = os.fork()
        if not child:
            os.read(read, 1)
            os._exit(0)
    assert not refused(tmp_path / "last")
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("again", ["resumed", "the same command"])
def test_a_run_that_is_killed_while_it_is_prepared_can_go_on(hk_root, tmp_path, monkeypatch, again):
    how = {**TINY, "epochs": 1, "root": str(hk_root), "progress": False, "out": str(tmp_path / "r")}
    child = os.fork()
    if not child:
        monkeypatch.setattr(fitting, "prepare", lambda *_: send(signal.SIGKILL))
        fit(**how)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (tmp_path / "r" / "config.toml").is_file()
    result = fit(**how) if again != "resumed" else fit(resume=tmp_path / "r", progress=False)
    assert result.epochs == 1
    with pytest.raises(SegzooError, match="exists already"):
        fit(**how)


def test_one_that_is_refused_leaves_no_folder(hk_root, tmp_path):
    with pytest.raises(SegzooError, match="no such score"):
        fit(**TINY, root=str(hk_root), out=str(tmp_path / "r"), progress=False, monitor="nothing")
    assert not (tmp_path / "r").exists()


def test_a_folder_whose_name_is_not_utf_8_is_resumed(hk_root, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xe9\xff"))
    how = {**TINY, "epochs": 1, "root": str(hk_root), "out": str(folder)}
    with Path(os.devnull).open("w") as stream:
        assert fit(**how, stream=stream).epochs == 1
        assert fit(resume=folder, epochs=2, stream=stream).epochs == 2
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 2
