import numpy as np
import pytest
from PIL import Image

from segzoo.errors import SegzooError
from segzoo.inference import compose
from segzoo.inference.compose import (
    cutout,
    foreground_colours,
    levels,
    parse_background,
    replace_background,
)

RED, BLUE = (200, 40, 30), (20, 60, 220)


def mixed(height=60, width=80):
    """Return a red disc with a soft edge before blue, and its true alpha."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot((y - height / 2) * 80 / width, (x - width / 2) * 80 / width)
    alpha = ((24 - distance) / 8 + 0.5).clip(0, 1).astype(np.float32)
    colours = alpha[..., None] * np.array(RED) + (1 - alpha[..., None]) * np.array(BLUE)
    return colours.round().astype(np.uint8), alpha


def furthest(found, colour, where):
    return np.abs(found.astype(int) - np.array(colour))[where].max(initial=0)


@pytest.mark.parametrize("work_pixels", [10**6, 2500])
def test_the_old_background_is_gone_from_the_edge(work_pixels, monkeypatch):
    monkeypatch.setattr(compose, "WORK_PIXELS", work_pixels)
    pixels, alpha = mixed(120, 160)
    found = foreground_colours(pixels, alpha)
    assert found.dtype == np.uint8
    assert furthest(pixels, RED, alpha > 0.1) > 100
    assert furthest(found, RED, alpha > 0.1) < 25


def test_opaque_pixels_keep_their_value():
    pixels, alpha = mixed()
    pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    opaque = alpha == 1
    assert opaque.any()
    assert np.array_equal(foreground_colours(pixels, alpha)[opaque], pixels[opaque])
    assert np.array_equal(foreground_colours(pixels, np.ones_like(alpha)), pixels)


def test_a_cutout_holds_nothing_of_the_background():
    pixels, alpha = mixed()
    found = np.asarray(cutout(pixels, alpha))
    assert found.shape == (60, 80, 4)
    assert np.array_equal(found[..., 3], (levels(alpha) * 255).round())
    assert furthest(found[..., :3], RED, alpha >= 0) < 60


def test_a_new_background_leaves_no_fringe():
    pixels, alpha = mixed()
    picture = replace_background(pixels, alpha, (0, 0, 0))
    assert picture.mode == "RGB"
    ideal = levels(alpha)[..., None] * np.array(RED)
    assert np.abs(np.asarray(picture) - ideal).max() < 25
    kept = replace_background(pixels, alpha, BLUE)
    assert np.abs(np.asarray(kept).astype(int) - pixels).max() < 25


def test_what_a_network_leaves_over_is_no_veil():
    pixels, alpha = mixed()
    unsure = 0.02 + 0.96 * alpha
    new = np.asarray(replace_background(pixels, unsure, (255, 255, 255)))
    assert (new[alpha == 0] == 255).all()
    assert np.array_equal(new[alpha == 1], pixels[alpha == 1])


def test_levels_stretch_and_keep_the_middle():
    values = levels(np.array([0, 0.05, 0.275, 0.5, 0.95, 1]))
    assert values == pytest.approx([0, 0, 0.25, 0.5, 1, 1])


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 9), (2, 2)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_tiny_and_uniform_pictures(size, value):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = np.full(size, value, np.float32)
    cut = np.asarray(cutout(pixels, alpha))
    assert cut.shape == (*size, 4)
    assert (cut[..., 3] == round(value * 255)).all()
    new = np.asarray(replace_background(pixels, alpha, (1, 2, 3)))
    if value == 0:
        assert (new == (1, 2, 3)).all()
    if value == 1:
        assert np.array_equal(new, pixels)
        assert np.array_equal(cut[..., :3], pixels)


def test_grey_and_rgba_pictures():
    pixels, alpha = mixed()
    grey = pixels[..., 0]
    three = grey[..., None].repeat(3, 2)
    expected = np.asarray(cutout(three, alpha))
    assert np.array_equal(np.asarray(cutout(grey, alpha)), expected)
    assert np.array_equal(np.asarray(cutout(np.dstack([three, grey]), alpha)), expected)


def test_a_picture_behind_covers_and_is_centred():
    pixels, alpha = mixed(40, 40)
    back = Image.new("RGB", (300, 100), (0, 255, 0))
    back.paste((255, 0, 255), (0, 0, 90, 100))  # Cut off: the middle 100 columns remain.
    new = np.asarray(replace_background(pixels, np.zeros_like(alpha), back))
    assert new.shape == (40, 40, 3)
    assert (new == (0, 255, 0)).all()


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("#00ff00", (0, 255, 0)),
        ("#0f0", (0, 255, 0)),
        ("0,128,255", (0, 128, 255)),
        (" 0, 128, 255 ", (0, 128, 255)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
    ],
)
def test_colours_are_read(text, colour):
    assert parse_background(text) == colour


def test_picture_files_are_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "beach.jpg", exif=exif)
    back = parse_background(str(tmp_path / "beach.jpg"))
    assert isinstance(back, Image.Image)
    assert back.size == (20, 30)


@pytest.mark.parametrize(
    "text", ["0,128,256", "whyte", "1,2", "#00ff0080", "", "gone.jpg", "-1,2,3"]
)
def test_other_backgrounds_are_refused(text):
    with pytest.raises(SegzooError, match="--background: .*neither a colour nor") as caught:
        parse_background(text)
    assert f"`{text}`" in caught.value.message
    assert "0,128,255" in caught.value.hint


def test_a_damaged_background_is_named(tmp_path):
    (tmp_path / "bad.png").write_text("x")
    with pytest.raises(SegzooError, match="--background: .*bad.png is not a picture"):
        parse_background(str(tmp_path / "bad.png"))


def test_sizes_must_fit():
    pixels, alpha = mixed()
    with pytest.raises(SegzooError, match="does not fit a picture"):
        cutout(pixels, alpha[1:])
