import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from typer.testing import CliRunner

import segzoo
from segzoo.cli import make_app
from segzoo.data.standin import figure
from segzoo.errors import SegzooError
from segzoo.inference.evaluation import evaluate_weights
from segzoo.inference.files import predict_files
from segzoo.inference.prediction import Prediction
from segzoo.inference.record import FOLDER
from segzoo.inference.settings import Inference
from segzoo.inference.views import WholeView
from segzoo.metrics.pictures import PictureScores


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a small network on the stand-in of hk until it finds the figures."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return segzoo.fit(
        model="unet", data="hk", sample=True, size=64, epochs=20, workers=0, out=out, lr=1e-2,
        batch_size=8, model_options={"width": 8, "depth": 4, "norm": "batch"}, precision="fp32",
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def segmenter(trained):
    return segzoo.load(trained.weights, device="cpu", precision="fp32")


def test_a_new_figure_is_found_at_its_own_size(segmenter):
    image, matte = figure(1000, height=150, width=111)
    found = segmenter.predict(image).mask
    truth = np.asarray(matte) > 0
    assert found.shape == (150, 111)
    assert found.dtype == np.uint8
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_every_kind_of_input_gives_the_same(segmenter, tmp_path):
    image, _ = figure(1000)
    image.save(tmp_path / "a.png")
    pixels = np.asarray(image)
    expected = segmenter.predict(image).alpha
    for same in (
        tmp_path / "a.png", str(tmp_path / "a.png"), pixels,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
    ):  # fmt: skip
        assert np.array_equal(segmenter.predict(same).alpha, expected)
    assert segmenter.predict(pixels[..., 0]).mask.shape == pixels.shape[:2]
    for wrong in (3, np.zeros(4), torch.zeros(2, 2), np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(SegzooError, match="is not a picture|takes 3 channels"):
            segmenter.predict(wrong)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (64, 64), (65, 63)])
def test_any_size_of_picture(segmenter, size):
    prediction = segmenter.predict(np.zeros((*size, 3), np.uint8))
    assert prediction.mask.shape == size
    assert torch.allclose(prediction.probability_KHW.sum(0), torch.ones(size), atol=1e-5)


def test_16_bit_arrays_are_taken(segmenter):
    deep = np.full((30, 20, 3), 200 * 257, dtype=np.uint16)
    same = segmenter.predict((deep // 257).astype(np.uint8)).alpha
    assert np.allclose(segmenter.predict(deep).alpha, same, atol=1e-4)


def test_more_classes_than_a_palette_holds(segmenter, tmp_path):
    probability = torch.zeros(300, 2, 2)
    probability[299] = 1
    prediction = Prediction(WholeView(probability), segmenter.info)
    prediction.mask_image().save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as mask:
        assert np.array(mask).tolist() == [[299, 299], [299, 299]]


def test_the_networks_size_can_be_chosen(segmenter):
    image, _ = figure(1000)
    assert segmenter.predict(image, size="96x72").mask.shape == (96, 72)


def test_files_and_folders_are_segmented(trained, tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    image, _ = figure(1001, height=90, width=60)
    image.save(folder / "a.png")
    image.convert("L").save(folder / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(folder / "deep" / "turned.jpg", exif=exif)
    image.save(folder / "deep" / "plain.bmp")
    (folder / "notes.txt").write_text("no picture")
    written = predict_files(trained.weights, [folder, folder / "a.png"], tmp_path / "out")
    assert len(written) == 4
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*_*.*")}
    stems = ("a", "a_png", "deep/plain", "deep/turned")
    assert names == {
        stem + end for stem in stems for end in ("_mask.png", "_overlay.jpg", "_cutout.png")
    }
    for stem in stems:
        with Image.open(tmp_path / "out" / f"{stem}_mask.png") as mask:
            assert mask.mode == "P"
            assert mask.size == (60, 90)
            assert set(np.unique(np.array(mask))) <= {0, 1}
        with Image.open(tmp_path / "out" / f"{stem}_cutout.png") as cutout:
            assert cutout.mode == "RGBA"
            assert np.array(cutout)[..., 3].max() > 200
        with Image.open(tmp_path / "out" / f"{stem}_overlay.jpg") as overlay:
            assert overlay.size == (60, 90)


def write_figures(folder, count):
    """Write figures of several sizes; returns their paths."""
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        figure(1000 + number, height=70 + 9 * number, width=90 - 8 * number)[0].save(path)
    return paths


def test_a_batch_gives_what_each_picture_gives_alone(segmenter, tmp_path):
    paths = write_figures(tmp_path / "in", 5)
    for settings in ({}, {"flip": True, "scales": "1,1.5"}, {"window": 32}, {"size": "full"}):
        together = segmenter.predict_batch(paths, batch_size=3, **settings)
        for path, prediction in zip(paths, together, strict=True):
            alone = segmenter.predict(path, **settings)
            assert torch.allclose(prediction.probability_KHW, alone.probability_KHW, atol=1e-4)
            assert (prediction.mask != alone.mask).mean() < 1e-3


def test_a_picture_alone_is_enlarged_from_the_logits_of_the_network(segmenter):
    image, _ = figure(1000, height=150, width=111)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    small = functional.interpolate(pixels[None], (64, 64), mode="bilinear", antialias=True)
    logits = functional.interpolate(segmenter.logits(small), (150, 111), mode="bilinear")
    assert torch.equal(segmenter.predict(image).probability_KHW, logits[0].softmax(0))


@pytest.mark.parametrize("settings", [{"flip": True}, {"window": 48}, {"scales": (0.75, 1)}])
def test_figures_are_found_in_every_way(segmenter, settings):
    image, matte = figure(1000, height=96, width=72)
    found, truth = segmenter.predict(image, **settings).mask, np.asarray(matte) > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.6
    plain = segmenter.predict(image).probability_KHW
    assert not torch.equal(segmenter.predict(image, **settings).probability_KHW, plain)


def test_files_in_batches_are_those_of_one_at_a_time(trained, tmp_path):
    folder = tmp_path / "in"
    write_figures(folder, 5)
    masks = []
    for batch_size in (1, 2, 8):
        out = tmp_path / str(batch_size)
        how = Inference(batch_size=batch_size)
        written = predict_files(trained.weights, [folder], out, how=how, precision="fp32")
        assert [Path(files["picture"]).stem for files in written] == list("01234")
        masks.append([np.array(Image.open(files["mask"])) for files in written])
    for others in masks[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(masks[0], others, strict=True))


def test_what_is_written_can_be_chosen(trained, tmp_path):
    (path,) = write_figures(tmp_path / "in", 1)
    prediction = segzoo.load(trained.weights).predict(path)
    kinds = ["alpha", "probability"]
    (files,) = predict_files(trained.weights, [path], tmp_path / "out", save=kinds)
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert names == {"0_alpha.png", "0_probability.npy"}
    with Image.open(files["alpha"]) as alpha:
        assert alpha.mode == "L"
        assert np.abs(np.array(alpha) / 255 - prediction.alpha).max() < 0.003
    probability_KHW = np.load(files["probability"])
    assert probability_KHW.dtype == np.float16
    assert np.abs(probability_KHW - prediction.probability_KHW.numpy()).max() < 0.001
    with pytest.raises(SegzooError, match="did you mean `alpha`"):
        predict_files(trained.weights, [path], tmp_path / "out", save="mask,alfa")


def test_what_comes_before_a_bad_picture_is_written(trained, tmp_path):
    paths = write_figures(tmp_path / "in", 5)
    paths[3].write_text("x")
    for batch_size in (1, 2, 8):
        out = tmp_path / str(batch_size)
        with pytest.raises(SegzooError, match="3.png is not a picture"):
            predict_files(trained.weights, paths, out, how=Inference(batch_size=batch_size))
        assert {path.name for path in out.glob("*_mask.png")} == {f"{n}_mask.png" for n in range(3)}
        assert not list(out.glob(".writing-*"))


def test_a_place_that_cannot_be_written_is_named(trained, tmp_path):
    paths = write_figures(tmp_path / "in", 4)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FOLDER).write_text("a file where the record would be")
    with pytest.raises(SegzooError, match=f"cannot write .*{FOLDER}"):
        predict_files(trained.weights, paths, tmp_path / "out")


def test_an_overlay_is_the_same_in_parts(segmenter, monkeypatch):
    image, _ = figure(1000, height=150, width=111)
    prediction = segmenter.predict(image)
    whole = np.array(prediction.overlay(image))
    monkeypatch.setattr("segzoo.inference.prediction.ROWS_AT_ONCE", 7)
    assert np.array_equal(np.array(prediction.overlay(image)), whole)


def test_bad_pictures_are_named(trained, tmp_path):
    with pytest.raises(SegzooError, match="gone: no such picture"):
        predict_files(trained.weights, [tmp_path / "gone"], tmp_path / "out")
    with pytest.raises(SegzooError, match="no pictures in"):
        predict_files(trained.weights, [tmp_path], tmp_path / "out")
    (tmp_path / "bad.png").write_text("x")
    with pytest.raises(SegzooError, match="bad.png is not a picture"):
        predict_files(trained.weights, [tmp_path / "bad.png"], tmp_path / "out")


def test_evaluate_gives_the_training_s_own_scores(trained):
    scored = evaluate_weights(trained.weights, sample=True, precision="fp32")
    assert scored["pictures"] == 12
    for name, value in scored["scores"].items():
        assert value == pytest.approx(trained.scores["test"][name], abs=1e-6)


def test_evaluate_at_full_size_and_elsewhere(trained, hk_root):
    full = evaluate_weights(trained.weights, sample=True, full_size=True)
    assert full["size"] == "full"
    assert full["scores"]["iou/person"] > 0.8
    small = Inference(size=32)
    other = evaluate_weights(trained.weights, data="hk", root=hk_root, split="train", how=small)
    assert other["pictures"] == 9
    soft = evaluate_weights(trained.weights, data="hk", root=hk_root, options={"matte": "soft"})
    assert soft["scores"]["mad"] < 0.2


def test_evaluate_sees_pictures_in_every_way_that_predict_does(trained, segmenter, hk_root):
    dataset = segzoo.DataSource("hk", root=hk_root).split("test")
    threshold = segmenter.info.threshold
    for how, full_size in (
        (Inference(), True),
        (Inference(flip=True, scales="1,1.5", batch_size=3), True),
        (Inference(window=32), False),
        (Inference(size="full"), False),
    ):
        scored = evaluate_weights(
            trained.weights, root=hk_root, how=how, full_size=full_size, precision="fp32"
        )
        assert (scored["size"], scored["pictures"]) == ("full", 4)
        right = [
            segmenter.predict(sample.image, how).mask == (sample.target.numpy() > threshold)
            for sample in dataset
        ]
        expected = np.concatenate([picture.ravel() for picture in right]).mean()
        assert scored["scores"]["pixel_accuracy"] == pytest.approx(expected, abs=1e-5)


def test_evaluate_averages_at_the_size_of_the_training(trained, hk_root):
    plain = evaluate_weights(trained.weights, root=hk_root, precision="fp32")
    same = Inference(scales=(1, 1))  # not the quick way, with the same result
    averaged = evaluate_weights(trained.weights, root=hk_root, how=same, precision="fp32")
    assert averaged["size"] == plain["size"] == [64, 64]
    assert averaged["scores"] == pytest.approx(plain["scores"], abs=1e-5)
    flipped = evaluate_weights(trained.weights, root=hk_root, how=Inference(flip=True))
    assert flipped["inference"]["flip"]
    assert flipped["scores"] != plain["scores"]


def test_a_model_of_mattes_writes_its_alpha(hk_root, tmp_path):
    result = segzoo.fit(
        model="unet", data="hk", root=hk_root, data_options={"matte": "soft"}, size=32, epochs=1,
        workers=0, model_options={"width": 4, "depth": 2}, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    (path,) = write_figures(tmp_path / "in", 1)
    (files,) = predict_files(result.weights, [path], tmp_path / "out")
    assert list(files) == ["picture", "mask", "overlay", "cutout", "alpha"]


def test_evaluate_refuses_other_classes(trained, folder_root):
    with pytest.raises(SegzooError, match=r"the model has 2 classes .* has 3"):
        evaluate_weights(trained.weights, data="folder", root=folder_root, split="val")


def test_grey_models_take_colour_pictures(tmp_path, install):
    install(
        "acme",
        "from segzoo import DatasetSpec\n"
        "def segzoo_datasets():\n"
        "    return [DatasetSpec(name='grey', summary='s', build='acme.d:build',"
        " classes=('a', 'b'))]\n",
        files={
            "d.py": "import torch\nfrom segzoo import Sample\n"
            "class Grey:\n"
            "    def __len__(self): return 6\n"
            "    def __getitem__(self, i):\n"
            "        image = torch.full((1, 20, 24), 40 * i, dtype=torch.uint8)\n"
            "        return Sample(image, (image[0] > 99).to(torch.uint8), str(i))\n"
            "def build(*, root, split, options): return Grey()\n"
        },
    )
    result = segzoo.fit(
        model="unet", data="grey", size=16, epochs=1, workers=0, out=tmp_path / "run",
        model_options={"width": 4, "depth": 2}, progress=False,
    )  # fmt: skip
    segmenter = segzoo.load(result.weights)
    assert segmenter.info.model["in_channels"] == 1
    assert segmenter.predict(np.zeros((9, 9, 3), np.uint8)).mask.shape == (9, 9)


def test_both_commands_take_the_same_flags(trained, hk_root, photo, tmp_path):
    flags = ["--flip", "--scales", "1,1.5", "--window", "48", "--overlap", "0.25"]
    flags += ["--batch-size", "2", "--precision", "fp32", "--json"]

    def printed(*words):
        result = CliRunner().invoke(make_app(), [*words, *flags], catch_exceptions=False)
        return json.loads(result.stdout)

    weights, out = str(trained.weights), str(tmp_path / "out")
    files = printed("predict", weights, str(photo), "-o", out, "--save", "alpha")
    assert set(files[0]) == {"picture", "alpha"}
    scored = printed("evaluate", weights, "--root", str(hk_root))
    assert scored["inference"] == {
        "size": None, "flip": True, "scales": [1, 1.5], "window": [48, 48], "overlap": 0.25,
        "refine": "auto", "batch_size": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "w", "--window", "9"], "--window 9"),
        (["predict", "w", "p", "-o", "o", "--scales", "0"], "--scales 0"),
        (["predict", "w", "p", "-o", "o", "--save", "masks"], "did you mean `mask`?"),
    ],
)
def test_a_mistyped_flag_is_told_before_anything_is_read(words, told):
    with pytest.raises(SegzooError, match=re.escape(told)):
        CliRunner().invoke(make_app(), words, catch_exceptions=False)


def test_what_is_no_file_is_said(trained, tmp_path, caplog):
    given = tmp_path / "given"
    given.mkdir()
    figure(1)[0].save(given / "a.png")
    (given / "b.png").symlink_to(given / "nowhere.png")
    (given / "c.png").mkdir()
    assert len(predict_files(trained.weights, [given], tmp_path / "out", device="cpu")) == 1
    assert f"left out: links to nothing ({given / 'b.png'})" in caplog.text
    assert "c.png" not in caplog.text


def test_a_table_takes_names_that_are_no_text(tmp_path):
    scores = PictureScores(("a", "\udcff"), {"mad": torch.zeros(2)})
    scores.write(tmp_path / "table.csv")
    assert b"\xff,0.0" in (tmp_path / "table.csv").read_bytes()
