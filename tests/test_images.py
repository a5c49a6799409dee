import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.data.images import read_image, read_mask, read_matte
from segzoo.errors import SegzooError

GRADIENT = np.add.outer(np.arange(12) * 8, np.arange(20) * 6).astype(np.uint8)


def save(tmp_path, picture, name="a.png", **how):
    path = tmp_path / name
    picture.save(path, **how)
    return path


def test_rgb_is_read_as_it_is(tmp_path):
    pixels = np.stack([GRADIENT, GRADIENT[::-1], 255 - GRADIENT], axis=2)
    for name in ("a.png", "a.bmp", "a.tif", "a.webp"):
        path = save(tmp_path, Image.fromarray(pixels), name, lossless=True)
        image = read_image(path)
        assert image.dtype == torch.uint8
        assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels), name


def test_grey_is_repeated(tmp_path):
    image = read_image(save(tmp_path, Image.fromarray(GRADIENT)))
    assert image.shape == (3, 12, 20)
    assert np.array_equal(image[2].numpy(), GRADIENT)


def test_only_formats_of_pictures_are_opened(tmp_path):
    # Pillow would start ghostscript for the first of them.
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tmp_path / "a.png").write_bytes(program)
    save(tmp_path, Image.fromarray(GRADIENT), "b.pcx").rename(tmp_path / "b.png")
    save(tmp_path, Image.fromarray(GRADIENT), "c.tga").rename(tmp_path / "c.png")
    texts = ("a.png is a PostScript file", "b.png is not a picture", "c.png is not a picture")
    for text in texts:
        for read in (read_image, read_mask, read_matte):
            with pytest.raises(SegzooError, match=text):
                read(tmp_path / text[:5])


def test_whatever_a_reader_raises_is_told_with_the_file(tmp_path, monkeypatch):
    path = save(tmp_path, Image.fromarray(GRADIENT), "a.tif")

    def fail(*_args, **_how):
        raise IndexError("directory")

    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", fail)
    for read in (read_image, read_mask, read_matte):
        with pytest.raises(SegzooError, match=r"a\.tif cannot be read: IndexError: directory"):
            read(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, name):
    deep = GRADIENT.astype(np.uint16) * 257
    path = save(tmp_path, Image.fromarray(deep), name)
    assert np.array_equal(read_image(path)[0].numpy(), GRADIENT)
    assert np.array_equal(read_matte(path).numpy(), GRADIENT)


def test_alpha_is_dropped(tmp_path):
    pixels = np.dstack([GRADIENT, GRADIENT, GRADIENT, np.zeros_like(GRADIENT)])
    image = read_image(save(tmp_path, Image.fromarray(pixels)))
    assert np.array_equal(image[0].numpy(), GRADIENT)


def test_a_palette_photograph_gives_its_colours(tmp_path):
    colour = Image.new("RGB", (6, 4), (200, 30, 90))
    image = read_image(save(tmp_path, colour.quantize(4)))
    assert image[:, 0, 0].tolist() == [200, 30, 90]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.stack([GRADIENT] * 3, axis=2))
    path = save(tmp_path, picture, name, exif=exif)
    upright = np.rot90(GRADIENT, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    image = read_image(path)
    assert tuple(image.shape[1:]) == upright.shape
    assert np.abs(image[0].numpy().astype(int) - upright).max() < 12


def test_masks_keep_their_values(tmp_path):
    ids = (GRADIENT % 5).astype(np.uint8)
    palette = Image.fromarray(ids)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    assert palette.mode == "P"
    for picture in (Image.fromarray(ids), palette, Image.fromarray(np.stack([ids] * 3, axis=2))):
        mask = read_mask(save(tmp_path, picture))
        assert mask.dtype == torch.uint8
        assert np.array_equal(mask.numpy(), ids)
    bits = read_mask(save(tmp_path, Image.fromarray(ids > 2)))
    assert np.array_equal(bits.numpy(), (ids > 2).astype(np.uint8))
    many = read_mask(save(tmp_path, Image.fromarray(GRADIENT.astype(np.uint16) * 200)))
    assert many.dtype == torch.int32
    assert np.array_equal(many.numpy(), GRADIENT.astype(int) * 200)


def test_masks_of_numbers_that_are_no_ids_are_refused(tmp_path):
    whole = GRADIENT.astype(np.float32) % 7
    mask = read_mask(save(tmp_path, Image.fromarray(whole), "whole.tif"))
    assert np.array_equal(mask.numpy(), whole)
    for value in (0.5, np.nan, np.inf, 3e9):
        whole[3, 4] = value
        path = save(tmp_path, Image.fromarray(whole), "broken.tif")
        with pytest.raises(
            SegzooError, match=rf"broken\.tif: .* the values {re.escape(f'{value:g}')}, "
        ):
            read_mask(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_jpeg_masks_are_refused_by_content(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(GRADIENT % 5).save(path, format="JPEG")
    with pytest.raises(SegzooError, match=f"{name} is a JPEG.*\n.*save masks as PNG"):
        read_mask(path)
    with pytest.raises(SegzooError, match="is a JPEG"):
        read_mask(path, path.read_bytes())
    assert read_matte(path).shape == (12, 20)


def test_a_tiff_compressed_as_jpeg_is_no_mask(tmp_path):
    path = save(tmp_path, Image.fromarray(GRADIENT % 5), "a.tif", compression="jpeg")
    with pytest.raises(SegzooError, match="is a JPEG"):
        read_mask(path)


@pytest.mark.parametrize("read", [read_image, read_mask, read_matte])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, what in (("pipe", "a pipe"), ("link", "a pipe"), ("folder", "a folder")):
        with pytest.raises(SegzooError, match=rf"{name}\.png is {what}, not a picture"):
            read(tmp_path / f"{name}.png")
    with pytest.raises(SegzooError, match="is a device"):
        read(Path("/dev/zero"))


def test_a_colour_mask_keeps_its_channels(tmp_path):
    colour = Image.new("RGB", (6, 4), (200, 30, 90))
    assert read_mask(save(tmp_path, colour)).shape == (3, 4, 6)


@pytest.mark.parametrize("read", [read_image, read_mask, read_matte])
def test_what_is_no_picture_is_named(tmp_path, read):
    path = tmp_path / "text.png"
    path.write_text("no picture at all")
    with pytest.raises(SegzooError, match=r"text\.png is not a picture"):
        read(path)
    with pytest.raises(SegzooError, match=r"gone\.png: no such file"):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_truncated_picture_is_named(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path, Image.fromarray(pixels), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SegzooError, match=name):
        read_image(path)


def claims(width, height, suffix):
    """Return a few bytes that claim to be a picture of that size."""
    if suffix == ".png":
        head = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
        head = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        return b"\x89PNG\r\n\x1a\n" + head + b"\0\0\0\0IDAT5\xaf\x06\x1e\0\0\0\0IEND\xaeB`\x82"
    if suffix == ".bmp":
        return b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6
        )
    return b"P6 %d %d 255\n" % (width, height)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm"])
def test_a_claim_of_too_many_pixels_takes_no_memory(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(claims(65500, 65500, suffix))
    for read in (read_image, read_mask, read_matte):
        with pytest.raises(
            SegzooError, match=r"(?s)a\.\w+ is 65500x65500.*--max-pixels.*SEGZOO_MAX_P"
        ):
            read(path)
    limit = Image.MAX_IMAGE_PIXELS
    path = save(tmp_path, Image.fromarray(GRADIENT), f"b{suffix}")  # 20 x 12
    with pytest.raises(SegzooError, match="20x12"):
        read_image(path, max_pixels=239)
    monkeypatch.setenv("SEGZOO_MAX_PIXELS", "239")
    with pytest.raises(SegzooError, match="20x12"):
        read_image(path)
    assert read_image(path, max_pixels=240).shape == (3, 12, 20)
    monkeypatch.setenv("SEGZOO_MAX_PIXELS", "many")
    with pytest.raises(SegzooError, match="SEGZOO_MAX_PIXELS=many"):
        read_image(path)
    assert limit == Image.MAX_IMAGE_PIXELS  # that of the process is as it was


def test_what_reads_no_picture_does_not_wait_for_torchvision():
    code = (
        "import sys, segzoo.model.weights, segzoo.data.folder.dataset, segzoo.train.layers\n"
        "import segzoo.inference.segmenter\n"
        "print([name for name in ('torchvision', 'torch._dynamo') if name in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "[]\n", told.stdout + told.stderr
