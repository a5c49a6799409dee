"""Runs side by side: what compares, by how much they differ, and what is not known."""

import dataclasses
import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import run_here

import segzoo
from segzoo import SegzooError
from segzoo.metrics.paired import paired_differences
from segzoo.metrics.pictures import PictureSums
from segzoo.model.tensors import load_tensors, read_header, write_tensors
from segzoo.report.comparison import compare_runs, grouped, read_run, read_summary
from segzoo.train.scored import FILE, Scored, read_picture_sums, save_picture_sums

COUNT, PIXELS = 24, 100


def write_run(folder, hits_N=None, *, truth=60, keys=None, size=(8, 8), classes=("a", "b"),
              data="segzoo-hk/hk", settings="", epoch=2, fingerprint=""):  # fmt: skip
    """Write the folder of a finished run as a training leaves it, without training.

    `hits_N` are pixels of class a that each picture has right; those of class b are all right.
    """
    folder.mkdir()
    scores = {"val": {"mean_iou": 0.5, "pixel_accuracy": 0.5, "iou/a": 0.5}}
    summary = {
        "model": "segzoo-linknet/linknet", "data": data, "parameters": 10, "best_epoch": 2,
        "epochs": 3, "seconds_per_epoch": 1.0, "images_per_second": 2.0, "monitor": "mean_iou",
        "device": "cpu", "precision": "fp32", "scores": scores,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.toml").write_text(f'model = "linknet"\ndata = "hk"\n{settings}')
    if hits_N is None:
        return folder
    hits_N = torch.as_tensor(hits_N, dtype=torch.float64)
    other_N = torch.full_like(hits_N, PIXELS - truth)
    predicted_N = other_N + truth - hits_N
    sums_NS = torch.stack(
        [hits_N, other_N, torch.full_like(hits_N, truth), other_N, hits_N, predicted_N], dim=1
    )
    names = tuple(keys or (f"{place}" for place in range(len(hits_N))))
    scored = Scored(
        epoch=epoch, classes=classes, ignore_index=255, target="labels", metrics="", size=size,
        splits={"val": PictureSums(names, {"segzoo/confusion": sums_NS})},
    )  # fmt: skip
    save(scored, folder)
    return folder


def save(scored, folder):
    """Write what `save_picture_sums` writes of a run, of one that there is not."""

    config = SimpleNamespace(metrics=scored.metrics, size=scored.size)
    run: Any = SimpleNamespace(
        picture_sums=scored.splits, info=scored, epoch=scored.epoch, config=config, folder=folder
    )
    save_picture_sums(run)


def hits(seed, mean=40.0, spread=5.0):
    random = torch.Generator().manual_seed(seed)
    return (mean + spread * torch.randn(COUNT, generator=random)).round().clamp(0, 60)


def mean_of(sums_RS):
    return {"mean": sums_RS[:, 0] / sums_RS[:, 1]}


def with_ones(values_N):
    return torch.stack([values_N, torch.ones_like(values_N)], dim=1).double()


def test_p_of_few_pictures_is_that_of_all_swaps():
    first, second = torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([3.0, 5, 3, 8, 4])
    more = (second - first).tolist()
    all_swaps = [
        abs(sum(sign * d for sign, d in zip(signs, more, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    exact = sum(value >= sum(more) - 1e-9 for value in all_swaps) / len(all_swaps)
    found = paired_differences(mean_of, with_ones(first), with_ones(second), replicates=20_000)
    assert found["mean"].difference == pytest.approx(sum(more) / 5)
    assert found["mean"].p == pytest.approx(exact, abs=0.015)
    assert found["mean"].low < found["mean"].difference < found["mean"].high


def test_alike_models_are_found_different_as_rarely_as_is_said():
    found = [
        paired_differences(mean_of, with_ones(hits(2 * s)), with_ones(hits(2 * s + 1)),
                           replicates=200)["mean"].p
        for s in range(200)
    ]  # fmt: skip
    share = sum(p <= 0.05 for p in found) / len(found)
    assert 0.01 < share < 0.11


def test_pairing_finds_what_two_intervals_hide():
    # Pictures differ far more than the models, of which one is better in every picture.
    easy = hits(1, spread=15).clamp(max=58)
    found = paired_differences(mean_of, with_ones(easy), with_ones(easy + 1))["mean"]
    assert (found.difference, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.p == pytest.approx(1 / 2000)
    same = paired_differences(mean_of, with_ones(easy), with_ones(easy))["mean"]
    assert (same.difference, same.p) == (0, 1)


@pytest.mark.parametrize("count", [0, 1])
def test_single_pictures_are_not_tested(count):
    sums = torch.ones(count, 2)
    assert paired_differences(mean_of, sums, sums) == {}


def test_a_score_that_one_model_lacks_has_no_difference():
    nothing = torch.zeros(COUNT, 2)
    assert paired_differences(mean_of, nothing, with_ones(hits(0))) == {}


def test_runs_on_the_same_data_have_intervals_and_a_difference(tmp_path):
    one = write_run(tmp_path / "one", hits(0), settings="lr = 0.1\nseed = 1\n")
    two = write_run(tmp_path / "two", hits(0) + 8, settings="lr = 0.2\nseed = 1\n")
    first, second = compare_runs([one, two])
    assert first["settings"] == {"lr": 0.1}
    assert second["settings"] == {"lr": 0.2}
    assert (first["group"], second["group"], second["unlike"]) == (1, 1, "")
    assert first["differences"] == {}
    assert second["against"] == str(one)
    difference = second["differences"]["val"]["mean_iou"]
    assert 0 < difference["low"] < difference["difference"] < difference["high"]
    assert difference["p"] < 0.01
    low, high = first["intervals"]["val"]["mean_iou"]
    assert 0 < low < high < 1
    assert first["pictures"] == {"val": COUNT}
    assert not first["notes"]


OTHER_DATA = {
    "masks": ({"truth": 61}, "val has other masks of the same pictures"),
    "names": ({"keys": [f"x{n}" for n in range(COUNT)]}, "val has other pictures"),
    "order": ({"keys": [f"{n}" for n in reversed(range(COUNT))]}, "val has other pictures"),
    "size": ({"size": (16, 8)}, "scored at 16x8, not 8x8"),
    "classes": ({"classes": ("a", "c")}, "other classes: a, c, not a, b"),
    "data set": ({"data": "segzoo-camvid/camvid"}, "another data set: segzoo-camvid/camvid"),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_scores_of_other_data_are_kept_apart_and_it_is_said_why(tmp_path, name):
    changes, why = OTHER_DATA[name]
    one, other = (
        write_run(tmp_path / "one", hits(0)),
        write_run(tmp_path / "two", hits(1), **changes),
    )
    third = write_run(tmp_path / "three", hits(2))
    records = compare_runs([one, other, third])
    assert [record["group"] for record in records] == [1, 1, 2]
    assert [record["run"] for record in records] == [str(one), str(third), str(other)]
    assert why in records[2]["unlike"]
    assert records[1]["differences"]
    assert not records[2]["differences"]
    shown = run_here("compare", str(one), str(other), str(third))
    assert "scored on 2 different sets of data" in shown.stdout
    assert why.rpartition(": ")[2].split(",")[0] in shown.stdout
    assert shown.returncode == 0


def test_fewer_pictures_are_other_data(tmp_path):
    runs = [write_run(tmp_path / "one", hits(0)), write_run(tmp_path / "two", hits(0)[:-1])]
    assert compare_runs(runs)[1]["unlike"] == "val has 23 pictures, not 24"


def test_runs_of_an_older_segzoo_are_compared_as_far_as_they_go(tmp_path):
    runs = [write_run(tmp_path / "old"), write_run(tmp_path / "new", hits(0))]
    old, new = compare_runs(runs)
    assert old["scores"]["val"]["mean_iou"] == 0.5
    assert any("it has no pictures.safetensors" in note for note in old["notes"])
    assert (old["group"], new["group"]) == (1, 2)  # No weights either: the data are not known.
    assert new["unlike"] == "what it was scored on is not known"
    shown = " ".join(run_here("compare", *map(str, runs)).stdout.split())
    assert "no intervals" in shown
    assert "0.5000" in shown


def test_scores_of_another_epoch_are_not_taken_for_the_best_ones(tmp_path):
    run = write_run(tmp_path / "one", hits(0), epoch=1)
    record = compare_runs([run])[0]
    assert record["intervals"] == {}
    assert any("of epoch 1, the best one was 2" in note for note in record["notes"])


DAMAGE = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-8]),
    "empty": lambda path: path.write_bytes(b""),
    "no description": lambda path: write_tensors(path, {"a": torch.zeros(1)}),
    "later version": lambda path: rewrite(path, version=2),
    "no classes": lambda path: rewrite(path, classes=None),
    "a bell in a class": lambda path: rewrite(path, classes=["a", "b\x07"]),
    "rows missing": lambda path: rewrite(path, rows=5),
    "more classes": lambda path: rewrite(path, classes=["a", "b", "c"]),
}


def rewrite(path, *, rows=COUNT, **changes):
    described = json.loads(read_header(path).metadata["segzoo_pictures"]) | changes
    tensors = load_tensors(path)
    tensors["val/segzoo/confusion"] = tensors["val/segzoo/confusion"][:rows].clone()
    write_tensors(path, tensors, {"segzoo_pictures": json.dumps(described)})


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_of_pictures_are_named_and_passed_over(tmp_path, name):
    run = write_run(tmp_path / "one", hits(0))
    DAMAGE[name](run / FILE)
    with pytest.raises(SegzooError, match=FILE):
        read_picture_sums(run / FILE)
    assert FILE in " ".join(read_run(run).notes)
    assert compare_runs([run])[0]["scores"]["val"]["mean_iou"] == 0.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scores": []}', "null"])
def test_a_damaged_summary_is_named(tmp_path, text):
    run = write_run(tmp_path / "one")
    (run / "summary.json").write_text(text)
    with pytest.raises(SegzooError, match="summary.json"):
        compare_runs([run])


def test_sums_that_a_metric_cannot_take_are_passed_over(tmp_path, monkeypatch):
    from segzoo.metrics.selection import MetricSet

    runs = [write_run(tmp_path / name, hits(0)) for name in ("one", "two")]
    monkeypatch.setattr(MetricSet, "intervals", lambda self: [][0])
    for record in compare_runs(runs):
        assert "does not fit its metrics: IndexError" in record["notes"][0]
        assert record["scores"]["val"]["mean_iou"] == 0.5


def test_names_that_are_not_utf8_come_back(tmp_path):
    keys = ["a\udcff", "\u4eba.png", *map(str, range(COUNT - 2))]
    run = write_run(tmp_path / "one", hits(0), keys=keys)
    assert list(read_picture_sums(run / FILE).splits["val"].keys) == keys


def test_no_scored_pictures_leave_no_file(tmp_path):
    run = write_run(tmp_path / "one", hits(0))
    save(dataclasses.replace(read_picture_sums(run / FILE), splits={}), run)
    assert not (run / FILE).exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        segzoo.fit(
            model="linknet", data="hk", sample=True, size=32, epochs=1, workers=0, seed=seed,
            progress=False, out=folder / str(seed), model_options={"width": 4}, metrics="overlap",
        )  # fmt: skip
    return [folder / "0", folder / "1"]


def test_what_a_training_keeps_is_what_it_said_of_itself(trained):
    runs = [read_run(folder) for folder in trained]
    assert len(grouped(runs)) == 1
    for run in runs:
        metrics = run.metrics()
        for split in ("val", "test"):
            assert run.scored is not None
            metrics.load_sums(run.scored.splits[split])
            scores = run.summary["scores"][split]
            for _, scores_of, sums_NS in metrics.parts():
                for name, value in scores_of(sums_NS.sum(0)[None]).items():
                    if name in scores:
                        assert float(value) == scores[name]
    second = compare_runs(trained)[1]
    assert {"mean_iou", "mean_dice"} <= second["differences"]["test"].keys()
    assert second["settings"] == {"seed": 1}


def test_scores_are_kept_apart_by_split_and_class_in_json_and_in_text(trained):
    records = json.loads(run_here("compare", *map(str, trained), "--json").stdout)
    assert "iou/person" in records[0]["scores"]["val"]
    shown = run_here("compare", *map(str, trained)).stdout
    assert "iou/person" not in shown
    assert "val, " in shown
    assert "95 % interval" in shown


def test_a_run_that_is_not_there_is_not_to_be_resumed(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "summary.json").write_text("{}")
    weights = tmp_path / "first" / "best.safetensors"
    weights.touch()
    for given, state in ((tmp_path / "frist", ": no such folder"), (weights, " is a file")):
        with pytest.raises(SegzooError, match=f"{state}\n.*near it: .*first$"):
            read_summary(given)
