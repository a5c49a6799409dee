"""What a script gives to be predicted, and what it does with the prediction."""

import dataclasses
import io
import tempfile
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import untrained_run
from PIL import Image

import segzoo
from segzoo.data.sample import PALETTE_OF_TWO
from segzoo.data.standin import figure
from segzoo.errors import SegzooError
from segzoo.inference.prediction import Prediction
from segzoo.inference.views import WholeView
from segzoo.report.sheet import coloured


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = untrained_run(tmp_path_factory.mktemp("weights") / "run")
    return segzoo.load(folder, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def picture():
    return figure(1000, height=75, width=101)[0]


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
        (None, "^None is not a picture\ngive a path"),
        (3, "int is not a picture\ngive a path"),
    ):
        with pytest.raises(SegzooError, match=told):
            segmenter.predict(given)
    for given in ("a.jpg", tmp_path, content, picture, pixels, pixels[..., 0], io.BytesIO(content)):
        with pytest.raises(SegzooError, match="is not a list of pictures\ngive several"):
            segmenter.predict_batch(given)
    with pytest.raises(SegzooError, match="int is not a list of pictures"):
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


@pytest.mark.parametrize("second", [(200, 30, 30), (128, 0, 0), PALETTE_OF_TWO[1]])
def test_a_class_has_one_colour_wherever_it_is_drawn(segmenter, picture, second):
    prediction = segmenter.predict(picture)
    info = dataclasses.replace(prediction.info, palette=((0, 0, 0), second))
    prediction = dataclasses.replace(prediction, info=info)
    there = prediction.mask == 1
    for drawn in (
        prediction.mask_image().convert("RGB"),
        prediction.overlay(strength=1.0),
        coloured(torch.from_numpy(prediction.mask), info.data_info()),
    ):
        assert there.any()
        assert set(map(tuple, np.asarray(drawn)[there].tolist())) == {second}


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
