"""Which epoch's weights are kept, and how many epochs there are."""

import json
import tomllib

import pytest

from segzoo.train.fit import fit
from segzoo.train.loop import averaged

TINY = {
    "model": "linknet", "data": "hk", "size": 32, "batch_size": 4, "model_options": {"width": 4},
    "precision": "fp32", "workers": 0, "progress": False,
}  # fmt: skip


def scores(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["val"]["mean_iou"] for line in lines]


def test_the_average_over_epochs():
    assert averaged([1.0, 0.0, 0.0], 0.5) == [1.0, 0.5, 0.25]
    assert averaged([0.3, 0.9, 0.1], 0.0) == [0.3, 0.9, 0.1]


def test_a_lucky_epoch_is_not_chosen(hk_root, tmp_path, monkeypatch):
    lucky = iter([0.5, 0.9, 0.6, 0.7, 0.75, 0.8] * 2)

    def score(*_, **__):
        return {"loss": 0.5, "mean_iou": next(lucky)}

    monkeypatch.setattr("segzoo.train.loop.score", score)
    how = {**TINY, "root": hk_root, "epochs": 6, "eval_splits": ("val",), "lr": 0.0}
    smooth = fit(**how, smooth_monitor=0.5, out=tmp_path / "a")
    assert (smooth.best_epoch, smooth.best_score) == (6, 0.8)
    assert fit(**how, smooth_monitor=0.0, out=tmp_path / "b").best_epoch == 2


def test_a_resumed_run_averages_over_the_epochs_before(hk_root, tmp_path):
    how = {**TINY, "root": hk_root, "lr": 1e-2, "schedule": "constant", "ema": 0.0}
    whole = fit(**how, epochs=5, out=tmp_path / "a")
    fit(**how, epochs=3, out=tmp_path / "b")
    resumed = fit(resume=tmp_path / "b", epochs=5, progress=False)
    assert (resumed.best_epoch, resumed.best_score) == (whole.best_epoch, whole.best_score)
    best = max(range(5), key=averaged(scores(tmp_path / "a"), 0.8).__getitem__)
    assert whole.best_epoch == best + 1
    assert whole.best_score == scores(tmp_path / "a")[best]


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


def test_minutes_too_few_for_an_epoch_train_one(hk_root, tmp_path):
    assert fit(**TINY, root=hk_root, minutes=1e-6, out=tmp_path / "run").epochs == 1
