"""Where the command line's output goes nowhere: closed from the start, full, or read by nobody."""

import os
import subprocess
import sys

import pytest

from segzoo.host.streams import Unbroken, open_standard_streams

SEGZOO = f"{sys.executable} -m segzoo"


def run(words):
    """Run a command in a shell; return its status and what it printed on stderr."""
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", ["--version >&-", "--version <&- >&- 2>&-", "nonsense 2>&-"])
def test_streams_that_are_closed_end_nothing(words):
    assert run(f"{SEGZOO} {words}") == (2 if "nonsense" in words else 0, "")


@pytest.mark.parametrize("words", ["--version", "list --help"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_disk_is_told(words, buffered):
    status, said = run(f"PYTHONUNBUFFERED={buffered} {SEGZOO} {words} > /dev/full")
    assert status == 2
    assert said.startswith("error: the output cannot be written: No space left on device\n")
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(buffered):
    words = f"set -o pipefail; PYTHONUNBUFFERED={buffered} {SEGZOO} --help | true"
    assert run(words) == (0, "")


@pytest.mark.parametrize("command", ["inspect x", "predict x y", "train --model unet"])
def test_a_working_folder_that_is_gone_is_told(command, tmp_path, monkeypatch, capsys):
    from segzoo.cli import main

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr("sys.argv", ["segzoo", *command.split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "the working folder cannot be used: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_gets_the_number_of_a_stream(closed, tmp_path):
    child = os.fork()
    if not child:
        status = 1
        try:
            for number in closed:
                os.close(number)
            sys.stdout = sys.stderr = None  # type: ignore[assignment]
            open_standard_streams()
            opened = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
            for number in closed:
                assert os.get_inheritable(number)
                os.write(number, b"of a library in C") if number else None
            print("text", flush=True)
            print("text", file=sys.stderr, flush=True)
            assert opened > 2
            status = (tmp_path / "file").stat().st_size
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_stream_at_all_forgets():
    stream = Unbroken(None)
    assert stream.write("text") == 4
    stream.flush()
