"""The same picture has the same pixel values however it comes, or is refused with what to give."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiffs import write_tiff

from segzoo.errors import SegzooError
from segzoo.inference.pixels import Reading, as_pixels
from segzoo.inference.settings import Inference

GREY = np.add.outer(np.arange(8) * 20, np.arange(12) * 9).astype(np.uint8)  # 0..239
RGB = np.dstack([GREY, 239 - GREY, GREY // 2])
DEEP = GREY.astype(np.uint16) * 16
TWELVE = Reading(deep_range=(0.0, 4080.0))
STATED = Reading(deep_range=(0.0, 4080.0), stated=True)


def same(image, expected, how=None):
    found = as_pixels(image, how) if how else as_pixels(image)
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), expected)


def refused(image, text, how=None):
    with pytest.raises(SegzooError, match=rf"(?s){text}"):
        as_pixels(image, how) if how else as_pixels(image)


@pytest.mark.parametrize(
    "kind", ["uint8", "int16", "int32", "int64", "uint32", "uint64", "float32", "float64", ">i4"]
)
def test_whole_numbers_0_to_255_are_bytes_whatever_their_type(kind):
    same(RGB.astype(kind), RGB)
    same(GREY.astype(kind), GREY)
    same(RGB.astype(kind)[::-1, ::-1], RGB[::-1, ::-1])
    if kind in ("uint8", "int16", "int32", "int64", "float32", "float64"):
        same(torch.from_numpy(RGB.astype(kind)).permute(2, 0, 1), RGB)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_0_to_1_are_refused_or_stated(kind):
    ones = RGB.astype(kind) / 255
    way = r"the model takes 0\.\.255.*multiply by 255 and give uint8"
    refused(ones, way)
    refused(torch.from_numpy(ones.astype("float32")).permute(2, 0, 1), way)
    if kind != "float16":
        same(ones, RGB, Reading(deep_range=(0.0, 1.0), stated=True))
    same(RGB.astype(kind) * 0, RGB * 0)  # black is black


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (RGB > 100, "is a mask, not a picture"),
        (torch.zeros(3, 4, 4, dtype=torch.bool), "is a mask"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (torch.zeros(3, 0, 5), "no pixels"),
        (np.full((4, 4, 3), np.nan, np.float32), "not numbers"),
        (np.full((4, 4, 3), np.inf), "not numbers"),
        (RGB.astype(np.int16) - 300, r"values -300\.\..*no range is stated"),
        (RGB / 3, "holds floats"),
        (RGB.astype(np.int64) * 1000, "no range is stated"),
        (RGB.astype(complex), "is not a picture"),
        (RGB.astype(object), "is not a picture"),
        (np.zeros((4, 4), "U3"), "is not a picture"),
        (np.zeros((3, 96, 128), np.uint8), r"channels come first: give array\.transpose"),
        (np.zeros((2, 4, 4, 3), np.uint8), "is not a picture"),
        (np.zeros(4, np.uint8), "is not a picture"),
        (np.float32(3), "is not a picture|not one picture"),
        (torch.zeros(2, 3, 4, 4), "give one: images"),
        (torch.zeros(4, 4), "is not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(image, text):
    refused(image, text)


def test_16_bits_are_read_as_from_a_file(tmp_path):
    tiff = write_tiff(tmp_path / "a.tif", DEEP)
    Image.fromarray(DEEP).save(tmp_path / "a.png")
    wide = DEEP.astype(np.int32)
    expected = as_pixels(tiff, TWELVE).numpy()[0]
    assert np.array_equal(expected, GREY)
    for image in (
        *(DEEP, DEEP.astype(">u2"), torch.from_numpy(DEEP)[None], wide, wide.astype(np.int64)),
        *(Image.open(tiff), Image.open(tmp_path / "a.png"), Image.fromarray(DEEP)),
        *(Image.fromarray(wide), (tmp_path / "a.png").read_bytes(), tiff.open("rb")),
    ):
        assert np.array_equal(as_pixels(image, TWELVE).numpy()[0], expected)
    for image in (DEEP * 4, Image.fromarray(DEEP * 4)):
        refused(image, r"beyond the range 0\.\.4080.*range=\(0, 16383\) in Python", TWELVE)
    full = GREY.astype(np.uint16) * 257
    same(full, GREY)
    same(Image.fromarray(full), GREY)


def test_bytes_in_a_wide_type_are_doubtful_where_pictures_are_deep():
    for kind in ("int64", "int32", "float32"):
        refused(RGB.astype(kind), "the model was trained on pictures of 0..4080", TWELVE)
    same(RGB, RGB, TWELVE)
    dark = as_pixels(RGB.astype(np.int64), STATED)
    assert int(dark.max()) == 15


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "PA"])
def test_pillow_pictures_are_as_their_files(tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    path = tmp_path / "a.tif"
    picture.save(path)
    expected = as_pixels(path).numpy()
    for image in (picture, Image.open(path)):
        assert np.array_equal(np.broadcast_to(as_pixels(image).numpy(), expected.shape), expected)


def test_pillow_pictures_lose_nothing_in_silence(tmp_path):
    four = write_tiff(tmp_path / "four.tif", np.dstack([RGB, GREY]))
    refused(Image.open(four), "a TIFF of 4 bands")
    pages = write_tiff(tmp_path / "pages.tif", GREY, 239 - GREY)
    refused(Image.open(pages), "2 pages")
    refused(Image.open(io.BytesIO(pages.read_bytes())), r"2 pages.*picture\.seek")
    second = Image.open(pages)
    second.seek(1)
    same(second.copy(), 239 - GREY)
    cut = tmp_path / "cut.png"
    Image.fromarray(RGB).save(cut)
    cut.write_bytes(cut.read_bytes()[:-40])
    refused(Image.open(cut), "cut.png cannot be read")


def test_an_orientation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.tif"):
        path = tmp_path / name
        Image.fromarray(GREY).save(path, exif=exif)
        for loaded in (False, True):
            with path.open("rb") as file:
                picture = Image.open(file)
                if loaded:
                    picture.load()
                same(picture, np.rot90(GREY, -1))
        unread = as_pixels(Image.open(path))[0].numpy()
        assert np.array_equal(unread, np.rot90(GREY, -1))


def test_a_model_of_other_values_takes_them_as_they_are():
    unit = Reading(value_range=(0.0, 1.0))
    values = RGB.astype(np.float64) / 255
    assert np.allclose(as_pixels(values, unit).numpy(), values.transpose(2, 0, 1))
    assert as_pixels(values, unit).dtype == torch.float32
    refused(RGB, r"the model takes pictures with values 0\.\.1", unit)
    wide = Reading(value_range=(0.0, 65535.0))
    assert float(as_pixels(DEEP, wide).max()) == float(DEEP.max())
    refused(np.full((4, 4, 3), np.nan), "the model takes pictures", unit)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_a_side_of_one_pixel(size):
    same(RGB[: size[0], : size[1]], RGB[: size[0], : size[1]])
    how = Inference(window=64)
    assert how.seen(size, (64, 64), 1, 32) == size
    assert Inference(size="full").seen(size, (64, 64), 1, 32) == size


def test_a_large_picture_is_for_windows():
    assert Inference(window=512).seen((13000, 14000), (64, 64), 1, 32) == (13000, 14000)
    with pytest.raises(SegzooError, match=r"(?s)--size full: 14000x13000 pixels.*--window"):
        Inference(size="full").seen((13000, 14000), (64, 64), 1, 32)


def test_settings_of_reading_are_checked():
    assert Inference(range="0,4095").range == Inference(range=(0, 4095)).range == (0.0, 4095.0)
    wrongs: list[dict[str, Any]] = [{"range": "4095"}, {"range": (5, 1)}, {"max_pixels": 0}]
    wrongs.append({"max_pixels": "1e9"})
    for wrong in wrongs:
        with pytest.raises(SegzooError, match="--range|--max-pixels"):
            Inference(**wrong)
