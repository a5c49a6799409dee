"""A run that is stopped anywhere and resumed ends with what the uninterrupted one ends with."""

import json
import os
import random
import shutil
import signal
import time

import forked
import pytest
import torch
from helpers import stop_after
from safetensors.torch import load_file

from segzoo.errors import SegzooError, StoppedError
from segzoo.model.tensors import read_header
from segzoo.store import locked
from segzoo.train.fit import fit
from segzoo.train.folders import drop_needless_state
from segzoo.train.recovery import saving as keeping
from segzoo.train.recovery import state

TINY = {
    "model": "linknet", "data": "hk", "size": 32, "epochs": 3, "batch_size": 2,
    "model_options": {"width": 4}, "precision": "fp32", "workers": 0, "progress": False,
    "augment": "strong",
}  # fmt: skip


def train(root, out, **changes):
    return fit(**{**TINY, "root": root, "out": out, **changes})


def final(folder):
    """Return the best weights, the newest state, and the history without its times."""
    saved, tensors = state._newest(folder)
    history = [
        {key: value for key, value in record.items() if "second" not in key}
        for record in saved.values["history"]
    ]
    described = read_header(folder / "best.safetensors").metadata
    return load_file(folder / "best.safetensors"), tensors, (history, described)


def assert_same_end(first, second):
    for before, after in zip(first[:2], second[:2], strict=True):
        assert before.keys() == after.keys()
        differing = [name for name in before if not torch.equal(before[name], after[name])]
        assert not differing
    assert first[2] == second[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the end of a training that nothing disturbs; each is done once."""
    known = {}

    def end(root, **changes):
        name = str(sorted(changes.items()))
        if name not in known:
            folder = tmp_path_factory.mktemp("whole") / "run"
            train(root, folder, **changes)
            known[name] = final(folder)
        return known[name]

    return end


WAYS = {
    "plain": {},
    "accumulated": {"accumulate": 2, "ema": 0.0, "optimizer": "sgd"},
    "bf16, workers": {"precision": "bf16", "workers": 2, "metrics": "boundary"},
    "not kept": {"cache": "none", "workers": 2},
}


@pytest.mark.parametrize(
    ("way", "steps"),
    [
        *(("plain", steps) for steps in (1, 4, 5)),
        *(("accumulated", steps) for steps in (1, 4, 5)),
        ("bf16, workers", 5),
        ("not kept", 3),
    ],
)
def test_a_stopped_run_goes_on_to_the_bit(whole, hk_root, tmp_path, monkeypatch, way, steps):
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(
            StoppedError, match=f"stopped by SIGTERM in epoch .*, after step {steps}"
        ):
            train(hk_root, tmp_path / "b", **WAYS[way])
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole(hk_root, **WAYS[way]), final(tmp_path / "b"))


def test_a_run_stopped_at_every_step_goes_on_to_the_bit(whole, hk_root, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping.StateKeeper, "after_step", _stop_at_once)
    how = {"root": hk_root, "out": tmp_path / "b", "epochs": 2}
    stops = 0
    while not (tmp_path / "b" / "summary.json").is_file():
        try:
            fit(**{**TINY, **how}) if not stops else fit(resume=tmp_path / "b", progress=False)
        except StoppedError:
            stops += 1
    assert stops == 8
    monkeypatch.undo()
    assert_same_end(whole(hk_root, epochs=2), final(tmp_path / "b"))


def _stop_at_once(keeper, run):
    keeper.save(run)
    raise StoppedError("stopped", "", signal.SIGTERM)


def test_a_run_stopped_while_scoring_goes_on_to_the_bit(whole, hk_root, tmp_path, monkeypatch):
    real = keeping.StateKeeper.while_scoring

    def while_scoring(keeper, run):
        keeper.wish.signal = signal.SIGINT if run.epoch == 1 else 0
        real(keeper, run)

    with monkeypatch.context() as patch:
        patch.setattr(keeping.StateKeeper, "while_scoring", while_scoring)
        with pytest.raises(StoppedError, match="SIGINT in the scoring of epoch 2"):
            train(hk_root, tmp_path / "b")
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole(hk_root), final(tmp_path / "b"))


def test_a_run_left_before_its_first_save_starts_anew(whole, hk_root, tmp_path, caplog):
    class Fail:
        def segzoo_fit_start(self, run):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(hk_root, tmp_path / "b", observers=[Fail()])
    with caplog.at_level("INFO"):
        fit(resume=tmp_path / "b", progress=False)
    assert "starts from the beginning" in caplog.text
    assert_same_end(whole(hk_root), final(tmp_path / "b"))


@pytest.fixture(scope="module")
def stopped(drawn_pairs, tmp_path_factory):
    """Return the folder of a training that was stopped late in its second epoch; to be copied."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 8)  # A finished run has one generation alone.
        with pytest.raises(StoppedError):
            train(drawn_pairs, folder)
    return folder


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_a_damaged_generation_is_named_and_the_other_one_taken(
    stopped, tmp_path, caplog, ending, damage
):
    shutil.copytree(stopped, tmp_path / "b")
    newest, older = state.read_generations(tmp_path / "b")
    assert newest.generation == older.generation + 1
    path = newest.path.with_suffix(f".{ending}")
    spoil(path, damage)
    fit(resume=tmp_path / "b", progress=False)
    if (ending, damage) != ("json", "gone"):
        assert f"{path} is damaged" in caplog.text
    for saved in state.read_generations(tmp_path / "b"):
        for end in ("json", "safetensors"):
            spoil(saved.path.with_suffix(f".{end}"), "cut")
    with pytest.raises(SegzooError, match=r"state-.\.json is damaged"):
        fit(resume=tmp_path / "b", epochs=4, progress=False)


def test_a_finished_run_keeps_one_generation_and_goes_on_to_the_bit(whole, hk_root, tmp_path):
    train(hk_root, tmp_path / "b", epochs=2, schedule="constant")
    files = {path.suffix: path for path in (tmp_path / "b" / "last").glob("state-*")}
    assert set(files) == {".json", ".safetensors"}
    assert len(list((tmp_path / "b" / "last").glob("state-*"))) == 2
    weights = (tmp_path / "b" / "best.safetensors").stat().st_size
    assert files[".safetensors"].stat().st_size < 4.5 * weights
    fit(resume=tmp_path / "b", epochs=3, progress=False)
    *arrays, (history, described) = final(tmp_path / "b")
    # The best weights are those of epoch 2, and say so: they were saved when 2 were all there were.
    described["segzoo"] = described["segzoo"].replace('"epochs": 2,', '"epochs": 3,')
    *expected, (records, header) = whole(hk_root, schedule="constant")
    for text in (header, described):  # The checksum is that of the description, too.
        assert text.pop("checksum", "")
    assert_same_end((*expected, (records, header)), (*arrays, (history, described)))


def test_a_finished_run_without_its_state_says_why_it_cannot_go_on(hk_root, tmp_path):
    train(hk_root, tmp_path / "b", epochs=1, keep_state=False)
    assert not list((tmp_path / "b" / "last").glob("state-*"))
    assert (tmp_path / "b" / "best.safetensors").is_file()
    with pytest.raises(SegzooError, match=r"finished after 1 epochs.*\(--no-keep-state\)"):
        fit(resume=tmp_path / "b", epochs=2, progress=False)


def test_both_generations_stay_where_the_newer_one_is_not_whole(hk_root, tmp_path, caplog):
    train(hk_root, tmp_path / "b", epochs=1)
    (saved,) = state.read_generations(tmp_path / "b")
    spoil(saved.path.with_suffix(".safetensors"), "flip")
    drop_needless_state(tmp_path / "b", keep=True)
    assert "is left as it is" in caplog.text
    assert saved.path.is_file()


def spoil(path, damage):
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
        return
    if damage == "flip":
        data[len(data) // 2] ^= 4
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)


def test_any_flipped_bit_is_found(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    (saved,) = state.read_generations(tmp_path / "a")
    chance = random.Random(0)
    for path in (saved.path, saved.path.with_suffix(".safetensors")):
        whole = path.read_bytes()
        for _ in range(60):
            data, place = bytearray(whole), chance.randrange(len(whole))
            data[place] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            with pytest.raises(SegzooError, match="is damaged"):
                state._newest(tmp_path / "a")
        path.write_bytes(whole)
    state._newest(tmp_path / "a")


def test_changed_settings_are_shown_and_refused(hk_root, tmp_path, caplog):
    train(hk_root, tmp_path / "a", epochs=1)
    with pytest.raises(SegzooError, match=r"changed are lr: 0\.001 -> 3\.0\n.*--force"):
        fit(resume=tmp_path / "a", lr=3, epochs=2, progress=False)
    assert fit(resume=tmp_path / "a", epochs=2, lr=1e-3, progress=False).epochs == 2
    assert fit(resume=tmp_path / "a", epochs=3, lr=2e-3, force=True, progress=False).epochs == 3
    assert "going on with another setting: lr: 0.001 -> 0.002" in caplog.text


def test_options_are_compared_one_by_one_and_by_value(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    same = {"model_options": {"width": "4"}, "root": os.path.relpath(hk_root), "lr": "1e-3"}
    assert fit(resume=tmp_path / "a", epochs=2, progress=False, **same).epochs == 2
    other = {"model_options": {"width": "8"}, "data_options": {"val": "0.2"}, "size": "64"}
    with pytest.raises(SegzooError, match="size: .*64.*-o width: 4 -> 8; -O val: .* -> 0.2"):
        fit(resume=tmp_path / "a", epochs=3, progress=False, **other)
    with pytest.raises(SegzooError, match="has no option `hight`"):
        fit(resume=tmp_path / "a", model_options={"hight": "8"}, progress=False)


def test_other_circumstances_are_told(hk_root, tmp_path, caplog):
    train(hk_root, tmp_path / "a", epochs=1)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        fit(resume=tmp_path / "a", epochs=2, progress=False)
    finally:
        torch.set_num_threads(before)
    assert f"threads {before + 1} instead of {before}: the outcome will not be the" in caplog.text
    caplog.clear()
    fit(resume=tmp_path / "a", epochs=3, progress=False, force=True)
    assert "instead of 1.0" not in caplog.text


def test_other_pictures_of_the_same_names_are_refused(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    pictures = hk_root / "testing"
    (pictures / "00011.png").write_bytes((pictures / "00012.png").read_bytes())
    with pytest.raises(SegzooError, match="other pictures"):
        fit(resume=tmp_path / "a", epochs=2, progress=False)


def test_a_run_whose_state_is_gone_does_not_begin_anew(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=2)
    for path in (tmp_path / "a" / "last").glob("state*"):
        path.unlink()
    with pytest.raises(SegzooError, match="has no state, but .* was trained for 2 epochs"):
        fit(resume=tmp_path / "a", progress=False)


def test_what_was_left_out_is_told_after_a_resumed_run_too(hk_root, tmp_path, monkeypatch):
    picture = hk_root / "training" / "00004.png"
    picture.write_bytes(picture.read_bytes()[:500])
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(StoppedError):
            train(hk_root, tmp_path / "a", on_bad_image="skip")
    picture.with_name("00004_matte.png").touch()
    result = fit(resume=tmp_path / "a", progress=False)
    assert len(result.left_out) == 1
    assert str(picture) in result.left_out[0]


def test_other_pictures_are_refused(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    for path in sorted((hk_root / "training").glob("00009*")):
        path.unlink()
    with pytest.raises(SegzooError, match=r"segzoo-hk/hk has other pictures.*\n.*--force"):
        fit(resume=tmp_path / "a", epochs=2, progress=False)
    assert fit(resume=tmp_path / "a", epochs=2, force=True, progress=False).epochs == 2


def test_resume_refuses_what_it_cannot_continue(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    with pytest.raises(SegzooError, match="already been trained for 1 epoch\n.*--epochs"):
        fit(resume=tmp_path / "a", progress=False)
    with pytest.raises(SegzooError, match="is not a run folder"):
        fit(resume=tmp_path, progress=False)
    (tmp_path / "a" / "config.toml").write_text("")
    with pytest.raises(SegzooError, match=r"config.toml does not say what was trained"):
        fit(resume=tmp_path / "a", progress=False)


def test_a_run_folder_in_use_is_refused(hk_root, tmp_path):
    train(hk_root, tmp_path / "a", epochs=1)
    with locked(state.state_folder(tmp_path / "a")):
        with pytest.raises(SegzooError, match="is in use by another training of this process"):
            fit(resume=tmp_path / "a", epochs=2, progress=False)
        code = "import sys, segzoo; segzoo.fit(resume=sys.argv[1], epochs=2, progress=False)"
        done = forked.python(code, str(tmp_path / "a")).done()
    assert done.returncode == 1
    assert f"is in use by process {os.getpid()} on" in done.stderr
    assert fit(resume=tmp_path / "a", epochs=2, progress=False).epochs == 2


@pytest.mark.parametrize(
    ("number", "status", "workers"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 0)]
)
def test_signals_to_the_command(whole, hk_root, tmp_path, number, status, workers):
    how = {"epochs": 12, "workers": workers, "cache": "none"}
    words = ["train", "--model", "linknet", "-o", "width=4", "--data", "hk", "--root", str(hk_root)]
    for name, value in {**TINY, **how}.items():
        if name not in ("model", "data", "model_options", "progress"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    job = forked.command([*words, "--out", str(tmp_path / "b")])
    lines = tmp_path / "b" / "metrics.jsonl"
    until = time.monotonic() + 200
    while not (lines.is_file() and len(lines.read_text().splitlines()) >= 2):
        assert time.monotonic() < until and job.process.is_alive()
        time.sleep(0.02)
    assert job.process.pid
    os.kill(job.process.pid, number)
    done = job.done(60)
    assert done.returncode == status
    assert "the state is saved" in done.stderr
    assert f"segzoo train --resume {tmp_path / 'b'}" in done.stderr
    assert fit(resume=tmp_path / "b", progress=False).epochs == 12
    assert_same_end(whole(hk_root, **how), final(tmp_path / "b"))


def test_processes_that_outlive_a_killed_one_do_not_keep_its_folder(tmp_path):
    with locked(tmp_path / "last"):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    code = (
        "import sys, pathlib, segzoo.store\n"
        "with segzoo.store.locked(pathlib.Path(sys.argv[1])): print('mine')"
    )
    try:
        done = forked.python(code, str(tmp_path / "last")).done()
        assert done.stdout == "mine\n", done.stderr
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_history_on_disk_has_each_epoch_once(hk_root, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        with pytest.raises(StoppedError):
            train(hk_root, tmp_path / "b")
    fit(resume=tmp_path / "b", progress=False)
    lines = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
