"""Several processes, as torchrun starts them, against one: gloo on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import forked
import pytest
from safetensors.torch import load_file

from segzoo.compute.ranks import Ranks
from segzoo.data.loading.batches import Batches
from segzoo.data.opening import DataSource

ALONE, TWO = 1, 2
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN += ["-m", "segzoo"]
UNET = ["--model", "unet", "-o", "width=4", "-o", "depth=2", "-o", "norm=batch"]
SMALL = ["--size", "32", "--batch-size", "5", "--workers", "0", "--precision", "fp32"]


def run(*words, start=ALONE, check=True):
    done = forked.segzoo([str(word) for word in words], start)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    words = ["--data", "portraits", "--root", root, "-O", "train=27", "-O", "test=11"]
    DataSource("portraits", root=str(root), options={"train": 27, "test": 11}).split("train")
    return words


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The same training by one process and by two: folder and what was printed of each."""
    out = tmp_path_factory.mktemp("runs")
    how = ["--epochs", "2", "--augment", "strong", "--metrics", "boundary", "--accumulate", "2"]
    found = {}
    for name, start in (("one", ALONE), ("two", TWO)):
        done = run("train", *UNET, *data, *SMALL, *how, "--out", out / name, start=start)
        found[name] = out / name, done
    return found


def history(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_give_the_losses_of_one(trained):
    one, two = (history(trained[name][0]) for name in ("one", "two"))
    assert len(one) == len(two) == 2
    for before, after in zip(one, two, strict=True):
        for split in ("train", "val", "test"):
            assert after[split]["loss"] == pytest.approx(before[split]["loss"], abs=1e-5)
        assert after["train"]["mean_boundary_f"] == pytest.approx(
            before["train"]["mean_boundary_f"], abs=2e-3
        )


def test_the_first_process_alone_speaks_and_writes(trained):
    folders = [trained[name][0] for name in ("one", "two")]
    one, two = (sorted(p.name for p in folder.iterdir()) for folder in folders)
    assert one == two
    printed = trained["two"][1].stdout
    assert printed.count("epoch   1/2") == printed.count("weights: ") == 1
    assert trained["two"][1].stderr.count("error") == 0


@pytest.mark.parametrize("how", [[], ["--full-size"]])
def test_two_processes_score_to_the_last_digit_what_one_does(trained, data, how, tmp_path):
    weights = trained["one"][0] / "best.safetensors"
    tables = [tmp_path / "one.csv", tmp_path / "two.csv"]
    words = ["evaluate", weights, *data[2:4], "--metrics", "boundary, overlap", "--json", *how]
    words += ["--confusion"]
    one, two = (
        json.loads(run(*words, "--per-picture", table, start=start).stdout)
        for start, table in ((ALONE, tables[0]), (TWO, tables[1]))
    )
    assert one == two
    assert one["pictures"] == 11
    assert tables[0].read_text() == tables[1].read_text()


def test_two_processes_share_the_pictures_to_predict(trained, data, tmp_path):
    weights, pictures = trained["one"][0] / "best.safetensors", next(data[3].rglob("testing"))
    folders = [tmp_path / "one", tmp_path / "two"]
    for start, out in ((ALONE, folders[0]), (TWO, folders[1])):
        run("predict", weights, pictures, "--save", "mask", "-o", out, start=start)
    one, two = ({p.relative_to(out): p.read_bytes() for p in out.rglob("*.png")} for out in folders)
    assert one == two
    assert len(one) >= 11


def test_parameters_spread_over_processes_train_as_whole_ones(data, tmp_path):
    wide = ["--model", "unet", "-o", "width=32", "-o", "depth=4", "-o", "norm=batch"]
    how = ["--accumulate", "2", "--schedule", "constant", "--optimizer", "sgd"]
    words = ["train", *wide, *data, *SMALL, *how]
    run(*words, "--epochs", "2", "--out", tmp_path / "one")
    run(*words, "--epochs", "1", "--shard", "--out", tmp_path / "two", start=TWO)
    run("train", "--resume", tmp_path / "two", "--epochs", "2", start=TWO)
    one, two = (history(tmp_path / name) for name in ("one", "two"))
    for before, after in zip(one, two, strict=True):
        for split in ("train", "val", "test"):
            assert after[split]["loss"] == pytest.approx(before[split]["loss"], abs=1e-5)
    weights = (load_file(tmp_path / name / "best.safetensors") for name in ("one", "two"))
    shapes = [{name: value.shape for name, value in tensors.items()} for tensors in weights]
    assert shapes[0] == shapes[1]


def test_a_killed_process_ends_the_other_one(data, tmp_path):
    words = ["train", *UNET, *data, *SMALL, "--epochs", "10000", "--out", tmp_path / "run"]
    log = tmp_path / "log"
    with log.open("w") as file:
        job = subprocess.Popen(
            [*TORCHRUN, *map(str, words)], stdout=file, stderr=file, env={**os.environ}
        )
    try:
        wait_for(lambda: "epoch   2/" in log.read_text(), 120)
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True
        )
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
        assert job.wait(timeout=60) != 0
    finally:
        job.kill()
    said = log.read_text()
    assert "Root Cause" in said
    assert "SIGKILL" in said
    assert "rank      : 1" in said


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_what_a_user_can_mend_is_said(data, tmp_path):
    words = ["train", *UNET, *data, "--size", "32", "--batch-size", "1", "--out", tmp_path / "a"]
    done = run(*words, start=TWO, check=False)
    assert done.returncode != 0
    assert "error: --batch-size 1 is that of all 2 processes together" in done.stderr
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    done = run(*words[:-1], tmp_path / "used", start=TWO, check=False)
    assert "used exists already" in done.stderr


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("pictures", [5, 6, 16])
def test_shares_cover_a_batch(count, pictures):
    shares = [Ranks(rank, count).share(pictures) for rank in range(count)]
    covered = [index for own in shares for index in range(pictures)[own]]
    assert covered == list(range(pictures))
    sizes = [own.stop - own.start for own in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_have_the_batches_of_one_process(data, count, shuffle):
    source = DataSource("portraits", root=str(data[3]), options={"train": 27, "test": 11})
    dataset = source.split("train")
    info = source.info(dataset)
    how = {"size": (16, 16), "batch_size": 7, "shuffle": shuffle, "workers": 0}
    whole = Batches(dataset, info, **how)
    several = [Batches(dataset, info, **how, ranks=Ranks(r, count)) for r in range(count)]
    assert {len(batches) for batches in several} == {len(whole)}
    found = [list(batches.with_parts(3)) for batches in several]
    keys = [batch.keys for batch in whole.epoch(3)]
    if shuffle:
        steps = list(zip(*found, strict=True))
        assert [[key for batch, _ in step for key in batch.keys] for step in steps] == keys
        for step, whole_keys in zip(steps, keys, strict=True):
            assert {part.total for _, part in step} == {len(whole_keys)}
            for batch, part in step:
                assert whole_keys[part.first :][: len(batch.keys)] == batch.keys
    else:
        parts = sorted((part.first, batch.keys) for own in found for batch, part in own)
        assert [own for _, own in parts] == keys
        ends = [first + len(own) for first, own in parts]
        assert [0, *ends] == [*(first for first, _ in parts), len(dataset)]


@pytest.mark.parametrize("count", [ALONE, 3])
def test_another_number_of_processes_goes_on(trained, count, tmp_path):
    shutil.copytree(trained["two"][0], tmp_path / "run")
    done = run("train", "--resume", tmp_path / "run", "--epochs", "3", start=count)
    assert f"processes {count} instead of 2" in done.stderr
    assert [epoch["epoch"] for epoch in history(tmp_path / "run")] == [1, 2, 3]


def test_a_rank_that_ends_tells_the_others_why(trained, tmp_path):
    shutil.copytree(trained["two"][0], tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").unlink()
    done = run("train", "--resume", tmp_path / "run", "--epochs", "3", start=TWO, check=False)
    assert done.returncode == 2
    assert "error: rank 1 of 2 has lost another one: rank 0 ended first: " in done.stderr
    assert done.stderr.count("best.safetensors is gone") == 2
    assert "RuntimeError" not in done.stderr


@pytest.mark.parametrize("split", ["training", "testing"])
def test_ranks_of_other_data_are_refused(data, tmp_path, split):
    for rank in (0, 1):
        shutil.copytree(data[3], tmp_path / f"data-{rank}")
    picture = min(next((tmp_path / "data-1").rglob(split)).rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b" ")
    words = ["train", *UNET, *data[:3], tmp_path / "data-{RANK}", *data[4:], *SMALL]
    done = run(*words, "--out", tmp_path / "run", start=TWO, check=False)
    assert done.returncode == 2
    assert done.stderr.count("error: the data of rank 1 is not that of rank 0") == 2
    assert not (tmp_path / "run").exists()
