"""What is read from a mask file, and what is refused because its form says something else."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.data.images import MASK_FILES, read_mask, read_matte, read_stored_mask
from segzoo.errors import SegzooError

IDS = (np.arange(48).reshape(6, 8) % 3).astype(np.uint8)


def save(tmp_path, picture, name="a.png", **how):
    path = tmp_path / name
    picture.save(path, **how)
    return path


def save_array(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    return tmp_path / "a.npy"


def write_png(path, width, height, bits, colour_type, rows):
    """Write a PNG of a kind that Pillow reads but does not write."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_the_colours_that_indices_show_are_read_with_them(tmp_path, name):
    picture = Image.fromarray(IDS)
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 9, 9, 9])
    stored = read_stored_mask(save(tmp_path, picture, name))
    assert np.array_equal(stored.values.numpy(), IDS)
    assert stored.shown == {0: (0, 0, 0), 1: (200, 0, 0), 2: (0, 200, 0)}
    bits = Image.fromarray(IDS == 1)
    stored = read_stored_mask(save(tmp_path, bits, name))
    assert {tuple(c) for c in stored.shown.values()} <= {(0, 0, 0), (255, 255, 255)}


@pytest.mark.parametrize("optimize", [None, True, False])
@pytest.mark.parametrize("values", [(0, 2, 5), (0, 1, 255), (3, 7, 200), (0, 255)])
def test_a_gif_is_read_by_what_it_shows(tmp_path, values, optimize):
    ids = np.array(values, np.uint8)[IDS % len(values)]
    how = {} if optimize is None else {"optimize": optimize}
    plain = save(tmp_path, Image.fromarray(ids), "a.gif", **how)
    stored = read_stored_mask(plain)
    if values == (0, 255):  # As any picture of black and white, by what it shows.
        assert {stored.shown.get(k, (k,))[0] for k in stored.values.unique().tolist()} == {0, 255}
    else:
        assert np.array_equal(stored.values.numpy(), ids)
        assert not stored.shown
    coloured = Image.fromarray(IDS)
    coloured.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    shown = read_stored_mask(save(tmp_path, coloured, "b.gif", **how))
    assert shown.in_colour  # Which index a writer gave a colour says nothing.
    assert np.array_equal(shown.values.permute(1, 2, 0).numpy(), np.array(coloured.convert("RGB")))


@pytest.mark.parametrize(("bits", "byte"), [(1, 0b01010101), (2, 0b00011011), (4, 0x01)])
def test_greys_of_few_bits_are_ids_that_show_greys(tmp_path, bits, byte):
    path = write_png(tmp_path / "a.png", 8 // bits, 1, bits, 0, [bytes([byte])])
    stored = read_stored_mask(path)
    expected = [byte >> 8 - bits - at & 2**bits - 1 for at in range(0, 8, bits)]
    assert stored.values.flatten().tolist() == expected
    assert stored.shown == {k: (k * 255 // (2**bits - 1),) * 3 for k in set(expected)}


@pytest.mark.parametrize(
    "array",
    [
        *(IDS.astype(kind) for kind in ("u1", "i1", "<i8", ">u2", "u4", "f4", "f8")),
        *(IDS[..., None], np.asfortranarray(IDS)),
    ],
)
def test_arrays_of_whole_numbers_are_masks(tmp_path, array):
    path = save_array(tmp_path, array)
    assert path.suffix in MASK_FILES
    mask = read_mask(path)
    assert np.array_equal(mask.numpy(), IDS)
    assert torch.equal(read_mask(path, path.read_bytes()), mask)


def test_an_array_of_bools_is_black_and_white(tmp_path):
    stored = read_stored_mask(save_array(tmp_path, IDS > 0))
    assert stored.values.unique().tolist() == [0, 1]
    assert stored.shown == {0: (0, 0, 0), 1: (255, 255, 255)}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IDS + 0.5, r"a\.npy: .* values 0.5, 1.5, 2.5, which are not class ids"),
        (np.array([[{}, None]]), r"1 x 2, object, is not a mask"),
        (np.stack([IDS] * 3), r"3 x 6 x 8, uint8, is not a mask\n.*argmax"),
        (IDS.astype(complex), "complex128, is not a mask"),
        (np.zeros((0, 4), int), "0 x 4, int64, is not a mask"),
        (IDS.ravel(), "an array of 48, uint8"),
        (IDS.astype("i8") + 2**40, "not class ids"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    with pytest.raises(SegzooError, match=message):
        read_mask(save_array(tmp_path, array))


def test_damaged_and_boastful_arrays_are_refused(tmp_path):
    whole = save_array(tmp_path, IDS).read_bytes()
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    huge = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    for content in (b"", whole[:7], whole[:-5], b"no array at all", huge, whole[:60]):
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(SegzooError, match=r"b\.npy"):
            read_mask(tmp_path / "b.npy")
    with pytest.raises(SegzooError, match=r"gone\.npy: no such file"):
        read_mask(tmp_path / "gone.npy")


def test_lossy_formats_are_no_masks(tmp_path):
    ids = Image.fromarray(IDS)
    cut_out = Image.merge("RGBA", [ids] * 4)
    for picture, name, how in (
        (ids, "a.jpg", {}),
        (ids, "a.webp", {}),
        (cut_out, "b.webp", {}),
        (ids, "a.tif", {"compression": "jpeg"}),
    ):
        path = save(tmp_path, picture, name, **how)
        with pytest.raises(SegzooError, match=rf"{name} is a .*which changes the ids.*\n.*PNG"):
            read_mask(path)
        with pytest.raises(SegzooError, match="which changes the ids"):
            read_mask(path, path.read_bytes())
    lossless = save(tmp_path, ids, "a.webp", lossless=True)
    assert np.array_equal(read_mask(lossless).numpy(), IDS)


def test_several_frames_or_pages_are_no_mask(tmp_path):
    first, second = Image.fromarray(IDS), Image.fromarray(2 - IDS)
    for name in ("a.gif", "a.tif", "a.png"):
        path = save(tmp_path, first, name, save_all=True, append_images=[second])
        with pytest.raises(SegzooError, match=rf"{name}: .*2 (frames|pages)"):
            read_mask(path)


def test_sixteen_bit_colours_are_not_cut_to_eight(tmp_path):
    for kind, bands in ((2, 3), (6, 4), (4, 2)):
        path = write_png(tmp_path / "a.png", 1, 1, 16, kind, [bytes([0, 7]) * bands])
        with pytest.raises(SegzooError, match=r"a\.png: a mask of 16-bit colours"):
            read_mask(path)


def test_an_alpha_counts_only_where_it_follows_from_the_colours(tmp_path):
    alpha = Image.fromarray(IDS * 100)
    flat = Image.new("L", alpha.size, 7)
    following = Image.merge("RGBA", [alpha, flat, flat, alpha])
    assert read_mask(save(tmp_path, following)).shape == (3, 6, 8)
    for bands, mode in (([flat] * 3, "RGBA"), ([flat], "LA")):
        path = save(tmp_path, Image.merge(mode, [*bands, alpha]))
        with pytest.raises(SegzooError, match="all that this mask holds is its alpha"):
            read_mask(path)
        assert np.array_equal(read_matte(path).numpy(), IDS * 100)
    ids = Image.fromarray(IDS // 2)
    path = save(tmp_path, Image.merge("LA", [ids, alpha]))
    with pytest.raises(SegzooError, match="one colour is transparent at some pixels"):
        read_mask(path)
    opaque = Image.merge("LA", [Image.fromarray(IDS), Image.new("L", alpha.size, 255)])
    assert np.array_equal(read_mask(save(tmp_path, opaque)).numpy(), IDS)


def test_the_matte_of_a_cut_out_is_its_alpha(tmp_path):
    colour = Image.effect_noise((8, 6), 90)
    alpha = Image.fromarray(IDS * 120)
    for name in ("a.png", "a.webp", "a.tif"):
        how = {"lossless": True} if name.endswith("webp") else {}
        path = save(tmp_path, Image.merge("RGBA", [colour] * 3 + [alpha]), name, **how)
        assert np.array_equal(read_matte(path).numpy(), IDS * 120)
    opaque = Image.merge("LA", [colour, Image.new("L", (8, 6), 255)])
    assert np.array_equal(read_matte(save(tmp_path, opaque)).numpy(), np.array(colour))
    palette = Image.fromarray(IDS)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    path = save(tmp_path, palette, transparency=b"\x00\x80\xff")
    data = io.BytesIO(path.read_bytes()).getvalue()
    assert np.array_equal(read_matte(path, data).numpy(), np.array([0, 128, 255])[IDS])


def test_a_bmp_whose_bytes_would_be_read_as_bits_is_refused(tmp_path):
    picture = Image.fromarray(IDS % 2)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    with pytest.raises(SegzooError, match=r"a\.bmp: a BMP of 8 bits with two colours"):
        read_mask(save(tmp_path, picture, "a.bmp"))
    bits = save(tmp_path, Image.fromarray(IDS == 1), "b.bmp")
    assert np.array_equal(read_mask(bits).numpy(), (IDS == 1).astype(np.uint8))
