"""Pictures of more than 8 bits keep their contrast, by a range that is stated or found."""

import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tiffs import write_tiff

from segzoo.data.folder.dataset import build_folder
from segzoo.data.images import read_image, read_matte
from segzoo.data.pictures.value_range import parse_range, usual_range
from segzoo.data.plugin import FolderOptions
from segzoo.errors import SegzooError

GREY = np.add.outer(np.arange(8) * 20, np.arange(12) * 9).astype(np.uint8)  # 0..239


def deep_set(root, kind, times: float = 16, count=4, suffix=".tif"):
    """Write pairs whose pictures hold GREY times a number, in a type of more bits."""
    for index in range(count):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        values = (GREY.astype(np.int64) * times + index).astype(kind)
        path = root / "images" / f"{index}{suffix}"
        if suffix == ".tif":
            write_tiff(path, values)
        else:
            Image.fromarray(values).save(path)
        Image.fromarray((GREY > 100).astype(np.uint8)).save(root / "masks" / f"{index}.png")
    return root


def built(root, split="train", **options):
    return build_folder(root=root, split=split, options=FolderOptions(val=0.25, **options))


@pytest.mark.parametrize(
    ("kind", "times", "highest"),
    [
        (np.uint16, 1, 255),
        (np.uint16, 4, 1023),
        (np.uint16, 16, 4095),
        (np.uint16, 64, 16383),
        (np.uint16, 257, 65535),
        (np.int32, 1, 255),
        (np.int32, 16, 4095),
        (np.uint32, 64, 16383),
        (np.int16, 100, 32767),
    ],
)
def test_the_range_is_that_of_the_usual_depth(tmp_path, kind, times, highest, caplog):
    highest = 65535 if highest == 32767 else highest  # 15 bits are none of the usual
    with caplog.at_level(logging.INFO, logger="segzoo"):
        dataset = built(deep_set(tmp_path, kind, times))
    assert dataset.resolved_options == {"range": f"0,{highest}"}
    assert "4 of 4 pictures looked at have more than 8 bits, with values up to" in caplog.text
    assert f"which are read as 0..{highest} (-O range=LOW,HIGH" in caplog.text
    image = dataset[0].image[0].numpy()
    expected = np.rint((GREY.astype(float) * times + int(dataset.keys[0])) * 255 / highest)
    assert np.abs(image - expected).max() <= 1
    again = built(tmp_path, "val", range=f"0,{highest}")
    assert again.resolved_options == {}


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_one_beyond_the_range_is_refused_with_the_option(tmp_path, suffix):
    root = deep_set(tmp_path, np.uint16, 16, suffix=suffix)
    dataset = built(root, range="0,1023")
    with pytest.raises(SegzooError, match=r"(?s)beyond the range 0\.\.1023.*-O range=0,4095"):
        dataset[0]
    with pytest.raises(SegzooError, match=r"(?s)-O range 12,5.*such as 0,4095"):
        built(root, range="12,5")


def test_floats_need_a_stated_range(tmp_path):
    root = deep_set(tmp_path, np.float32, 1 / 255)
    for index in range(4):
        write_tiff(root / "images" / f"{index}.tif", GREY.astype(np.float32) / 255)
    with pytest.raises(SegzooError, match=r"(?s)holds floats 0\.\.0\.9.*-O range=0,1 "):
        built(root)[0]
    assert np.array_equal(built(root, range="0,1")[0].image[0].numpy(), GREY)


def test_floats_that_are_bytes_and_values_that_are_none(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.float32))
    assert np.array_equal(read_image(path)[0].numpy(), GREY)
    for value, what in ((np.nan, "not numbers"), (np.inf, "not numbers"), (0.5, "holds floats")):
        values = GREY.astype(np.float32)
        values[1, 1] = value
        with pytest.raises(SegzooError, match=rf"a\.tif .*{what}"):
            read_image(write_tiff(path, values))


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_negative_values_need_a_stated_range(tmp_path, kind):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(kind) - 100)
    with pytest.raises(SegzooError, match=r"(?s)values -100\.\.139, and no range.*range=-100,139"):
        read_image(path)
    image = read_image(path, deep_range=(-100, 155))
    assert np.array_equal(image[0].numpy(), GREY)


def test_above_16_bits_needs_a_stated_range(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.int32) * 1000)
    with pytest.raises(SegzooError, match="no range is stated"):
        read_image(path)
    assert np.array_equal(read_image(path, deep_range=(0, 255000))[0].numpy(), GREY)


COLOURS = np.dstack([GREY, 239 - GREY, GREY // 2])


@pytest.mark.parametrize("form", ["png", "ppm", "tiff", "big-endian", "packed"])
def test_16_bit_colours_keep_their_low_bytes(tmp_path, form, caplog):
    deep = COLOURS.astype(np.uint16) * 16
    path = tmp_path / form
    if form == "png":
        path.write_bytes(deep_png(deep))
    elif form == "ppm":
        path.write_bytes(b"P6 12 8 65535\n" + deep.astype(">u2").tobytes())
    else:
        how = {"packed": {"t259": 8}, "big-endian": {"order": ">"}}.get(form, {})
        write_tiff(path, deep, **how)
    image = read_image(path, deep_range=(0, 4080))
    assert np.array_equal(image.permute(1, 2, 0).numpy(), COLOURS)
    assert "sliver" not in caplog.text
    read_image(path)
    assert "a sliver of 0..65535" in caplog.text and "--range 0,4095" in caplog.text


@pytest.mark.parametrize("how", [{"order": ">"}, {"t259": 8}, {"order": ">", "t259": 8}])
def test_16_bit_grey_in_any_order(tmp_path, how):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.uint16) * 257, **how)
    assert np.array_equal(read_image(path)[0].numpy(), GREY)


def deep_png(values):
    """Write H x W x C of 16 bits as PNG, which Pillow does not."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )  # fmt: skip

    height, width, bands = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def test_16_bit_alpha_beside_16_bit_grey_and_colours(tmp_path):
    alpha = (np.arange(96).reshape(8, 12) * 257).astype(np.uint16)
    deep = GREY.astype(np.uint16) * 16
    for bands in ([deep, alpha], [deep, deep, deep, alpha]):
        path = tmp_path / f"{len(bands)}.png"
        path.write_bytes(deep_png(np.dstack(bands)))
        assert np.array_equal(read_image(path, deep_range=(0, 4080))[1].numpy(), GREY)
        assert np.array_equal(read_matte(path).numpy(), np.arange(96).reshape(8, 12))


def test_0_is_white_where_a_tiff_says_so(tmp_path):
    for kind, times in ((np.uint8, 1), (np.uint16, 257)):
        path = write_tiff(tmp_path / "a.tif", (GREY.astype(int) * times).astype(kind), t262=0)
        assert np.array_equal(read_image(path)[0].numpy(), 255 - GREY), kind


def test_a_mixed_set_reads_each_by_its_own_depth(tmp_path, caplog):
    root = deep_set(tmp_path, np.uint16, 16)
    Image.fromarray(GREY).save(root / "images" / "1.tif")
    with caplog.at_level(logging.INFO, logger="segzoo"):
        dataset = build_folder(root=root, split="train", options=FolderOptions(val=0))
    assert "3 of 4 pictures looked at" in caplog.text
    assert "; the other 1 as 0..255" in caplog.text
    images = {key: dataset[index].image[0].numpy() for index, key in enumerate(dataset.keys)}
    assert np.array_equal(images["1"], GREY)
    assert np.abs(images["2"].astype(int) - GREY).max() <= 1


def test_a_set_of_8_bits_is_not_opened(tmp_path, monkeypatch):
    for index in range(3):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(GREY).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(GREY // 200).save(tmp_path / "masks" / f"{index}.png")

    def fail(*_args, **_how):
        raise AssertionError("opened")

    monkeypatch.setattr("segzoo.data.pictures.conventions.opened", fail)
    monkeypatch.setattr("segzoo.data.pictures.headers.opened", fail)
    assert built(tmp_path).resolved_options == {}


def test_a_dark_picture_is_warned_of_once_a_folder(tmp_path, caplog):
    for name in ("a.tif", "b.tif"):
        write_tiff(tmp_path / name, GREY.astype(np.uint16) * 16)
        read_image(tmp_path / name)
    assert caplog.text.count("a sliver of 0..65535") == 1
    caplog.clear()
    (tmp_path / "full").mkdir()
    read_image(write_tiff(tmp_path / "full" / "a.tif", GREY.astype(np.uint16) * 257))
    read_image(write_tiff(tmp_path / "full" / "b.tif", GREY.astype(np.uint16) * 0))
    assert "sliver" not in caplog.text


def test_a_float_matte_is_0_to_1(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY.astype(np.float32) / 255)
    assert np.array_equal(read_matte(path).numpy(), GREY)


def test_ranges_are_parsed_by_form():
    assert parse_range("0,4095", "--range") == parse_range((0, 4095), "range") == (0.0, 4095.0)
    assert parse_range(None, "--range") is None
    for wrong in ("4095", "0..4095", "1,0", "0,0", "a,b", "0,1,2", "0,inf", "nan,1", 4095):
        with pytest.raises(SegzooError, match="such as 0,4095"):
            parse_range(wrong, "--range")
    assert [usual_range(v)[1] for v in (0, 255, 256, 4095, 4096, 65535)] == [
        *(255, 255, 1023, 4095, 16383, 65535)
    ]


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize(("shallow", "said"), [(1, False), (2, True), (5, True), (6, False)])
def test_two_depths_in_one_set_are_said(tmp_path, kind, shallow, said):
    deep_set(tmp_path, kind, 257, count=6)
    deep_set(tmp_path, kind, 16, count=shallow)
    notices = built(tmp_path).notices
    assert any("pictures of two depths" in text for text in notices) == said
    if said:
        assert f"{shallow} of 6 looked at have values up to 382" in notices[0]


def test_a_picture_of_few_bits_in_a_deeper_range_is_not_asked_about(tmp_path):
    deep_set(tmp_path, np.uint16, 257, count=4)
    deep_set(tmp_path, np.uint16, 64, count=3)
    assert built(tmp_path).notices == ()


@pytest.mark.parametrize("values", [(-1, 1), (-0.9, 0.5), (-0.25, 1)])
def test_floats_around_0_are_those_of_minus_1_to_1(tmp_path, values):
    path = write_tiff(tmp_path / "a.tif", np.array([values, values], np.float32))
    with pytest.raises(SegzooError, match=r"-O range=-1,1 "):
        read_image(path)


def test_pictures_beyond_those_looked_at_have_the_same_range(tmp_path, monkeypatch):
    monkeypatch.setattr("segzoo.data.pictures.conventions.MOST_HEADERS", 4)
    monkeypatch.setattr("segzoo.data.folder.dataset.MOST_HEADERS", 4)
    monkeypatch.setattr("segzoo.data.pictures.conventions.MOST_READ", 4)
    root = deep_set(tmp_path, np.uint16, count=20)
    dataset = built(root)
    for index in range(len(dataset)):
        apart = dataset[index].image[0].numpy().astype(int) - GREY
        assert np.abs(apart).max() <= 1
