"""The Python API as a script or a notebook meets it."""

import ast
import dataclasses
import inspect
import io
import json
import subprocess
import sys
import tempfile
import types
import typing
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from doc_blocks import DOCS, ROOT, blocks_of
from helpers import run_here
from PIL import Image

import segzoo
from segzoo.config import RunConfig, Size
from segzoo.data.standin import figure
from segzoo.errors import SegzooError
from segzoo.inference import REFINE_SETTINGS, Inference
from segzoo.model import model_record
from segzoo.options import option_infos
from segzoo.prediction import Prediction
from segzoo.settings import FitSettings, InferenceSettings
from segzoo.views import WholeView
from segzoo.weights import read_info, save_weights
from segzoo.weights_info import WeightsInfo

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
    """Write what a run leaves of an untrained network: its weights and its settings."""
    folder = tmp_path_factory.mktemp("api") / "run"
    folder.mkdir()
    torch.manual_seed(0)
    model = segzoo.create_model("unet", model_options=TINY)
    data = {"identity": "segzoo-hk/hk", "version": "0.1.0", "options": {}, "fingerprint": ""}
    info = WeightsInfo(
        model=model_record(model), classes=("background", "person"), data=data,
        palette=((0, 0, 0), (255, 0, 0)), target="labels", ignore_index=255, threshold=127,
        value_range=(0.0, 255.0), mean=(0.5,) * 3, std=(0.5,) * 3, size=(32, 32), epoch=1,
    )  # fmt: skip
    save_weights(folder / "best.safetensors", model, info)
    (folder / "config.toml").write_text('model = "unet"\n')
    return folder


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
        ({"epochs": "many"}, "`epochs` takes int"),
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
        (None, "a path is needed, not NoneType"),
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


def written(picture: Image.Image, kind: str = "PNG") -> bytes:
    """Return a picture as the content of a file."""
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


class OneWay(io.RawIOBase):
    """A file that can only be read on, as a download."""

    def __init__(self, content: bytes) -> None:
        self.inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.inner.readinto(buffer)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_content_of_files_is_read_as_files_are(segmenter, picture, tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{kind.lower()}"
    picture.save(path, **({"exif": exif} if kind != "BMP" else {}))
    content = path.read_bytes()
    expected = segmenter.predict(path)
    assert expected.size == ((101, 75) if kind != "BMP" else (75, 101))
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", content)
    with path.open("rb") as file, zipfile.ZipFile(packed).open("a") as member:
        for same in (
            content, bytearray(content), memoryview(content), io.BytesIO(content), file, member,
            OneWay(content), tempfile_of(content),
        ):  # fmt: skip
            prediction = segmenter.predict(same)
            assert torch.equal(prediction.probability_KHW, expected.probability_KHW)


def tempfile_of(content: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - it goes with the test
    file.write(content)
    file.seek(0)
    return file


async def coming() -> bytes:
    return b""


def test_what_is_no_picture_is_refused_with_what_to_give(segmenter, picture, tmp_path):
    content = written(picture)
    at_its_end = io.BytesIO()
    picture.save(at_its_end, "PNG")
    closed = io.BytesIO(content)
    closed.close()
    upload = types.SimpleNamespace(read=coming, name="a.png")
    pixels = np.asarray(picture)
    for given, told in (
        (b"", "<0 bytes> is empty, not a picture"),
        (b"no picture", "<10 bytes> is not a picture"),
        (content[:200], "<200 bytes> cannot be read"),
        (io.BytesIO(b"no picture"), "<BytesIO> is not a picture"),
        (at_its_end, "nothing is left to read\n.*seek"),
        (closed, "cannot be read: .*closed"),
        (io.StringIO("text"), "opened as text\n.*'rb'"),
        (upload, "a.png: read\\(\\) gives coroutine, not bytes\n.*await"),
        ("https://a.org/b.jpg", "https://a.org/b.jpg is a URL; pictures are not downloaded"),
        ("s3://bucket/b.jpg", "is a URL"),
        ("file:///b.jpg", "is a URL"),
        ("data:image/png;base64,AAAA", "is a URL"),
        (Path("http://a.org/b.jpg"), "is a URL"),
        (tmp_path, "is a folder, not a picture\n.*predict_batch"),
        ("gone.jpg", "gone.jpg: no such file"),
        ([picture, picture], "list is not one picture\n`predict_batch` takes several"),
        (("a.jpg",), "tuple is not one picture\n`predict_batch`"),
        ((p for p in [picture]), "generator is not one picture\n`predict_batch`"),
        ({"image": picture}, "dict is not one picture"),
        (None, "NoneType is no picture\ngive a path"),
        (3, "int is no picture\ngive a path"),
    ):
        with pytest.raises(SegzooError, match=told):
            segmenter.predict(given)
    for given in ("a.jpg", tmp_path, content, picture, pixels, pixels[..., 0], io.BytesIO(content)):
        with pytest.raises(SegzooError, match="is no list of pictures\ngive several"):
            segmenter.predict_batch(given)
    with pytest.raises(SegzooError, match="int is no list of pictures"):
        segmenter.predict_batch(3)


def test_several_pictures_come_in_any_row(segmenter, picture):
    pixels, content = np.asarray(picture), written(picture)
    alone = segmenter.predict(picture).probability_KHW
    rows = [
        [picture, content], (pixels, picture), (p for p in [picture] * 2), np.stack([pixels] * 2),
        torch.from_numpy(np.stack([pixels] * 2)).permute(0, 3, 1, 2),
    ]  # fmt: skip
    for row in rows:
        both = segmenter.predict_batch(row)
        assert len(both) == 2
        for prediction in both:
            assert torch.allclose(prediction.probability_KHW, alone, atol=1e-5)
    assert segmenter.predict_batch([]) == []


def test_a_prediction_has_its_picture(segmenter, picture, tmp_path):
    path = tmp_path / "a.png"
    picture.save(path)
    pixels = np.asarray(picture)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    prediction = segmenter.predict(tensor)
    assert prediction.pixels_CHW.data_ptr() == tensor.data_ptr(), "a copy"
    content = path.read_bytes()
    for make in (
        prediction.overlay,
        prediction.cutout,
        lambda image=None: prediction.before(image, (9, 90, 200)),
    ):
        expected = np.asarray(make())
        assert expected.shape[:2] == (75, 101)
        for same in (path, str(path), picture, pixels, tensor, content, io.BytesIO(content)):
            assert np.array_equal(np.asarray(make(same)), expected)
        with pytest.raises(SegzooError, match="75 x 100 pixels .* the prediction 75 x 101\ngive"):
            make(pixels[:, 1:])
        with pytest.raises(SegzooError, match="101 x 75 pixels"):
            make(picture.rotate(90, expand=True))
        with pytest.raises(SegzooError, match="gone.png: no such file"):
            make("gone.png")
    others = segmenter.predict_batch([path, content])
    assert all(torch.equal(other.pixels_CHW, tensor) for other in others)


def test_backgrounds_come_as_pictures_do(segmenter, picture, tmp_path):
    prediction = segmenter.predict(picture)
    plain = Image.new("RGB", (50, 50), (0, 128, 255))
    plain.save(tmp_path / "b.png")
    expected = np.asarray(prediction.before(background=(0, 128, 255)))
    for same in (
        [0, 128, 255],
        "0,128,255",
        "#0080ff",
        plain,
        tmp_path / "b.png",
        np.asarray(plain),
    ):
        assert np.array_equal(np.asarray(prediction.before(background=same)), expected)
    white = np.asarray(prediction.before(background="white"))
    assert np.array_equal(white, np.asarray(prediction.before()))
    with pytest.raises(SegzooError, match="neither a colour nor a picture"):
        prediction.before(background="whit")


def test_a_prediction_turned_by_its_file_fits_its_file(segmenter, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    prediction = segmenter.predict(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.size == (101, 75)
        assert prediction.overlay(opened).size == prediction.overlay().size == (75, 101)


def test_notebooks_show_the_overlay_small(segmenter, picture):
    prediction = segmenter.predict(picture)
    shown = Image.open(io.BytesIO(prediction._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(prediction.overlay()))
    for size, bounded in (((1200, 300), (800, 200)), ((3, 2000), (1, 800)), ((1, 1), (1, 1))):
        large = segmenter.predict(picture.resize(size))
        with Image.open(io.BytesIO(large._repr_png_())) as opened:
            assert opened.size == bounded
    bare = Prediction(WholeView(torch.full((2, 5, 7), 0.5)), segmenter.info)
    with Image.open(io.BytesIO(bare._repr_png_())) as opened:
        assert opened.size == (7, 5)
    with pytest.raises(SegzooError, match="does not know its picture\ngive the picture"):
        bare.overlay()
    bands = dataclasses.replace(bare, pixels_CHW=torch.zeros(5, 5, 7))
    assert bands._repr_png_()
    with pytest.raises(SegzooError, match="5 channels has no colours"):
        bands.overlay()


def test_values_of_another_range_are_shown_as_colours(segmenter):
    info = dataclasses.replace(segmenter.info, value_range=(0.0, 1.0))
    clear = WholeView(torch.stack([torch.ones(2, 3), torch.zeros(2, 3)]))
    prediction = Prediction(clear, info, torch.full((1, 2, 3), 0.5))
    assert (np.asarray(prediction.overlay()) == 128).all()


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


def python_of(page: Path) -> list[str]:
    """Return a page's blocks of Python that are no part of a plugin."""
    blocks = blocks_of(page.read_text(encoding="utf-8"), "python")
    return [block for block in blocks if "ModelSpec" not in block and "nn.Module" not in block]


@pytest.fixture(scope="module")
def small_fit():
    """Return `segzoo.fit` for documents: what they train is shrunk to seconds."""
    real = segzoo.fit

    def fit(**settings: Any) -> segzoo.RunResult:
        assert set(settings) <= set(inspect.signature(real).parameters)
        small = {"epochs": 1, "size": 32, "workers": 0, "sample": True, "progress": False}
        settings |= {**small, "model_options": {"width": 4}}
        return real(**settings)

    return fit


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return the folder in which what the documents show is tried."""
    return tmp_path_factory.mktemp("desk")


def test_what_the_readme_shows_runs(small_fit, picture, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setattr(segzoo, "fit", small_fit, raising=False)
    picture.save("photo.jpg")
    own, translated = (
        [block for block in python_of(ROOT / readme) if "create_model" in block]
        for readme in ("README.md", "README.zh.md")
    )
    assert len(own) == 1
    assert [ast.dump(ast.parse(block)) for block in own] == [
        ast.dump(ast.parse(block)) for block in translated
    ]
    names: dict[str, Any] = {}
    exec(compile(own[0], "README.md", "exec"), names)
    assert names["logits_BKHW"].shape == (2, 4, 100, 150)
    assert {"photo_mask.png", "photo_cutout.png"} <= {path.name for path in desk.iterdir()}
    printed = capsys.readouterr().out
    assert "boundary_iou" in printed
    assert "(75, 101)" in printed


def test_what_the_tutorial_shows_runs(small_fit, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    if not Path("runs/first").is_dir():
        small_fit(model="linknet", data="portraits", out="runs/first")
    Path("runs/first").rename("runs/linknet")
    names: dict[str, Any] = {}
    for block in python_of(DOCS / "tutorial.md"):
        exec(compile(block, "tutorial.md", "exec"), names)
    assert "torch.Size([1, 4, 20, 36])\nTrue" in capsys.readouterr().out
    assert {"cutout.png", "overlay.jpg", "my_data"} <= {path.name for path in desk.iterdir()}
