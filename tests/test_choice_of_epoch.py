"""Which epoch's weights are kept, and how many epochs there are."""

import itertools
import json
import tomllib

import pytest
import torch

from segzoo.inference.evaluation import evaluate_weights
from segzoo.metrics.selection import MetricSet
from segzoo.train.fit import fit

TINY = {
    "model": "linknet", "data": "hk", "size": 32, "batch_size": 4, "model_options": {"width": 4},
    "precision": "fp32", "workers": 0, "progress": False,
}  # fmt: skip


def scores(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["val"]["mean_iou"] for line in lines]


@pytest.fixture
def scripted(monkeypatch):
    """Have the epochs score what a list says, each with a standard error of 0.1."""

    def script(*values):
        given = iter(values)

        def score(*_, **__):
            return {"loss": 0.5, "mean_iou": next(given)}

        monkeypatch.setattr("segzoo.train.loop.score", score)
        monkeypatch.setattr("segzoo.metrics.selection.MetricSet.standard_error", lambda *_: 0.1)

    return script


HOW = {**TINY, "eval_splits": ("val",), "lr": 0.0}


@pytest.mark.parametrize(
    ("tolerance", "best_epoch", "score"), [(1.0, 4, 0.82), (2.0, 5, 0.75), (0.0, 2, 0.9)]
)
def test_a_later_epoch_is_kept_within_the_error(
    hk_root, tmp_path, scripted, tolerance, best_epoch, score
):
    # Each within the error of the one before: what counts is the distance from the best of all.
    scripted(0.5, 0.9, 0.85, 0.82, 0.75)
    how = {**HOW, "root": hk_root, "epochs": 5, "out": tmp_path / "run"}
    result = fit(**how, tolerance=tolerance)
    assert (result.best_epoch, result.best_score) == (best_epoch, score)


def test_patience_counts_from_the_best_score(hk_root, tmp_path, scripted):
    scripted(0.5, 0.9, 0.85, 0.86, 0.87)
    how = {**HOW, "root": hk_root, "epochs": 5, "out": tmp_path / "run"}
    result = fit(**how, patience=2)
    assert (result.epochs, result.best_epoch, result.stopped_early) == (4, 4, True)


def test_the_error_is_that_of_the_monitored_score(hk_root, tmp_path):
    how = {**TINY, "root": hk_root, "epochs": 1, "out": tmp_path / "run"}
    result = fit(**how, data_options={"val": 0.75})
    (record,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    scored = evaluate_weights(result.weights, split="val")
    low, high = scored["intervals"]["mean_iou"]
    assert record["monitor_error"] == pytest.approx((high - low) / 3.92, rel=0.4)


def test_a_single_picture_gives_no_error():
    metrics = MetricSet("", classes=("a", "b"), ignore_index=None, target="labels", each=True)
    metrics.start()
    metrics.update(torch.rand(1, 2, 8, 8), torch.randint(0, 2, (1, 8, 8)))
    metrics.compute()
    assert metrics.standard_error("mean_iou") == 0.0


def test_the_error_of_pixel_accuracy_is_the_textbooks():
    torch.manual_seed(0)
    metrics = MetricSet("", classes=("a", "b"), ignore_index=None, target="labels", each=True)
    metrics.start()
    right_N = torch.rand(400) < 0.7  # each picture of one pixel: right, or wrong
    logits_BKHW = torch.stack([right_N, ~right_N], 1)[..., None, None].float()
    metrics.update(logits_BKHW, torch.zeros(400, 1, 1, dtype=torch.long))
    share = metrics.compute()["pixel_accuracy"]
    expected = (share * (1 - share) / 400) ** 0.5
    assert metrics.standard_error("pixel_accuracy") == pytest.approx(expected, rel=0.15)


def test_a_resumed_run_chooses_as_the_whole_one(hk_root, tmp_path):
    how = {**TINY, "root": hk_root, "lr": 1e-2, "schedule": "constant", "ema": 0.0}
    whole = fit(**how, epochs=5, out=tmp_path / "a")
    fit(**how, epochs=3, out=tmp_path / "b")
    resumed = fit(resume=tmp_path / "b", epochs=5, progress=False)
    assert (resumed.best_epoch, resumed.best_score) == (whole.best_epoch, whole.best_score)
    assert whole.best_score == scores(tmp_path / "a")[whole.best_epoch - 1]


def test_minutes_set_the_epochs_and_the_schedule(hk_root, tmp_path, monkeypatch):
    # Every look at the clock takes 5 s: an epoch looks three times.
    now = iter(range(0, 10**6, 5))
    monkeypatch.setattr("segzoo.train.loop.time.perf_counter", lambda: float(next(now)))
    result = fit(**TINY, root=hk_root, minutes=2, epochs=100, out=tmp_path / "run")
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert result.epochs == config["epochs"] == len(scores(tmp_path / "run"))
    assert 80 <= result.seconds <= 120
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert lines[-1]["lr"] == pytest.approx(0, abs=1e-9), "the cosine ends with the run"


def test_a_slow_epoch_does_not_cost_the_run_its_time(hk_root, tmp_path, monkeypatch):
    # The second epoch takes five times as long as the others.
    steps = itertools.chain([5.0] * 4, [25.0] * 3, itertools.repeat(5.0))
    now = itertools.accumulate(steps)
    monkeypatch.setattr("segzoo.train.loop.time.perf_counter", lambda: next(now))
    result = fit(**TINY, root=hk_root, minutes=5, epochs=100, out=tmp_path / "run")
    assert 0.8 * 300 <= result.seconds <= 300


def test_minutes_too_few_for_an_epoch_train_one(hk_root, tmp_path):
    assert fit(**TINY, root=hk_root, minutes=1e-6, out=tmp_path / "run").epochs == 1
