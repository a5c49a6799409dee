import numpy as np
import pytest
import torch
from PIL import Image

import segzoo
from segzoo.data.standin import figure
from segzoo.errors import SegzooError
from segzoo.evaluate import evaluate_weights
from segzoo.predict import Prediction
from segzoo.predict_files import predict_files


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a small network on the stand-in of hk until it finds the figures."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return segzoo.fit(
        model="unet", data="hk", sample=True, size=64, epochs=20, workers=0, out=out, lr=1e-2,
        model_options={"width": 8, "depth": 4, "norm": "batch"}, precision="fp32", progress=False,
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
        with pytest.raises(SegzooError, match="no picture|takes 3 channels"):
            segmenter.predict(wrong)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (64, 64), (65, 63)])
def test_any_size_of_picture(segmenter, size):
    prediction = segmenter.predict(np.zeros((*size, 3), np.uint8))
    assert prediction.mask.shape == size
    assert torch.allclose(prediction.probability_KHW.sum(0), torch.ones(size), atol=1e-5)


def test_16_bit_arrays_are_taken(segmenter):
    deep = np.full((30, 20, 3), 200, dtype=np.uint16)
    same = segmenter.predict(deep.astype(np.uint8)).alpha
    assert np.allclose(segmenter.predict(deep).alpha, same, atol=1e-4)


def test_more_classes_than_a_palette_holds(segmenter, tmp_path):
    probability = torch.zeros(300, 2, 2)
    probability[299] = 1
    prediction = Prediction(probability, segmenter.info)
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
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
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
    other = evaluate_weights(trained.weights, data="hk", root=hk_root, split="train", size=32)
    assert other["pictures"] == 9
    soft = evaluate_weights(trained.weights, data="hk", root=hk_root, options={"matte": "soft"})
    assert soft["scores"]["mad"] < 0.2


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
