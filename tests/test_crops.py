"""Training on crops of pictures at their own scale, and using what was trained so."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers import run_here, stop_after
from PIL import Image
from safetensors.torch import load_file

import segzoo
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.crops import PICTURES_MIXED, Crops, Recent
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError, StoppedError
from segzoo.inference.evaluation import evaluate_weights
from segzoo.train.config import RunConfig, make_config
from segzoo.train.windowed import Windowed

INFO = DataInfo(
    identity="a/b", version="1", classes=("a", "b"), palette=((0, 0, 0), (255, 0, 0)),
    target="labels", ignore_index=255, options={},
)  # fmt: skip


class Numbered:
    """Pictures whose pixels say where they are: channel 0 the row, 1 the column, 2 the picture."""

    def __init__(self, sizes):
        self.sizes, self.keys, self.read = sizes, [str(n) for n in range(len(sizes))], []

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        self.read.append(index)
        height, width = self.sizes[index]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        image = torch.stack([rows, columns, torch.full_like(rows, index)]).to(torch.uint8)
        return Sample(image, ((rows + columns) % 2).to(torch.uint8), str(index))


class Streamed:
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return (self.data[index] for index in range(len(self.data)))


def batches_of(data, size=(16, 12), each=4, scale=1.0, seed=3, **how):
    crops = Crops(size, scale, each)
    return Batches(
        data, INFO, size=None, batch_size=2, shuffle=True, seed=seed, workers=0, crops=crops, **how
    )


def epoch_of(batches, number, start=0):
    return [batch for batch, _ in batches.with_parts(number, start)]


def test_crops_are_what_lies_there_in_image_and_target():
    batches = batches_of(Numbered([(40, 50), (60, 30), (16, 12)]))
    assert batches.count == 12
    found = epoch_of(batches, 0)
    assert sum(len(batch.keys) for batch in found) == 12
    for batch in found:
        assert batch.images_BCHW.shape[1:] == (3, 16, 12)
        for image, target, key in zip(*batch, strict=True):
            rows, columns, picture = image.int()
            assert (picture == int(key)).all()
            assert (rows[1:] - rows[:-1] == 1).all()
            assert (columns[:, 1:] - columns[:, :-1] == 1).all()
            assert torch.equal(target.int(), (rows + columns) % 2)


def corners(batches, number):
    return [
        (key, *image[:2, 0, 0].tolist())
        for batch in epoch_of(batches, number)
        for image, key in zip(batch.images_BCHW, batch.keys, strict=True)
    ]


def test_an_epoch_is_the_same_whoever_reads_it_and_others_differ():
    sizes = [(40, 50), (60, 30), (33, 44), (50, 50)]
    first = corners(batches_of(Numbered(sizes)), 5)
    again = batches_of(Numbered(sizes))
    corners(again, 2)
    assert corners(again, 5) == first
    assert corners(again, 6) != first
    assert corners(batches_of(Numbered(sizes), seed=4), 5) != first
    left = epoch_of(again, 5, start=3)
    keys = [key for batch in left for key in batch.keys]
    assert keys == [key for key, *_ in first][6:]
    assert len(set(first)) == len(first)
    (worked,) = [
        corners(Batches(
            Numbered(sizes), INFO, size=None, batch_size=2, shuffle=True, seed=3, workers=2,
            crops=Crops((16, 12), 1.0, 4),
        ), 5)
    ]  # fmt: skip
    assert worked == first


def test_every_place_is_seen():
    batches = batches_of(Numbered([(20, 18)]), each=400)
    places = {corner[1:] for corner in corners(batches, 0)}
    assert places == set(itertools.product(range(5), range(7)))


def test_a_picture_is_read_once_for_its_crops():
    data = Numbered([(40, 50)] * 6)
    batches = batches_of(data, each=8)
    data.read.clear()
    epoch_of(batches, 1)
    assert sorted(data.read) == list(range(6))


@pytest.mark.parametrize("size", [(5, 40), (40, 5), (7, 3), (1, 1)])
def test_what_is_missing_of_a_small_picture_is_mirrored(size):
    (image, target, _), *_ = (
        (batch.images_BCHW[0], batch.target_BHW[0], batch.keys[0])
        for batch in epoch_of(batches_of(Numbered([size]), each=2), 0)
    )
    assert image.shape == (3, 16, 12)
    rows, columns, _ = image.int()
    assert torch.equal(target.int(), (rows + columns) % 2)
    assert int((rows[1:] - rows[:-1]).abs().max()) <= 1
    assert int(columns.max()) < size[1]
    assert int(rows.max()) < size[0]


def test_pictures_are_shown_at_a_scale():
    crops = Crops.covering((16, 16), 0.5, (64, 96))
    assert crops.each == 6
    assert crops.shown(torch.zeros(3, 64, 96)) == (32, 48)
    assert Crops.covering((64, 64), 1.0, (20, 20)).each == 1
    assert Crops.covering((64, 64), 1.0, None).each == 1


def test_streams_give_a_crop_of_each_picture():
    batches = batches_of(Streamed(Numbered([(40, 50), (60, 30), (33, 44), (20, 20)])))
    found = epoch_of(batches, 0)
    assert [batch.images_BCHW.shape for batch in found] == [(2, 3, 16, 12)] * 2
    assert corners(batches, 0) != corners(batches, 1)


def test_the_order_goes_through_a_few_pictures_at_a_time():
    crops, pictures = Crops((8, 8), 1.0, 5), np.random.default_rng(0).permutation(40)
    order = crops.ordered(pictures, 7)
    assert sorted(order) == list(range(200))
    for at in range(0, 200, 5 * PICTURES_MIXED):
        part = order[at : at + 5 * PICTURES_MIXED] // 5
        assert set(part) == set(pictures[at // 5 : at // 5 + PICTURES_MIXED])


def test_what_is_kept_of_pictures_is_bounded():
    recent = Recent(most_bytes=100)
    sample = Sample(torch.zeros(1, 6, 6, dtype=torch.uint8), torch.zeros(6, 6), "a")
    for key in range(5):
        recent.put(key, sample)
        assert recent.get(key) is sample
        assert len(recent.samples) == 1
    assert not recent.__getstate__()["samples"]


class Bright(torch.nn.Module):
    def forward(self, images_BCHW):
        assert images_BCHW.shape[-2:] == (16, 12)
        value_B1HW = images_BCHW[:, :1] - 0.5
        return torch.cat([-value_B1HW, value_B1HW], 1)


def test_windows_give_logits_at_the_pictures_size():
    whole = Windowed(Bright(), window=(16, 12), scale=1.0, classes=2, batch_size=2)
    image = torch.rand(1, 3, 40, 30)
    expected = torch.cat([0.5 - image[:, :1], image[:, :1] - 0.5], 1).softmax(1)
    torch.testing.assert_close(whole(image).softmax(1), expected)
    half = Windowed(Bright(), window=(16, 12), scale=0.5, classes=2, batch_size=2)
    assert half(image).shape == (1, 2, 40, 30)


def test_settings_of_crops():
    config = make_config({"crop": "48x64"}, recipe="tutorial")
    assert config.crop == config.size == (48, 64)
    assert make_config({"crop": "none"}).crop is None
    assert make_config({"crop": 64, "size": 64}).size == (64, 64)
    with pytest.raises(SegzooError, match="--size 32x32 and --crop 64x64"):
        make_config({"crop": 64, "size": 32})
    assert make_config({"crop": "none", "size": 64}).size == (64, 64)
    with pytest.raises(SegzooError, match=r"--scale 0.5 without --crop"):
        make_config({"scale": 0.5})
    with pytest.raises(SegzooError, match=r"--scale 0.5 without --crop"):
        make_config({"scale": 0.5, "size": 64})
    assert RunConfig(crop=(8, 9)).size == (8, 9)


def test_a_flag_takes_the_place_of_what_a_file_says(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("crop = 64\nscale = 0.5\n")
    assert make_config({}, file=file).crop == (64, 64)
    config = make_config({"size": 32}, file=file)
    assert (config.size, config.crop, config.scale) == ((32, 32), None, 1.0)
    file.write_text("size = 64\n")
    assert make_config({"crop": 32, "scale": 0.5}, file=file).size == (32, 32)


def textures(root, count=10):
    """Write pictures of stripes a pixel wide, lying in the one class and standing in the other."""
    for n in range(count):
        rng = np.random.default_rng(n)
        rows, columns = np.indices((int(rng.integers(72, 100)), int(rng.integers(72, 100))))
        standing = rows > columns + rng.integers(-30, 30)
        stripes = np.where(standing, columns, rows) % 2 * 200
        pixels = np.stack([stripes + rng.integers(0, 40, stripes.shape)] * 3, 2).astype(np.uint8)
        split = "val" if n >= count - 2 else "train"
        for kind, array in (("images", pixels), ("masks", standing.astype(np.uint8))):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / split / kind / f"{n}.png")
    return root


HOW: dict[str, Any] = {
    "model": "unet", "data": "folder", "crop": 32, "workers": 0, "lr": 1e-2, "precision": "fp32",
    "model_options": {"width": 4, "depth": 2, "norm": "batch"}, "progress": False, "ema": 0,
    "device": "cpu", "augment": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return textures(tmp_path_factory.mktemp("textures"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Train on fine texture, of which nothing is left at 32 x 32."""
    out = tmp_path_factory.mktemp("crops") / "run"
    return segzoo.fit(**HOW, root=str(data), epochs=4, out=str(out))


def test_fine_texture_is_learned_and_found_again(trained, data, caplog):
    assert trained.scores["val"]["mean_iou"] > 0.85
    info = segzoo.load(trained.weights).info
    assert info.size == (32, 32)
    assert info.shown is not None
    assert info.shown["crops"]
    assert info.shown["scale"] == 1
    scored = evaluate_weights(trained.weights, root=str(data), split="val", precision="fp32")
    assert scored["scores"]["mean_iou"] == pytest.approx(
        trained.scores["val"]["mean_iou"], abs=1e-5
    )
    assert scored["inference"]["window"] == "auto"
    segmenter = segzoo.load(trained.weights, precision="fp32")
    path = next((data / "val" / "images").iterdir())
    plain = segmenter.predict(path)
    assert torch.equal(plain.probability_KHW, segmenter.predict(path, window=32).probability_KHW)
    assert "as large as it knows" not in caplog.text
    segmenter.predict(path, size=32)
    assert "in crops of 32x32, at their own size" in caplog.text


def test_a_stopped_training_goes_on_exactly(data, tmp_path, monkeypatch):
    how = {**HOW, "root": str(data), "epochs": 2, "augment": "strong"}
    whole = segzoo.fit(**how, out=str(tmp_path / "whole"))
    stop_after(monkeypatch, 23)
    with pytest.raises(StoppedError):
        segzoo.fit(**how, out=str(tmp_path / "stopped"))
    monkeypatch.undo()
    again = segzoo.fit(resume=str(tmp_path / "stopped"), progress=False)
    assert again.scores == whole.scores
    one, two = (load_file(result.weights) for result in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_mattes_are_cropped(tmp_path):
    how: dict[str, Any] = {**HOW, "data": "hk", "data_options": {"matte": "soft"}, "crop": 48}
    result = segzoo.fit(**how, sample=True, scale=0.5, epochs=1, out=str(tmp_path / "run"))
    info = segzoo.load(result.weights).info
    assert info.target == "alpha"
    assert info.shown is not None
    assert info.shown["scale"] == 0.5
    assert segzoo.load(result.weights).predict(np.zeros((50, 70, 3), np.uint8)).mask.shape == (
        50,
        70,
    )


def test_the_command_takes_crops(data, tmp_path):
    words = ["--crop", "24x40", "-o", "width=4", "-o", "depth=2", "--epochs", "1"]
    done = run_here(
        "train", "--model", "unet", "--data", "folder", "--root", str(data), *words,
        "--workers", "0", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "crops of 24x40: " in done.stderr
    assert "disabled observer" not in done.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 1
