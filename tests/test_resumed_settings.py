"""What is said to a run that is resumed with `force` takes effect, or is refused: each setting."""

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from breaking import PARTS, PLUGIN, SETTINGS
from helpers import saved_tensors, stop_after
from safetensors.torch import load_file

from segzoo import SegzooError, fit
from segzoo.errors import StoppedError
from segzoo.store import read_config
from segzoo.train.config import RunConfig, config_toml, make_config
from segzoo.train.folders import HARMLESS, resumed_config

WEIGHTS = {
    "batch_size": 3, "size": 8, "normalize": "half", "augment": "none",
    "loss": "segzoo/dice", "optimizer": "sgd", "lr": 0.9, "weight_decay": 0.9,
    "schedule": "poly", "warmup_epochs": 0.0, "clip_grad": 0.01, "accumulate": 2,
    "precision": "bf16", "seed": 3, "data_options": {"shift": 7}, "freeze_epochs": 2,
    "freeze_norms": False, "encoder_lr": 0.9, "layer_decay": 0.5, "train_splits": "train,test",
    "crop": 8,
}  # fmt: skip
"""Settings whose other values lead to other weights."""
KEPT = {
    "ema": 0.5, "tolerance": 0.0, "monitor": "mad", "patience": 1, "metrics": "",
    "eval_splits": "val", "minutes": 0.0001, "epochs": 3, "keep_state": False,
}  # fmt: skip
"""Those that have an effect on what is kept, or on when the training ends: see their tests."""
REFUSED = {
    "model": "acme/wider", "model_options": {"width": 5}, "monitor": "iou/c",
    "eval_splits": "val,test", "metrics": "nothing", "optimizer": "kron", "device": "tpu",
    "schedule": "none", "data": "nothing", "scale": 0.5,
}  # fmt: skip
ELSEWHERE = {
    "root", "sample", "recipe", "out", "aux_weight", "drop_path", "step_epochs", "step_gamma",
    "channels_last", "compile", "shard", "workers", "cache", "on_bad_image", "on_nonfinite",
    "save_minutes",
}  # fmt: skip
"""Without an effect on this network and schedule, or on anybody's weights at all."""
MODELS = """
def segzoo_models():
    return [
        ModelSpec(name=name, summary="m", build=f"acme.parts:build_{name}", stride=1, options=Opt)
        for name in ("net", "wider")
    ]
from dataclasses import dataclass
from segzoo import option
@dataclass(frozen=True, kw_only=True)
class Opt:
    width: int = option(4, "channels")
@dataclass(frozen=True, kw_only=True)
class DataOpt:
    shift: int = option(0, "of the pixels")
def segzoo_datasets():
    return [DatasetSpec(name="data", summary="d", build="acme.parts:build_data", options=DataOpt)]
"""
CODE = """
class Encoded(Net):
    pretrained = "layers"
    def __init__(self, num_classes, width):
        super().__init__(num_classes)
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.Conv2d(width, 4, 1)
        )
def build_net(*, in_channels, num_classes, options):
    return Encoded(num_classes, options.width)
def build_wider(*, in_channels, num_classes, options):
    return Encoded(num_classes, 6)
class Shifted(Data):
    def __init__(self, split, shift):
        super().__init__({"train": 8, "val": 4, "test": 2}[split])
        self.shift = shift
    def __getitem__(self, index):
        image, labels, key = super().__getitem__(index)
        return image + self.shift, labels, key
def build_data(*, root, split, options):
    return Shifted(split, options.shift)
"""


@pytest.fixture(autouse=True)
def parts(install) -> Any:
    """Install a plugin with a pretrained encoder and a data set with options."""
    install("acme", PLUGIN + MODELS, files={"parts.py": PARTS + CODE})
    return importlib.import_module("acme.parts")


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Return a run folder whose training was stopped in its second epoch of three."""
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        settings: dict[str, Any] = {
            **SETTINGS, "loss": "segzoo/ce", "eval_splits": "val", "out": str(tmp_path / "a"),
            "epochs": 2, "tolerance": 2.0,
        }  # fmt: skip
        with pytest.raises(StoppedError):
            fit(**settings)
    return tmp_path / "a"


def resume(folder: Path, **changes: Any):
    return fit(resume=folder, force=True, progress=False, **changes)


_PLAIN: list[dict[str, torch.Tensor]] = []


def end(folder):
    return {k: v for k, v in saved_tensors(folder).items() if k.startswith("model/")}


def test_every_setting_is_one_of_these():
    known = WEIGHTS.keys() | KEPT.keys() | REFUSED.keys() | ELSEWHERE | HARMLESS
    assert {field.name for field in fields(RunConfig)} <= known


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_takes_effect_on_weights(stopped, tmp_path, caplog, name):
    if not _PLAIN:
        copy = tmp_path / "plain"
        copy.mkdir()
        for path in stopped.rglob("*"):
            if path.is_file():
                (copy / path.relative_to(stopped)).parent.mkdir(exist_ok=True)
                (copy / path.relative_to(stopped)).write_bytes(path.read_bytes())
        resume(copy)
        _PLAIN.append(end(copy))
    resume(stopped, **{name: WEIGHTS[name]})
    assert "going on with another setting: " in caplog.text
    assert read_config(stopped / "config.toml")[name] != getattr(RunConfig(), name)
    weights = end(stopped)
    assert any(not torch.equal(weights[key], _PLAIN[0][key]) for key in weights)
    assert all(torch.isfinite(value.float()).all() for value in weights.values())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(stopped, name):
    before = (stopped / "config.toml").read_bytes()
    with pytest.raises(SegzooError):
        resume(stopped, **{name: REFUSED[name]})
    assert (stopped / "config.toml").read_bytes() == before
    assert fit(resume=stopped, progress=False).epochs == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"monitor": "iou/c"}, "no such score"),
        ({"metrics": "boundary", "monitor": "mean_boundary_iou"}, "do not have this score"),
        ({"eval_splits": "test"}, "epochs so far were not scored on `test`"),
        ({"model": "acme/wider"}, "does not fit this model"),
    ],
)
def test_a_refusal_says_why(stopped, changes, said):
    with pytest.raises(SegzooError, match=said):
        resume(stopped, **changes)


def test_rates_and_decays_are_the_new_ones(stopped):
    rates = []

    class Watch:
        def segzoo_fit_start(self, run):
            rates.extend((g["lr"], g["initial_lr"], g["weight_decay"], g["pretrained"])
                         for g in run.optimizer.param_groups)  # fmt: skip
            rates.append(run.schedule.lr_lambdas[0](run.schedule.last_epoch))

    fit(
        resume=stopped, force=True, progress=False, observers=[Watch()],
        lr=0.5, weight_decay=0.25, encoder_lr=0.1, schedule="constant",
    )  # fmt: skip
    *groups, factor = rates
    assert {g[1] for g in groups if g[3]} == {0.05}
    assert {g[1] for g in groups if not g[3]} == {0.5}
    assert {g[2] for g in groups} == {0.25, 0.0}
    assert all(g[0] == pytest.approx(g[1] * factor) for g in groups)


@pytest.mark.parametrize(
    ("saved", "given", "wanted"),
    [
        ({"size": 16}, {"crop": 8, "scale": 0.5}, {"size": (8, 8), "crop": (8, 8), "scale": 0.5}),
        ({"crop": 16, "scale": 0.5}, {"size": 8}, {"size": (8, 8), "crop": None, "scale": 1.0}),
        ({"crop": 16, "scale": 0.5}, {"crop": 8}, {"size": (8, 8), "crop": (8, 8), "scale": 0.5}),
        ({"crop": 16, "scale": 0.5}, {"crop": "none"}, {"size": (16, 16), "crop": None}),
        ({"crop": 16}, {"scale": 0.5}, {"crop": (16, 16), "scale": 0.5}),
        ({"minutes": 3.0, "epochs": 9}, {"epochs": 12}, {"minutes": 0.0, "epochs": 12}),
        ({"epochs": 9}, {"minutes": 3.0}, {"minutes": 3.0, "epochs": 9}),
        ({"epochs": 9}, {"minutes": 3.0, "epochs": 5}, {"minutes": 3.0, "epochs": 5}),
        ({"model_options": {"width": 5}}, {"model": "unet"}, {"model_options": {}}),
        ({"model_options": {"width": 5}}, {"model": "net"}, {"model_options": {"width": 5}}),
        (
            {"model_options": {"width": 5}},
            {"model": "unet", "model_options": {"depth": 2}},
            {"model_options": {"depth": 2}},
        ),
        ({"data_options": {"shift": 5}}, {"data": "folder"}, {"data_options": {}}),
    ],
)
def test_what_is_given_takes_the_place_of_what_it_excludes(tmp_path, saved, given, wanted):
    config = make_config({"model": "acme/net", "data": "acme/data", **saved})
    (tmp_path / "config.toml").write_text(config_toml(config))
    resumed, _ = resumed_config(tmp_path, given, True)
    assert {name: getattr(resumed, name) for name in wanted} == wanted


def test_epochs_in_the_place_of_minutes_need_no_force(tmp_path):
    config = make_config({"model": "acme/net", "data": "acme/data", "minutes": 3.0})
    (tmp_path / "config.toml").write_text(config_toml(config))
    assert resumed_config(tmp_path, {"epochs": 20}, False)[0].epochs == 20
    with pytest.raises(SegzooError, match=r"minutes: 3.0 -> 4.0"):
        resumed_config(tmp_path, {"minutes": 4.0}, False)


def test_a_recipe_beside_a_resumed_run_is_refused(tmp_path):
    others: list[dict[str, Any]] = [
        {"recipe": "fast"}, {"file": "a.toml"}, {"config": RunConfig()}
    ]  # fmt: skip
    for other in others:
        with pytest.raises(SegzooError, match="takes the run's own settings"):
            fit(resume=tmp_path, **other)


def test_another_optimizer_begins_with_new_moments(stopped, caplog):
    resume(stopped, optimizer="sgd", lr=1e-3)
    assert "sgd begins here, with moments of its own: those of adamw are of no use" in caplog.text
    names = {name.rsplit("/", 1)[-1] for name in saved_tensors(stopped) if "optimizer/" in name}
    assert names == {"momentum_buffer"}
    caplog.clear()
    fit(resume=stopped, epochs=3, progress=False)
    assert "begins here" not in caplog.text


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_an_average_begins_or_ends(stopped, ema):
    resume(stopped, ema=ema)
    state = saved_tensors(stopped)
    assert any(name.startswith("average/") for name in state) == (ema > 0)
    resume(stopped, ema=0.9, epochs=3)
    assert any(name.startswith("average/") for name in saved_tensors(stopped))
    assert load_file(stopped / "best.safetensors")


def test_another_score_chooses_from_all_epochs(stopped):
    result = resume(stopped, monitor="pixel_accuracy", tolerance=0.0)
    assert result.monitor == "pixel_accuracy"
    assert result.best_score == result.scores["val"]["pixel_accuracy"]


def test_a_batch_of_another_size_keeps_the_place_in_the_schedule(stopped, caplog):
    places = []

    class Watch:
        def segzoo_fit_start(self, run):
            places.append(run.schedule.last_epoch / run.steps_per_epoch)
            places.append(run.partial.batches)

    fit(resume=stopped, force=True, progress=False, batch_size=1, observers=[Watch()])
    assert places == [1.25, 0]
    assert "epoch 2, which had been begun, begins anew" in caplog.text


@pytest.mark.parametrize("changes", [{"seed": 3}, {"crop": 8}, {"crop": 8, "scale": 0.5}])
def test_an_epoch_of_other_batches_begins_anew(stopped, caplog, changes):
    resume(stopped, **changes)
    assert "epoch 2, which had been begun, begins anew" in caplog.text


def test_other_pictures_are_told_with_force_too(stopped, caplog, monkeypatch, parts):
    real = parts.Shifted.__init__

    def fewer(self, split, shift):
        real(self, split, shift)
        self.keys = self.keys[:6]

    monkeypatch.setattr(parts.Shifted, "__init__", fewer)
    with pytest.raises(SegzooError, match="other pictures.*6 pictures in `train` instead of 8"):
        fit(resume=stopped, progress=False)
    resume(stopped)
    assert "going on with other pictures: 6 pictures in `train` instead of 8" in caplog.text
