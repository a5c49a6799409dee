"""What ends a training from outside: said in a line, with the run to be gone on with."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data._utils import signal_handling

from segzoo import SegzooError, fit, store
from segzoo.model import tensors

TINY = {
    "model": "linknet", "data": "hk", "size": 32, "epochs": 3, "batch_size": 2, "workers": 0,
    "model_options": {"width": 4}, "precision": "fp32", "progress": False, "device": "cpu",
}  # fmt: skip


def train(root, out, **changes):
    settings: dict[str, Any] = {**TINY, "root": str(root), "out": str(out), **changes}
    return fit(**settings)


def assert_same_weights(one, two):
    first, second = (load_file(folder / "best.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class At:
    """An observer that does something at the end of an epoch."""

    def __init__(self, epoch, call):
        self.at, self.call = epoch, call

    def segzoo_epoch_end(self, epoch):
        if epoch == self.at:
            self.call()


def can_mount():
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True
    )
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, of Linux")
def test_a_disk_that_becomes_full_or_read_only(hk_root, tmp_path):
    if not can_mount():
        pytest.skip("this user may not mount a small disk")
    (tmp_path / "disk").mkdir()
    script = Path(__file__).with_name("on_small_disk.py")
    words = [tmp_path / "disk", hk_root, tmp_path]
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, str(script), *map(str, words)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for way, reason in (
        ("full", "No space left on device"),
        ("read-only", "Permission denied"),
    ):
        said = [line for line in done.stdout.splitlines() if line.startswith(f"{way}: ")]
        assert said[0].startswith(f"{way}: cannot write {tmp_path / 'disk' / way / 'last'}/state-")
        assert said[0].endswith(reason)
        assert said[1:] == [f"{way}: the same weights", f"{way}: 4 epochs told of"]


def test_a_folder_that_cannot_be_written_is_said_before_training(hk_root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SegzooError, match=r"cannot write .*file/run.*: Not a directory"):
        train(hk_root, tmp_path / "file" / "run")


def test_a_root_that_is_lost_on_the_way(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", cache="none")
    away = hk_root.with_name("away")
    lost = At(1, lambda: hk_root.rename(away))
    with pytest.raises(SegzooError, match=rf"{hk_root}/training/\d+\.png.*"):
        train(hk_root, tmp_path / "b", cache="none", observers=[lost])
    with pytest.raises(SegzooError, match=str(hk_root)):
        fit(resume=tmp_path / "b", progress=False)
    away.rename(hk_root)
    fit(resume=tmp_path / "b", progress=False)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_a_run_folder_that_is_removed_ends_the_training(hk_root, tmp_path):
    gone = At(2, lambda: shutil.rmtree(tmp_path / "b"))
    with pytest.raises(SegzooError, match=rf"the run folder {tmp_path}/b is gone"):
        train(hk_root, tmp_path / "b", observers=[gone])
    assert not (tmp_path / "b" / "best.safetensors").exists()


def test_best_weights_that_are_removed_are_missed(hk_root, tmp_path):
    best = tmp_path / "b" / "best.safetensors"
    with pytest.raises(SegzooError, match=f"{best} is gone: it was removed while"):
        train(hk_root, tmp_path / "b", observers=[At(2, best.unlink)], tolerance=0, lr=0)
    with pytest.raises(SegzooError, match=rf"{best} is gone: the weights of epoch 1.*\n.*--force"):
        fit(resume=tmp_path / "b", progress=False)
    assert fit(resume=tmp_path / "b", progress=False, force=True).best_epoch == 2
    assert best.is_file()


DATA = """
from segzoo import DatasetSpec
def segzoo_datasets():
    return [DatasetSpec(name="fragile", summary="d", build="acme.data:build")]
"""
DATA_CODE = """
import os, signal
from pathlib import Path
import torch
class Fragile:
    classes = ("a", "b")
    def __init__(self, root):
        self.root = Path(root)
        self.keys = [str(i) for i in range(12)]
    def __len__(self):
        return 12
    def __getitem__(self, index):
        if index == 7 and (self.root / "kill").is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 7 and (self.root / "raise").is_file():
            raise ZeroDivisionError("seven")
        image = torch.arange(3 * 32 * 32, dtype=torch.uint8).reshape(3, 32, 32) + index
        return image, (image[0] > 100).to(torch.uint8), self.keys[index]
def build(*, root, split, options):
    from segzoo import MissingSplitError
    if split == "val":
        raise MissingSplitError("none")
    return Fragile(root)
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("kill", r"a process that reads pictures has died: DataLoader worker .*"),
        ("raise", r"acme/fragile, sample 7: ZeroDivisionError: seven \(in data\.py, line 16\)"),
    ],
)
def test_a_worker_that_dies_or_raises(install, tmp_path, fault, message):
    install("acme", DATA, name="fragile", files={"data.py": DATA_CODE})
    how = {"data": "acme/fragile", "workers": 2, "cache": "none"}
    train(tmp_path, tmp_path / "a", **how)
    with pytest.raises(SegzooError, match=message):
        train(
            tmp_path, tmp_path / "b", **how, observers=[At(1, lambda: (tmp_path / fault).touch())]
        )
    (tmp_path / fault).unlink()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_an_observer_that_raises_leaves_the_run_as_it_is(hk_root, tmp_path, caplog):
    train(hk_root, tmp_path / "a")

    def fail():
        raise RuntimeError("out of ink")

    result = train(hk_root, tmp_path / "b", epochs=2, observers=[At(1, fail)])
    assert "observer At (observers[0]) raised RuntimeError: out of ink" in caplog.text
    assert list(result.observer_errors) == ["At (observers[0])"]
    # Two epochs of three have another schedule than three, so the whole run is gone on with.
    again = train(hk_root, tmp_path / "c", observers=[At(2, fail)])
    assert again.observer_errors
    assert_same_weights(tmp_path / "a", tmp_path / "c")
    assert fit(resume=tmp_path / "c", epochs=4, progress=False).epochs == 4


def test_an_observer_that_changes_what_it_should_not_leaves_the_run_as_it_is(hk_root, tmp_path):
    class Careless:
        def segzoo_epoch_end(self, run):
            torch.set_default_dtype(torch.float64)
            torch.set_default_device("meta")
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.set_grad_enabled(False)
            torch.manual_seed(5)
            run.model.train()
            run.model(torch.ones(2, 3, 32, 32, device="cpu", dtype=torch.float32))

    class Generator:
        def segzoo_checkpoint_saved(self):
            raise GeneratorExit

    train(hk_root, tmp_path / "a")
    result = train(hk_root, tmp_path / "b", observers=[Careless(), Generator()])
    assert torch.get_default_dtype() == torch.float32
    assert torch.zeros(1).device.type == "cpu"
    assert list(result.observer_errors) == ["Generator (observers[1])"]
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_a_death_that_is_signalled_while_an_observer_works_ends_the_training(hk_root, tmp_path):
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    own = train(hk_root, tmp_path / "a", observers=[At(1, raising(error))])
    assert "DataLoader worker" in own.observer_errors["At (observers[0])"]
    code = compile(f"raise {error!r}", signal_handling.__file__, "exec")  # where torch raises it
    with pytest.raises(SegzooError, match="a process that reads pictures has died: DataLoader wor"):
        train(hk_root, tmp_path / "b", observers=[At(1, lambda: exec(code))])

    class AtTheEnd:
        def segzoo_fit_end(self):
            exec(code)

    with pytest.raises(SegzooError, match="a process that reads pictures has died: DataLoader wor"):
        train(hk_root, tmp_path / "c", observers=[AtTheEnd()])
    assert fit(resume=tmp_path / "c", epochs=4, progress=False, force=True).epochs == 4


def raising(error):
    def fail():
        raise error

    return fail


def test_an_error_of_an_observer_is_told_in_short(hk_root, tmp_path):
    def fail():
        raise RuntimeError("x" * 10_000_000)

    result = train(hk_root, tmp_path / "a", observers=[At(1, fail)])
    assert len(result.observer_errors["At (observers[0])"]) < 2000


def test_what_a_run_killed_at_once_leaves_is_no_run(hk_root, tmp_path):
    (tmp_path / "a" / "last").mkdir(parents=True)
    for name in ("a/.writing-x.toml", "a/last/.writing-y.safetensors", "a/last/.lock"):
        (tmp_path / name).touch()
    train(hk_root, tmp_path / "a")
    assert not list((tmp_path / "a").rglob(".writing-*"))


def test_sigterm_in_the_middle_of_writing_is_heard_afterwards(hk_root, tmp_path, monkeypatch):
    train(hk_root, tmp_path / "a")
    real = tensors.write_tensors

    heard = []

    def write_tensors(path, values, metadata=None):
        if not heard:  # A second one would end the process.
            os.kill(os.getpid(), signal.SIGTERM)
        heard.append(path)
        real(path, values, metadata)

    with monkeypatch.context() as patch:
        patch.setattr("segzoo.train.recovery.state.write_tensors", write_tensors)
        with pytest.raises(SegzooError, match="stopped by SIGTERM .*; the state is saved"):
            train(hk_root, tmp_path / "b")
    fit(resume=tmp_path / "b", progress=False)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_what_a_killed_writer_left_is_removed_and_no_other_s(tmp_path):
    def left(pid, age, text="x"):
        path = tmp_path / f"{store.TEMPORARY}{store._host()}-{pid}-{text}.png"
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
        return path

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    dead = left(ended.pid, 2 * store.STALE_SECONDS)
    kept = [
        left(ended.pid, 0, "young"),
        left(os.getpid(), 2 * store.STALE_SECONDS),
        tmp_path / f"{store.TEMPORARY}otherhost-{ended.pid}-x.png",
        tmp_path / ".writing-mine.png",
    ]
    for path in kept:
        path.touch() if not path.exists() else None
    store.remove_stale(tmp_path)
    assert not dead.exists()
    assert all(path.exists() for path in kept)
    with store.atomic(tmp_path / "a.png") as temporary:
        assert str(os.getpid()) in temporary.name
