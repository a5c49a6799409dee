"""At what scale networks see pictures, and what is said where it is not that of the training."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from helpers import run_here
from PIL import Image

import segzoo
from segzoo.data.loading.sizes import typical_size
from segzoo.data.sample import Sample
from segzoo.errors import SegzooError
from segzoo.inference.scale import ScaleWatch, difference, fitting
from segzoo.inference.settings import Inference
from segzoo.model.description import description_fault


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a network at 32 x 32 on pictures of 128 x 96, shown at 0.29 times their own size."""
    folder = tmp_path_factory.mktemp("scale")
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    for n in range(6):
        pixels = np.random.default_rng(n).integers(0, 255, (128, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "data" / "images" / f"{n}.png")
        mask = (np.indices((128, 96)).sum(0) % 64 < 32).astype(np.uint8) * 255
        Image.fromarray(mask).save(folder / "data" / "masks" / f"{n}.png")
    return segzoo.fit(
        model="unet", data="folder", root=str(folder / "data"), size=32, epochs=1, workers=0,
        model_options={"width": 4, "depth": 2}, out=folder / "run", progress=False,
        precision="fp32",
    ).weights  # fmt: skip


@pytest.fixture(scope="module")
def info(trained):
    return segzoo.load(trained).info


def test_a_weights_file_says_at_what_scale_it_was_trained(trained, info):
    assert info.shown == {
        "pictures": [128, 96],
        "scale": pytest.approx((32 * 32 / (128 * 96)) ** 0.5, abs=1e-5),
        "crops": False,
    }
    printed = run_here("inspect", str(trained)).stdout
    assert "pictures of about 128x96, whole, at 0.289 times their own size" in " ".join(
        printed.split()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"pictures": [128, 96], "scale": 0, "crops": False},
        {"pictures": [128], "scale": 1.0, "crops": False},
        {"pictures": [128, 96], "scale": float("nan"), "crops": False},
        {"pictures": [128, 96], "scale": 1.0, "crops": 1}, [1.0],
    ],
)  # fmt: skip
def test_what_it_says_is_checked(info, wrong):
    assert not description_fault(info.as_dict())
    assert not description_fault({**info.as_dict(), "shown": None})
    older = {name: value for name, value in info.as_dict().items() if name != "shown"}
    assert not description_fault(older)
    assert "`shown`" in description_fault({**info.as_dict(), "shown": wrong})


@pytest.mark.parametrize(
    ("settings", "own", "seen", "factor"),
    [
        ({"window": 32}, (128, 96), (128, 96), "3.46 times as large"),
        ({"size": "full"}, (512, 384), (512, 384), "3.46 times as large"),
        ({"window": 32, "size": 96}, (128, 96), (96, 96), "3 times as large"),
        ({"size": 16}, (128, 96), (16, 16), "0.5 times as large"),
        ({"size": 32, "window": 32}, (128, 96), (32, 32), ""),
        ({"size": "full"}, (32, 32), (32, 32), ""),  # a thumbnail of such a picture
        ({"size": "auto", "window": 32}, (512, 384), (148, 111), ""),
        ({"size": 40}, (128, 96), (40, 40), ""),
    ],
)
def test_another_scale_is_said(info, settings, own, seen, factor):
    said = difference(own, seen, Inference(**settings), info)
    assert (factor in said) if factor else not said
    unknown = dataclasses.replace(info, shown=None)
    by_size = difference(own, seen, Inference(**settings), unknown)
    assert bool(by_size) == (not 32 / 1.5 <= (seen[0] * seen[1]) ** 0.5 <= 32 * 1.5)
    assert "add --size auto" not in by_size
    assert "may see" in by_size or not by_size


def test_it_is_said_once(trained, info, caplog):
    segmenter = segzoo.load(trained, device="cpu", precision="fp32")
    pictures = [np.zeros((128, 96, 3), np.uint8)] * 3
    with caplog.at_level(logging.WARNING, "segzoo"):
        segmenter.predict_batch(pictures, window=32)
        segmenter.predict(pictures[0], window=32)
        assert len(caplog.records) == 1
        assert "leave out --window 32x32, or add --size auto" in caplog.text
        caplog.clear()
        segmenter.predict_batch(pictures)
        segmenter.predict(pictures[0], window=32, size="auto")
        segmenter.predict(pictures[0], size=32, flip=True)
    assert not caplog.records


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["--window", "auto"], True), (["--size", "96"], True), (["--size", "full"], True),
        ([], False), (["--full-size"], False), (["--window", "auto", "--size", "auto"], False),
    ],
)  # fmt: skip
def test_evaluate_says_it_too(trained, words, warned):
    done = run_here("evaluate", str(trained), "--split", "val", *words)
    assert done.returncode == 0, done.stderr
    assert ("times as large as it knows it" in done.stderr) == warned


def test_the_scale_trained_at_is_asked_for(trained, info):
    segmenter = segzoo.load(trained, device="cpu", precision="fp32")
    picture = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    scale = info.shown["scale"]
    size = (round(120 * scale), round(90 * scale))
    expected = segmenter.predict(picture, size=size).probability_KHW
    assert torch.equal(segmenter.predict(picture, size="auto").probability_KHW, expected)
    unknown = dataclasses.replace(info, shown=None)
    with pytest.raises(SegzooError, match="--size auto: the weights file does not say"):
        fitting(Inference(size="auto"), unknown)
    assert ScaleWatch(Inference(), unknown).told


def test_the_typical_size_is_that_of_the_middle_picture(caplog):
    caplog.set_level("INFO", "segzoo")
    sizes = [(9, 9), (8, 30), (700, 2), (20, 20), (5, 5)]

    class Data:
        def __len__(self):
            return len(sizes)

        def __getitem__(self, index):
            if index == 2:
                raise ValueError("damaged")
            return Sample(torch.zeros(3, *sizes[index]), torch.zeros(sizes[index]), "a")

    state = torch.get_rng_state()
    assert typical_size(Data(), 0) == (8, 30)
    assert caplog.text.count("the size of a picture was not found out: ") == 1
    assert typical_size(iter_only(Data()), 0) == (9, 9)
    assert torch.equal(torch.get_rng_state(), state)

    class Nothing(Data):
        def __getitem__(self, index):
            raise OSError

    assert typical_size(Nothing(), 0) is None
    assert caplog.text.count("not found out: OSError") == 5


def iter_only(data):
    class Stream:
        def __iter__(self):
            return (data[index] for index in range(len(data)))

    return Stream()
