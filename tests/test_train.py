import dataclasses
import io
import json
import logging
import tomllib

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import segzoo
from segzoo.errors import SegzooError
from segzoo.train.config import RunConfig, make_config
from segzoo.train.fit import fit, prepare
from segzoo.train.loop import steps
from segzoo.train.optim import WeightAverage, lr_factor
from segzoo.train.step import weighed

TINY = {
    "model": "linknet", "data": "hk", "size": 64, "epochs": 3, "batch_size": 4,
    "model_options": {"width": 4}, "precision": "fp32", "workers": 0, "progress": False,
    "tolerance": 0.0,
}  # fmt: skip


def train(root, out, **changes):
    return fit(**{**TINY, "root": root, "out": out, **changes})


def test_a_run_folder_holds_what_the_design_says(rendered_figures, hk_root, tmp_path):
    result = train(hk_root, tmp_path / "run")
    folder = tmp_path / "run"
    assert result.weights == folder / "best.safetensors"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.toml", "metrics.jsonl", "best.safetensors", "last", "curves.png",
        "predictions.png", "summary.json", "pictures.safetensors",
    }  # fmt: skip
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for split in ("train", "val", "test"):
        assert set(lines[0][split]) == {
            "loss", "pixel_accuracy", "mean_iou", "iou/background", "iou/person",
        }  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"] == "segzoo-linknet/linknet"
    assert summary["best_score"] == max(line["val"]["mean_iou"] for line in lines)
    for name in ("curves.png", "predictions.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 300


def test_training_learns_the_figures(tmp_path):
    result = train(
        None, tmp_path / "run", sample=True, epochs=10, lr=3e-3, model="unet",
        model_options={"width": 8, "depth": 4, "norm": "batch"},
    )  # fmt: skip
    assert result.scores["test"]["iou/person"] > 0.85


def test_the_saved_config_trains_again_to_the_same_scores(hk_root, tmp_path):
    first = train(hk_root, tmp_path / "a")
    again = fit(file=tmp_path / "a" / "config.toml", out=tmp_path / "b", progress=False)
    assert again.scores == first.scores
    weights = [load_file(tmp_path / name / "best.safetensors") for name in "ab"]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_soft_mattes_are_trained_on_and_scored_as_alpha(hk_root, tmp_path):
    result = train(hk_root, tmp_path / "run", data_options={"matte": "soft"})
    assert result.monitor == "mad"
    assert {"mad", "mse", "mean_iou"} <= set(result.scores["test"])
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result.best_score == min(line["val"]["mad"] for line in lines)


def test_early_stopping(hk_root, tmp_path):
    result = train(
        hk_root, tmp_path / "run", epochs=30, patience=2, lr=0.0, ema=0.0, warmup_epochs=0
    )
    assert result.stopped_early
    assert result.epochs < 30


def test_a_named_score_chooses_the_best(hk_root, tmp_path):
    result = train(hk_root, tmp_path / "run", monitor="iou/person")
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result.best_score == max(line["val"]["iou/person"] for line in lines)
    with pytest.raises(SegzooError, match="no such score\n.*mean_iou"):
        train(hk_root, tmp_path / "b", monitor="miou")
    assert not (tmp_path / "b").exists()


def test_accumulation_equals_the_large_batch(hk_root, tmp_path):
    settings = {
        **{k: v for k, v in TINY.items() if k != "progress"}, "root": hk_root, "ema": 0,
        "augment": "none", "model": "unet", "model_options": {"width": 4, "depth": 2},
        "train_splits": "train,val", "eval_splits": "test", "loss": "ce", "size": 32,
    }  # fmt: skip

    def gradient(batch_size, accumulate):
        run = prepare(
            make_config({**settings, "batch_size": batch_size, "accumulate": accumulate}), tmp_path
        )
        for batch, _, _, share in weighed(next(steps(run))):
            images = run.preprocess(batch.images_BCHW)
            (run.loss(run.model(images), batch.target_BHW.long()) * share).backward()
        return torch.cat([p.grad.flatten() for p in run.model.parameters() if p.grad is not None])

    assert torch.allclose(gradient(10, 1), gradient(4, 3), atol=1e-5)


def test_an_observer_that_raises_is_named_and_disabled(hk_root, tmp_path, caplog):
    class Bad:
        def segzoo_epoch_end(self, run, epoch, metrics):
            raise RuntimeError("out of ink")

    seen = []

    class Good:
        def segzoo_fit_start(self, run):
            seen.append("start")

        def segzoo_epoch_end(self, epoch):
            seen.append(epoch)

        def segzoo_checkpoint_saved(self, path):
            assert path.is_file()
            seen.append("saved")

        def segzoo_fit_end(self, result, error):
            assert error is None
            seen.append(result.epochs)

    with caplog.at_level(logging.WARNING, "segzoo"):
        result = train(hk_root, tmp_path / "run", observers=[Bad(), Good()], epochs=2)
    assert result.disabled_observers == ("Bad (observers[0])",)
    assert caplog.text.count("out of ink") == 1
    assert seen[0] == "start"
    assert {1, 2, "saved"} <= set(seen)
    assert seen[-1] == 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["disabled_observers"] == ["Bad (observers[0])"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "lamb"])
@pytest.mark.parametrize("schedule", ["step", "poly"])
def test_optimizers_and_schedules_by_name(hk_root, tmp_path, optimizer, schedule):
    result = train(hk_root, tmp_path / "run", optimizer=optimizer, schedule=schedule, epochs=1)
    assert result.epochs == 1


def test_progress_is_a_bar_on_a_terminal_and_plain_lines_elsewhere(hk_root, tmp_path, monkeypatch):
    def output(out):
        stream = io.StringIO()
        train(hk_root, tmp_path / out, stream=stream, epochs=2)
        return stream.getvalue()

    plain = output("a")
    assert [line[:11] for line in plain.splitlines() if line.startswith("epoch")] == [
        "epoch   1/2", "epoch   2/2",
    ]  # fmt: skip
    assert "img/s" in plain
    assert "0:00 left" in plain
    assert "\x1b" not in plain
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    live = output("b")
    assert "/9 pictures" in live
    assert "epoch   2/2" in live


def test_learning_rates_over_time():
    step = RunConfig(schedule="step", warmup_epochs=0, step_epochs=7, step_gamma=0.1)
    assert [round(lr_factor(step, e), 6) for e in (0, 6.9, 7, 14)] == [1, 1, 0.1, 0.01]
    cosine = RunConfig(schedule="cosine", warmup_epochs=2, epochs=12)
    assert lr_factor(cosine, 1) == pytest.approx(0.5, abs=0.01)
    assert lr_factor(cosine, 2) == 1
    assert lr_factor(cosine, 7) == pytest.approx(0.5)
    assert lr_factor(cosine, 12) == 0


def test_the_average_warms_up_and_copies_counters():
    model = torch.nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.99)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.get_buffer("num_batches_tracked").fill_(5)
    average.update(model)
    assert float(average.model.get_parameter("weight")) == pytest.approx(1 + 2 * (1 - 1 / 10))
    assert int(average.model.get_buffer("num_batches_tracked")) == 5


def test_divergence_stops_with_advice(hk_root, tmp_path):
    with pytest.raises(SegzooError, match="is not finite in step .*, with the pictures .*\n.*--lr"):
        train(
            hk_root, tmp_path / "run", lr=1e6, optimizer="sgd", schedule="constant", clip_grad=0,
            ema=0, warmup_epochs=0, model="unet", model_options={"width": 4},
        )  # fmt: skip


BAD = {
    "model": ({"model": "linknt"}, "unknown model `linknt`\n.*did you mean `linknet`"),
    "data": ({"data": "hkk"}, "unknown data set `hkk`\n.*did you mean `hk`"),
    "loss": ({"loss": "dise"}, "unknown loss `dise`"),
    "metric": ({"metrics": "none"}, "unknown metric `none`"),
    "option": ({"model_options": {"wide": 1}}, "has no option `wide`\n.*width"),
    "value": ({"model_options": {"width": "x"}}, "option `width` takes a whole number"),
    "data option": (
        {"data_options": {"matte": "hard"}},
        "`matte` takes one of binary, soft, not",
    ),
    "setting": ({"epoch": 3}, "no setting `epoch`\n.*`epochs`"),
    "epochs": ({"epochs": 0}, "--epochs takes a whole number from 1 to 1000000, not 0"),
    "size": ({"size": "big"}, "size 'big'\n.*192x256"),
    "an infinite size": ({"size": [float("inf"), 32]}, r"size \[inf, 32\]"),
    "a size of one pixel": ({"size": 1}, "size 1\n.*each at least 2"),
    "a size that no memory holds": ({"size": 99_999_999}, "size 99999999\n.*at most .* pixels"),
    "a seed too large": ({"seed": 10**30}, "--seed takes a whole number from 0 to "),
    "infinite minutes": ({"minutes": float("inf")}, "--minutes takes a number"),
    "an infinite weight": ({"loss": "1e999*ce"}, "the weight 1e999 is too large"),
    "optimizer": ({"optimizer": "adamm"}, "unknown optimizer `adamm`\n.*did you mean"),
    "schedule": ({"schedule": "cos"}, "unknown schedule `cos`"),
    "recipe": ({"recipe": "tutrial"}, "unknown recipe `tutrial`\n.*did you mean `tutorial`"),
    "device": ({"device": "cuda:77"}, "device `cuda:77`: torch sees"),
    "device name": ({"device": "gpu"}, "device `gpu` is unknown"),
    "precision": ({"precision": "fp16"}, "fp16 is not for the CPU"),
    "split": ({"eval_splits": "holdout"}, "splits are train, val and test"),
    "overlap": ({"eval_splits": "train"}, "the same split"),
    "config": ({"file": "no.toml"}, "cannot read the config no.toml"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_one_clear_error_and_leave_nothing(hk_root, tmp_path, case):
    changes, message = BAD[case]
    with pytest.raises(SegzooError, match=message):
        train(hk_root, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_refused_and_kept(hk_root, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(SegzooError, match="exists already\n.*--resume"):
        train(hk_root, tmp_path / "run")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(hk_root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SegzooError, match="cannot write .*file/run"):
        train(hk_root, tmp_path / "file" / "run")


def test_fewer_pictures_than_a_batch_are_trained_on_with_a_notice(hk_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "segzoo"):
        result = train(hk_root, tmp_path / "run", batch_size=64, epochs=1)
    assert "only 9 training pictures, fewer than a batch of 64" in caplog.text
    assert result.epochs == 1


def test_a_single_picture_is_trained_on(folder_root, tmp_path, caplog):
    for path in sorted(folder_root.rglob("*.*"))[:]:
        if path.stem != "0":
            path.unlink()
    with caplog.at_level(logging.WARNING, "segzoo"):
        result = train(folder_root, tmp_path / "run", data="folder", epochs=1, size=128)
    assert "no split to score" in caplog.text
    assert set(result.scores) == {"train"}
    with pytest.raises(SegzooError, match="batch norm sees one value per channel.*\n.*--size"):
        train(folder_root, tmp_path / "b", data="folder", epochs=1, size=64)


def test_without_a_test_split_val_is_scored_and_not_trained_on(folder_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "segzoo"):
        result = train(folder_root, tmp_path / "run", data="folder", recipe="tutorial", epochs=1)
    assert set(result.scores) == {"train", "val"}
    assert "scored on `val`, which is left out of the training" in caplog.text


def test_the_sample_of_every_data_set_trains(tmp_path):
    for entry in segzoo.get_registry().all("datasets"):
        out = tmp_path / entry.spec.name
        result = train(None, out, data=entry.identity, sample=True, epochs=1)
        assert result.data == entry.identity


def test_the_sample_is_called_a_stand_in(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "segzoo"):
        train(None, tmp_path / "run", sample=True, epochs=1)
    assert "STAND-IN" in caplog.text


def test_flag_over_file_over_recipe_over_default(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("lr = 0.5\nepochs = 9\n[model_options]\nwidth = 8\n")
    config = make_config({"epochs": "4"}, recipe="tutorial", file=file)
    assert (config.epochs, config.lr, config.optimizer) == (4, 0.5, "adam")
    assert config.precision == "auto"
    assert config.model_options == {"width": 8}
    assert config.recipe == "tutorial"


def test_the_tutorial_recipe_is_the_textbook_setting():
    config = make_config({}, recipe="tutorial")
    assert dataclasses.asdict(config) | {} == dataclasses.asdict(config) | {
        "lr": 1e-3, "optimizer": "adam", "loss": "segzoo/ce", "batch_size": 8, "size": (256, 256),
        "schedule": "step", "step_epochs": 7, "step_gamma": 0.1, "augment": "none", "ema": 0,
    }  # fmt: skip


def test_the_default_recipe_is_the_default_config():
    assert make_config({}) == RunConfig()


def test_a_full_config_survives_toml(tmp_path, hk_root):
    train(hk_root, tmp_path / "run", epochs=1)
    saved = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert saved["model_options"] == {"width": 4}
    assert "out" not in saved
    assert saved["root"] == str(hk_root)
