"""Bands beyond the colours and pages beyond the first are refused by name, never lost."""

import re

import numpy as np
import pytest
from PIL import Image
from tiffs import write_tiff

from segzoo.data.images import read_image, read_mask, read_matte
from segzoo.errors import SegzooError

GREY = np.add.outer(np.arange(8) * 8, np.arange(12) * 6).astype(np.uint8)
RGB = np.dstack([GREY, 90 + GREY, 200 - GREY])
EVERY = (read_image, read_mask, read_matte)


def refused(path, text, readers=EVERY):
    for read in readers:
        with pytest.raises(SegzooError, match=text) as caught:
            read(path)
        assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("bands", "tags"),
    [
        (2, {}),
        (2, {"t338": (0,)}),
        (4, {}),  # which Pillow takes for alpha
        (4, {"t338": (0,)}),  # of which Pillow drops the fourth
        (4, {"t338": (0,), "t284": 2}),
        (5, {"t338": (0, 0)}),
        (5, {"t338": (2, 0)}),
        (6, {"t338": (0, 0, 0)}),
        (4, {"t262": 1, "t338": (0, 0, 0)}),
        (7, {"t262": 1}),
        (5, {"t262": 5, "t338": (0,)}),
    ],
)
def test_bands_that_are_no_colours_are_refused(tmp_path, bands, tags):
    array = np.dstack([GREY] * bands)
    path = write_tiff(tmp_path / "a.tif", array, **tags)
    refused(path, rf"a\.tif is a TIFF of {bands} bands of 8 bits")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint32, np.int16])
def test_a_tiff_that_is_not_read_is_said_to_be_one(tmp_path, kind):
    path = write_tiff(tmp_path / "a.tif", RGB.astype(kind))
    bits = np.dtype(kind).itemsize * 8
    refused(path, rf"a TIFF of 3 bands of .*{bits}.*, which is not read; read are grey .*colours")


def test_a_declared_alpha_is_dropped(tmp_path):
    alpha = np.dstack([RGB, 255 - GREY])
    for declared in (1, 2):
        path = write_tiff(tmp_path / f"{declared}.tif", alpha, t338=(declared,))
        image = read_image(path)
        if declared == 2:
            assert np.array_equal(image.permute(1, 2, 0).numpy(), RGB)
    for name in ("a.png", "a.webp", "a.tif", "a.tga", "a.jp2"):
        Image.fromarray(alpha).save(tmp_path / name, lossless=True)
        assert np.array_equal(read_image(tmp_path / name).permute(1, 2, 0).numpy(), RGB), name
    grey = np.dstack([GREY, 255 - GREY])
    for name in ("g.png", "g.tif"):
        Image.fromarray(grey, "LA").save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name)[0].numpy(), GREY), name


def test_four_bands_of_jpeg_2000_need_a_declared_alpha(tmp_path):
    path = tmp_path / "a.jp2"
    Image.fromarray(np.dstack([RGB, GREY])).save(path)
    content = path.read_bytes()
    at = content.index(b"cdef")
    path.write_bytes(content[:at] + b"free" + content[at + 4 :])
    refused(path, r"a\.jp2 is a JPEG 2000 picture of 4 bands", [read_image])
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "a.j2k")
    refused(tmp_path / "a.j2k", "a JPEG 2000 picture of 4 bands", [read_image])


def test_cmyk_is_read(tmp_path):
    white = Image.new("CMYK", (4, 4), (0, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        white.save(tmp_path / name)
        assert read_image(tmp_path / name).unique().tolist() == [255]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.avif", "a.tif"])
def test_films_and_pages_are_refused(tmp_path, name):
    first, second = (Image.fromarray(np.dstack([GREY + value] * 3)) for value in (0, 60))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    what = "a TIFF of 2 pages" if name == "a.tif" else "an animation of 2 pictures"
    text = rf"{re.escape(name)} is {what}; only the first would be read"
    refused(tmp_path / name, text, [read_image, read_matte])
    with pytest.raises(SegzooError, match=re.escape(name)):
        read_mask(tmp_path / name)
    refused_data = (tmp_path / name).read_bytes()
    with pytest.raises(SegzooError, match=what):
        read_image(tmp_path / name, refused_data)
    first.save(tmp_path / name)
    assert read_image(tmp_path / name).shape == (3, 8, 12)


def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path):
    content = write_tiff(tmp_path / "a.tif", GREY, GREY[::2, ::2], t254=0).read_bytes()
    refused(tmp_path / "a.tif", "2 pages", EVERY)
    link = int.from_bytes(content[4:8], "little")
    second = int.from_bytes(content[link + 2 + 12 * content[link] :][:4], "little")
    entry = second + 2
    assert content[entry : entry + 2] == (254).to_bytes(2, "little")
    for purpose in (1, 4):
        changed = content[: entry + 8] + bytes([purpose]) + content[entry + 9 :]
        (tmp_path / "a.tif").write_bytes(changed)
        assert np.array_equal(read_image(tmp_path / "a.tif")[0].numpy(), GREY)


def test_other_views_of_a_phones_photograph_are_left_out(tmp_path):
    one, two = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    one.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[two], quality=95)
    image = read_image(tmp_path / "a.jpg").permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - RGB).max() < 16


def test_modes_of_pillow_come_as_colours(tmp_path):
    for mode in ("YCbCr", "CMYK", "LA", "RGBA", "P", "PA", "1"):
        Image.fromarray(RGB).convert(mode).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif").shape == (3, 8, 12), mode
    Image.fromarray(RGB).quantize(8).save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png").shape == (3, 8, 12)


def test_signed_bytes_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.int8))
    refused(path, "signed numbers")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the damage
def test_a_damaged_directory_is_no_endless_loop(tmp_path):
    content = bytearray(write_tiff(tmp_path / "a.tif", GREY).read_bytes())
    start = int.from_bytes(content[4:8], "little")
    link = start + 2 + 12 * content[start]
    content[link : link + 4] = start.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    assert read_image(tmp_path / "a.tif").shape == (3, 8, 12)
    for place in range(start, link, 3):  # whatever byte is wrong: read, or refused by name
        broken = bytearray(content)
        broken[place] ^= 0xFF
        (tmp_path / "b.tif").write_bytes(broken)
        try:
            read_image(tmp_path / "b.tif")
        except SegzooError as error:
            assert "b.tif" in error.message


def planar(path, pieces):
    """Write a TIFF of three bands one after the other, in so many pieces."""
    height, width, bands = RGB.shape
    stored = b"".join(RGB[..., band].tobytes() for band in range(bands))
    size = len(stored) // pieces
    tags = [
        *((256, [width]), (257, [height]), (258, [8] * bands), (259, [1]), (262, [2])),
        (273, [8 + size * piece for piece in range(pieces)]),
        *((277, [bands]), (278, [height]), (279, [size] * pieces), (284, [2])),
    ]
    at = 8 + len(stored)
    behind = at + 2 + 12 * len(tags) + 4
    table, more = len(tags).to_bytes(2, "little"), b""
    for tag, values in tags:
        data = b"".join(value.to_bytes(4, "little") for value in values)
        if len(data) > 4:
            data, more = (behind + len(more)).to_bytes(4, "little"), more + data
        head = tag.to_bytes(2, "little") + (4).to_bytes(2, "little")
        table += head + len(values).to_bytes(4, "little") + data
    path.write_bytes(b"II*\0" + at.to_bytes(4, "little") + stored + table + bytes(4) + more)
    return path


def test_bands_one_after_the_other_need_a_piece_each(tmp_path):
    image = read_image(planar(tmp_path / "three.tif", 3)).permute(1, 2, 0).numpy()
    assert np.array_equal(image, RGB)
    refused(planar(tmp_path / "one.tif", 1), "in one piece", (read_image, read_matte, read_mask))
