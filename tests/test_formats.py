"""What is read of the formats there are, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from segzoo.data.images import is_picture, read_image, read_mask, read_matte
from segzoo.data.pictures.formats import FORMATS, SUFFIXES, UNREAD_SUFFIXES, kind_of, unread_format
from segzoo.errors import SegzooError

FLAT = Image.new("RGB", (12, 8), (200, 90, 30))


@pytest.mark.parametrize(
    "name",
    [
        *("a.jpg", "a.jpe", "a.jfif", "a.jpeg", "a.png", "a.webp", "a.bmp", "a.dib", "a.tif"),
        *("a.gif", "a.ppm", "a.pnm", "a.tga", "a.avif", "a.jp2", "a.j2k", "A.PPM"),
    ],
)
def test_formats_are_read(tmp_path, name):
    path = tmp_path / name
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".pnm": "PPM"}
    FLAT.save(path, format=kinds.get(path.suffix.lower()))
    assert kind_of(path) == "picture" and is_picture(path)
    pixels = read_image(path)
    assert pixels.shape == (3, 8, 12)
    assert np.abs(pixels[:, 4, 6].numpy().astype(int) - (200, 90, 30)).max() < 8


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
@pytest.mark.parametrize("plain", [True, False])
def test_netpbm_is_read_in_text_and_in_bytes(tmp_path, mode, plain):
    suffix = {"1": ".pbm", "L": ".pgm", "RGB": ".ppm"}[mode]
    grey = np.arange(96, dtype=np.uint8).reshape(8, 12)
    picture = Image.fromarray(np.dstack([grey] * 3)).convert(mode)
    path = tmp_path / f"a{suffix}"
    picture.save(path)
    if plain:
        numbers = np.array(picture).astype(int).reshape(-1)
        kind, top = {"1": ("P1", ""), "L": ("P2", "255 "), "RGB": ("P3", "255 ")}[mode]
        numbers = 1 - numbers if mode == "1" else numbers
        path.write_text(f"{kind} # text\n12 8 {top}\n" + " ".join(map(str, numbers)))
    expected = np.array(picture.convert("RGB"))
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), expected)


def test_names_tell_what_is_read_and_what_is_not():
    assert {".png", ".jpg", ".jpe", ".jfif", ".tiff", ".ppm", ".tga"} <= SUFFIXES
    assert not SUFFIXES & set(UNREAD_SUFFIXES)
    for name in ("a.cr2", "B.NEF", "c.svg", "d.psd", "e.exr", "f.dcm", "g.mp4", "h.npy", "i.jxl"):
        assert kind_of(name) == kind_of(Path("x") / name) == "unread picture", name
        assert unread_format(name)
    assert unread_format("v.nii.gz") == "NIfTI volume"
    for name in ("a.txt", "b.json", "notes", "c.csv", ".d.png", "._e.png", "f.gz", "g.xml"):
        assert kind_of(name) == "other", name
    if ".heic" not in SUFFIXES:
        assert unread_format("a.HEIC") == "HEIC photograph"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", r"HEIC"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0" * 128 + b"DICM", "a DICOM file"),
        (b"  <svg xmlns=", "a drawing"),
        (b"<html><body>404", "a web page"),
        (b"SIMPLE  =                    T", "a FITS picture"),
    ],
)
def test_content_that_is_not_read_is_named(tmp_path, content, what):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, read_matte):
        for given in (None, content):
            with pytest.raises(SegzooError, match=what) as caught:
                read(path, given)
            assert "a.png" in caught.value.message


def test_heic_without_its_library_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("segzoo.data.pictures.decoding.heif_library", lambda: None)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64)
    monkeypatch.setitem(UNREAD_SUFFIXES, ".heic", "HEIC photograph")
    with pytest.raises(SegzooError, match=r"(?s)a\.heic .*HEIC.*pip install pi-heif"):
        read_image(path)


def test_a_photograph_named_otherwise_is_read_all_the_same(tmp_path):
    for kind in ("PNG", "JPEG", "AVIF", "PPM", "JPEG2000"):
        FLAT.save(tmp_path / "a.png", format=kind)
        assert read_image(tmp_path / "a.png").shape == (3, 8, 12), kind


def test_no_format_that_starts_programs_is_read():
    assert not {"EPS", "PDF", "WMF", "PSD", "ICNS", "FITS"} & set(FORMATS)


@pytest.mark.parametrize("ending", ["heic", "avif"])
def test_a_photograph_of_a_phone_is_read(tmp_path, ending):
    """With a library that writes HEIC, and a Pillow that writes AVIF."""
    path, pixels = tmp_path / f"a.{ending}", np.full((48, 64, 3), (200, 90, 30), np.uint8)
    pixels[:, 32:] = (20, 90, 220)
    if ending == "heic":
        library = pytest.importorskip("pillow_heif", reason="pillow-heif, which writes HEIC")
        library.from_pillow(Image.fromarray(pixels)).save(path, quality=95)
    elif not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    else:
        Image.fromarray(pixels).save(path, quality=95)
    image = read_image(path).permute(1, 2, 0).numpy()
    assert image.shape == pixels.shape
    assert np.abs(image.astype(int) - pixels)[:, [4, 60]].max() < 12
    with pytest.raises(SegzooError, match="which may change the ids in a mask"):
        read_mask(path)
