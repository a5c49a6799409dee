"""Pipes, sockets, devices, folders and other encodings, wherever a file is named: refused."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import run_here, untrained_run

from segzoo.data.labels.class_files import find_classes
from segzoo.errors import SegzooError
from segzoo.host.regular import exists, irregular, is_file, is_folder, read_text
from segzoo.model.tensors import load_tensors, read_header
from segzoo.store import atomic, locked
from segzoo.train.config import make_config
from segzoo.train.folders import go_on, resumed_config
from segzoo.train.recovery.state import has_state, read_generations, state_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes by name are POSIX's")


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """End a test that waits for a pipe, instead of waiting with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.alarm(120)
    yield
    signal.alarm(0)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # A socket's path is short.
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


MAKE = {"a pipe": a_pipe, "a socket": a_socket, "a device": a_device, "a folder": a_folder}


@pytest.fixture(params=MAKE)
def odd(request: pytest.FixtureRequest) -> tuple[str, Callable[[Path], None]]:
    """Give each kind of what is no file: its name, and what makes one."""
    return request.param, MAKE[request.param]


def test_what_is_told(tmp_path, odd):
    what, make = odd
    make(tmp_path / "it")
    assert irregular(tmp_path / "it") == what
    assert is_folder(tmp_path / "it") == (what == "a folder")
    with pytest.raises(SegzooError, match=rf"it is {what}, not a list\n"):
        read_text(tmp_path / "it", "a list", 100)
    for none in (tmp_path / "none", tmp_path / ("x" * 5000), Path("\0")):
        assert not (irregular(none) or is_file(none) or is_folder(none) or exists(none))


def test_other_texts(tmp_path):
    file = tmp_path / "text"
    for data, said in ((b"a\xff", r"not text in UTF-8.*byte 1"), (b"x" * 101, "101 bytes")):
        file.write_bytes(data)
        with pytest.raises(SegzooError, match=said):
            read_text(file, "a list", 100)
    file.write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(file, "a list", 100) == "abc"


READERS: dict[str, Callable[[Path], object]] = {
    "config": lambda path: make_config({}, file=path),
    "classes": lambda path: find_classes(str(path), path.parent),
    "header": read_header,
    "tensors": load_tensors,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_a_named_file(tmp_path, odd, reader):
    what, make = odd
    make(tmp_path / "it")
    with pytest.raises(SegzooError, match=f"{what}|no such file"):
        READERS[reader](tmp_path / "it")


WORDS = {
    "train": ("train", "--config", "IT"),
    "resume": ("train", "--resume", "IT"),
    "root": ("train", "--model", "unet", "--data", "folder", "--root", "IT"),
    "stats": ("data", "stats", "hk", "--root", "IT"),
    "classes": ("data", "stats", "folder", "--root", "PAIRS", "-O", "classes=IT"),
    "lists": ("data", "stats", "folder", "--root", "PAIRS", "-O", "lists=IT"),
    "predict": ("predict", "WEIGHTS", "IT"),
    "predict with": ("predict", "IT", "PHOTO"),
    "before": ("predict", "WEIGHTS", "PHOTO", "--background", "IT"),
    "evaluate": ("evaluate", "IT"),
    "inspect": ("inspect", "IT"),
    "compare": ("compare", "IT"),
    "import": ("import", "IT", "--model", "unet", "--classes", "a,b", "--out", "OUT"),
    "import tensors": (
        "import",
        "IT.safetensors",
        "--model",
        "unet",
        "--classes",
        "a,b",
        "--out",
        "OUT",
    ),
    "encoder": (
        "train",
        "--model",
        "smp-unet",
        "-o",
        "encoder_weights=IT",
        "--data",
        "folder",
        "--root",
        "PAIRS",
    ),
    "configuration": (
        "train",
        "--model",
        "hf-segformer",
        "-o",
        "config=IT",
        "--data",
        "folder",
        "--root",
        "PAIRS",
    ),
    "table": ("evaluate", "WEIGHTS", "--data", "hk", "--sample", "--per-picture", "IT.csv"),
    "preview": ("data", "preview", "folder", "--root", "PAIRS", "-o", "IT.png"),
}


@pytest.mark.parametrize("command", WORDS)
def test_commands_end_with_an_error(command, tmp_path, folder_root, photo, odd, monkeypatch):
    _, make = odd
    weights = untrained_run(tmp_path / "run") / "best.safetensors"
    monkeypatch.chdir(tmp_path)
    places = {"PAIRS": folder_root, "WEIGHTS": weights, "PHOTO": photo, "OUT": tmp_path / "out"}
    named = next(word for word in WORDS[command] if "IT" in word)
    name = named.rpartition("=")[2].replace("IT", "it")
    make(tmp_path / name)
    words = [
        str(places.get(word, word.replace("IT", str(tmp_path / "it")))) for word in WORDS[command]
    ]
    done = run_here(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["state-a.json", "state-b.json"])
def test_a_state_that_is_no_file_is_damaged(tmp_path, odd, name):
    what, make = odd
    last = state_folder(tmp_path)
    last.mkdir()
    make(last / name)
    assert not has_state(tmp_path)
    with pytest.raises(SegzooError, match=rf"{name} is damaged: it is {what}"):
        read_generations(tmp_path)


@pytest.mark.parametrize("name", ["config.toml", "summary.json", "last/state-a.json"])
@pytest.mark.parametrize("data", [b"\xff\xfe", b'model = "\xe9"', b"\0" * 9, b""])
def test_files_of_a_run_in_other_encodings(tmp_path, name, data):
    run = tmp_path / "run"
    (run / "last").mkdir(parents=True)
    (run / "config.toml").write_text('model = "unet"\ndata = "hk"\n')
    (run / name).write_bytes(data)
    for words in (("compare", str(run)), ("train", "--resume", str(run), "--epochs", "2")):
        done = run_here(*words)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("error: ") == 1


def test_a_history_in_another_encoding_counts_its_epochs(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\n\xfe\n\x80\n")

    class Run:
        folder = tmp_path

    with pytest.raises(SegzooError, match="was trained for 3 epochs"):
        go_on(Run(), force=False)  # type: ignore[arg-type]


def test_nothing_is_written_over_what_is_no_file(tmp_path, odd):
    what, make = odd
    make(tmp_path / "it")
    with pytest.raises(SegzooError, match=what), atomic(tmp_path / "it"):
        pass
    assert irregular(tmp_path / "it") == what
    make(tmp_path / ".lock")
    with pytest.raises(SegzooError, match=what), locked(tmp_path):
        pass


def test_a_run_whose_settings_are_no_file(tmp_path, odd):
    _, make = odd
    make(tmp_path / "config.toml")
    with pytest.raises(SegzooError, match="it has no config.toml"):
        resumed_config(tmp_path, {}, force=False)
