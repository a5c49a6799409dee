"""Scripts without a main guard, where every reading process begins with the script."""

import multiprocessing
import subprocess
import sys

import pytest

from segzoo import SegzooError
from segzoo.data.loading.spawning import first_then_rest
from segzoo.train.fit import fit

SCRIPT = """
import multiprocessing, sys
from segzoo.data.loading.spawning import leave_if_imported_again
multiprocessing.set_start_method(sys.argv[1], force=True)
leave_if_imported_again()
process = multiprocessing.Process(target=print)
process.start()
process.join()
print("status", process.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_process_that_comes_upon_a_training_again_ends_in_silence(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), method]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    status = {"spawn": 3, "forkserver": 1, "fork": 0}[method]
    assert (result.stdout.strip(), result.stderr) == (f"status {status}", "")


def test_a_training_in_such_a_process_does_not_begin(monkeypatch, tmp_path):
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(SystemExit):
        fit(model="unet", data="folder", sample=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Loader:
    """Yields `count` values, and then fails."""

    def __init__(self, error: Exception, count: int = 0) -> None:
        self.error, self.count = error, count

    def __iter__(self):
        yield from range(self.count)
        raise self.error


DEAD = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly\nmore")


@pytest.fixture
def spawned(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)


@pytest.mark.parametrize("error", [DEAD, BrokenPipeError(32, "gone"), EOFError()])
def test_processes_that_end_before_they_read_are_told_in_one_message(spawned, error):
    with pytest.raises(SegzooError) as caught:
        list(first_then_rest(Loader(error), 2))
    assert "`spawn`, each of them runs test_spawning.py from its top" in caught.value.message
    assert 'if __name__ == "__main__":' in caught.value.hint
    assert "workers=0" in caught.value.hint
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_other_errors_and_later_ones_are_not_taken_for_it(spawned):
    for loader in (Loader(RuntimeError("out of memory")), Loader(DEAD, count=1)):
        with pytest.raises(RuntimeError, match=str(loader.error).split()[0]):
            list(first_then_rest(loader, 2))
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(first_then_rest(Loader(DEAD), 0))
    assert list(first_then_rest([1, 2], 2)) == [1, 2]
    assert list(first_then_rest([], 2)) == []


def test_a_script_that_is_no_file_is_told_before_any_process_starts(spawned, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>")
    with pytest.raises(SegzooError, match="<stdin> is not a file"):
        next(first_then_rest([1], 2))
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "fork")
    assert list(first_then_rest([1], 2)) == [1]
