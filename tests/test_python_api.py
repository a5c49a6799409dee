"""The Python API as a script or a notebook meets it."""

import dataclasses
import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from helpers import run_here, untrained_run

import segzoo
from segzoo.data.standin import figure
from segzoo.errors import SegzooError
from segzoo.inference.keywords import InferenceSettings
from segzoo.inference.settings import REFINE_SETTINGS, Inference
from segzoo.model.weights import read_info
from segzoo.plugins.options import option_infos
from segzoo.size import Size
from segzoo.train.config import RunConfig
from segzoo.train.keywords import FitSettings

TINY = {"width": 4, "depth": 2}
PATH = str | Path | None
ALSO = {
    "crop": Size | int | str | None,
    "root": PATH,
    "out": PATH,
    "range": str | Sequence[float] | None,
    "scales": float | str | Sequence[float],
    "refine": Literal[REFINE_SETTINGS],
    Size: Size | int | str,
    tuple[str, ...]: str | Sequence[str],
    dict[str, Any]: Mapping[str, Any],
}
"""What a field of such a name or type may be given as."""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("api") / "run")


@pytest.fixture(scope="module")
def segmenter(run_folder):
    return segzoo.load(run_folder, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def picture():
    return figure(1000, height=75, width=101)[0]


def test_evaluating_in_python_is_evaluating_on_the_command_line(run_folder, segmenter, hk_root):
    settings = {"data": "hk", "root": hk_root, "metrics": "boundary", "worst": 2}
    scored = segzoo.evaluate(run_folder, **settings, precision="fp32", size=48)
    words = ["--data", "hk", "--root", str(hk_root), "--metrics", "boundary", "--worst", "2"]
    words += ["--precision", "fp32", "--size", "48", "--json"]
    printed = run_here("evaluate", str(run_folder), *words)
    assert json.loads(printed.stdout) == json.loads(json.dumps(scored))
    assert scored["weights"] == str(run_folder / "best.safetensors")
    assert scored.scores is scored["scores"]
    assert scored.scores["mean_iou"] > 0
    assert (scored.pictures, len(scored.worst), scored.unscored) == (4, 2, [])
    assert set(scored.intervals) <= set(scored.scores)
    assert repr(scored).startswith("Evaluation(segzoo-unet/unet on segzoo-hk/hk, test: 4 pictures")
    assert len(repr(scored)) < 300
    assert segzoo.evaluate(segmenter, **settings, size=48) == scored


def test_without_a_test_split_val_is_scored_and_that_is_said(segmenter, tmp_path, caplog):
    for index in range(4):
        for folder, part in zip(
            ("images", "masks"), figure(index, height=32, width=32), strict=True
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            part = part if folder == "images" else part.point([255 * (v > 127) for v in range(256)])
            part.save(tmp_path / folder / f"{index}.png")
    settings: dict[str, Any] = {"data": "folder", "root": tmp_path, "worst": 0}
    scored = segzoo.evaluate(segmenter, **settings)
    assert (scored["split"], scored.pictures) == ("val", 1)
    assert "there is no `test` split: scored is `val`" in caplog.text
    with pytest.raises(segzoo.SegzooError, match="has no `test` split\nthere is: train, val"):
        segzoo.evaluate(segmenter, **settings, split="test")


def test_evaluating_refuses_what_it_cannot_mean(segmenter, hk_root):
    for given, told in (
        ({"device": "cpu"}, "loaded already, on cpu in fp32"),
        ({"flp": True}, "no setting `flp`\ndid you mean `flip`"),
        ({"flip": "yes"}, "--flip takes True or False"),
        ({"batch_size": 1.5}, "--batch-size takes a whole number"),
        ({"overlap": "half"}, "--overlap takes a number"),
        ({"per_picture": hk_root / "scores.xls"}, ".csv"),
    ):
        wrong: dict[str, Any] = {"data": "hk", "root": hk_root, **given}
        with pytest.raises(SegzooError, match=told):
            segzoo.evaluate(segmenter, **wrong)


@pytest.mark.parametrize(
    ("function", "settings", "declared", "not_settings"),
    [
        (lambda: segzoo.fit, FitSettings, RunConfig, {"recipe"}),
        (lambda: segzoo.evaluate, InferenceSettings, Inference, set()),
        (lambda: segzoo.Segmenter.predict, InferenceSettings, Inference, set()),
        (lambda: segzoo.Segmenter.predict_batch, InferenceSettings, Inference, set()),
    ],
)
def test_settings_stand_in_signature_and_help(function, settings, declared, not_settings):
    """A field that is missing in segzoo/settings.py is to be added there."""
    typed = typing.get_type_hints(settings)
    infos = {info.name: info for info in option_infos(declared) if info.name not in not_settings}
    assert list(typed) == list(infos)
    parameters = inspect.signature(function()).parameters
    made = declared()
    text = " ".join(str(function().__doc__).split())
    for name, info in infos.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].annotation == typed[name]
        assert parameters[name].default == getattr(made, name)
        assert f"{name}={getattr(made, name)!r}: {info.help}".replace("  ", " ") in text
        assert info.help
        assert typed[name] == ALSO.get(name, ALSO.get(info.type, info.type)), name
    unpacked = inspect.unwrap(function()).__annotations__["settings"]
    assert typing.get_args(unpacked) == (settings,)


def test_a_setting_that_is_given_reaches_the_training(tmp_path):
    parameters = inspect.signature(segzoo.fit).parameters
    assert list(parameters)[:2] == ["config", "recipe"]
    for given, told in (
        ({"modl": "unet"}, "did you mean `model`"),
        ({"model": torch.nn.Conv2d(3, 2, 1)}, "the name of a registered model, not a module"),
        ({"options": TINY}, "model_options are those of the model"),
        ({"model_options": {"widht": 4}}, "did you mean `width`"),
        ({"epochs": "many"}, "--epochs takes a whole number"),
        ({"root": tmp_path / "gone", "data": "hk"}, "gone"),
    ):
        settings: dict[str, Any] = {"model": "unet", "out": tmp_path / "run", **given}
        with pytest.raises(SegzooError, match=told):
            segzoo.fit(**settings)
    for wrong in ("unet", {"model": "unet"}):
        with pytest.raises(SegzooError, match='settings as keywords: fit\\(model="unet"'):
            segzoo.fit(wrong)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "run").exists()


def test_the_models_options_have_one_name():
    network = segzoo.create_model("unet", model_options=TINY)
    other = segzoo.create_model("unet", options=TINY)
    assert network.options == other.options
    with pytest.raises(SegzooError, match="which are the same"):
        segzoo.create_model("unet", options=TINY, model_options=TINY)
    assert "model_options" in {field.name for field in dataclasses.fields(RunConfig)}


def test_weights_are_a_file_or_the_folder_of_a_run(run_folder, picture, tmp_path, monkeypatch):
    weights = run_folder / "best.safetensors"
    assert read_info(run_folder) == read_info(weights)
    assert segzoo.load(str(run_folder)).path == weights
    assert run_here("inspect", str(run_folder), "--json").returncode == 0
    picture.save(tmp_path / "a.png")
    printed = run_here("predict", str(run_folder), str(tmp_path / "a.png"), "-o", str(tmp_path))
    assert printed.returncode == 0, printed.stderr
    assert (tmp_path / "a_cutout.png").is_file()
    (run_folder / "last").mkdir(exist_ok=True)
    result = dataclasses.make_dataclass("R", ["weights"])(weights)
    monkeypatch.chdir(tmp_path)
    for given, told in (
        ("missing", "missing: no such file\ngive a .safetensors file or the folder of a run"),
        (run_folder / "bets.safetensors", "no such file\ngive one of those there: .*best.safe"),
        (run_folder.parent, "a folder without best.safetensors\ngive one of those there: .*run/b"),
        (run_folder / "last", "a folder without best.safetensors\ngive one of those .*run/best"),
        ("https://a.org/b.safetensors", "a URL, which is not downloaded"),
        ("unet", "the name of a model, which has no weights yet\ntrain it with"),
        (None, "a path is needed, not None"),
        (result, "a path is needed, not R\n.*`.weights`"),
        (str(tmp_path / ("n" * 300)), "File name too long"),
    ):
        with pytest.raises(SegzooError, match=told):
            segzoo.load(given)  # pyright: ignore[reportArgumentType]


def test_names_of_what_is_installed():
    assert {"unet", "linknet", "fcn8s"} <= set(segzoo.list_models())
    assert segzoo.list_models("fcn*s") == ["fcn16s", "fcn32s", "fcn8s"]
    assert "smp-unet" in segzoo.list_models("unet")
    assert "folder" in segzoo.list_datasets()
    assert segzoo.list_models("nothing") == []


def test_two_models_of_one_name_are_listed_in_full(install):
    install(
        "acme",
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='unet', summary='s', build='acme.n:build')]\n",
    )
    names = segzoo.list_models()
    assert {"acme/unet", "segzoo-unet/unet"} <= set(names)
    assert "unet" not in names


def test_names_are_offered_without_importing_torch():
    code = "import segzoo, sys; print(*dir(segzoo), *segzoo.list_models()); "
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert {"evaluate", "fit", "load", "list_models", "unet"} <= set(result.stdout.split())
    assert result.returncode == 0, result.stderr
    with pytest.raises(AttributeError) as caught:
        getattr(segzoo, "laod")  # noqa: B009 - a type checker would see it
    assert (caught.value.name, caught.value.obj) == ("laod", segzoo)  # Python adds the nearest.


def test_objects_say_what_they_are_in_a_line_or_two(
    segmenter, picture, hk_root, folder_root, run_folder
):  # fmt: skip
    source = segzoo.DataSource("hk", root=hk_root, options={"matte": "soft"})
    samples = source.split("test")
    own = segzoo.DataSource("folder", root=folder_root).split("train")
    many = dataclasses.replace(
        segmenter.info, classes=tuple(f"class {n}" for n in range(40)), palette=((0, 0, 0),) * 40
    )
    for value, told in (
        (
            segmenter,
            "Segmenter(segzoo-unet/unet, 2 classes: background, person; trained at 32 x 32",
        ),
        (segmenter.info, "WeightsInfo(segzoo-unet/unet, 3 channels, 2 classes: background, person"),
        (many, "class 0, class 1, class 2, class 3, class 4, ... (40 in all)"),
        (segmenter.predict(picture), "Prediction(75 x 101 pixels, 2 classes: background, person)"),
        (segmenter.model, "SegmentationModel(segzoo-unet/unet, "),
        (source, f"DataSource(segzoo-hk/hk, {hk_root}, matte='soft')"),
        (source.info(samples), "DataInfo(segzoo-hk/hk, alpha, 2 classes: background, person)"),
        (samples[0], "image uint8 3 x "),
        (own, "FolderDataset(6 pictures, labels, 3 classes: "),
        (result_of(run_folder), "mean_iou 0.8000 in epoch 2 of 3; "),
    ):
        assert told in repr(value)
        assert len(repr(value)) < 250 + len(str(hk_root))
        assert "tensor(" not in repr(value)


def result_of(folder: Path) -> segzoo.RunResult:
    return segzoo.RunResult(
        folder=folder, weights=folder / "best.safetensors", model="a/b", data="c/d", parameters=1,
        monitor="mean_iou", best_score=0.8, best_epoch=2, epochs=3, stopped_early=False, scores={},
        seconds=1.0, seconds_per_epoch=1.0, images_per_second=1.0, device="cpu", precision="fp32",
    )  # fmt: skip
