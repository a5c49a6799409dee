"""Palettes and colours beside a list of classes that gives their colours."""

import numpy as np
import pytest
from palette_files import COLOURS, LIST, grey, palette_mask, read, truth, write
from PIL import Image
from test_folder import build

from segzoo.errors import SegzooError


def test_the_colours_of_a_list_count(tmp_path):
    masks = [palette_mask(truth(k), ((0, 1, 2), (2, 0, 1))[k % 2]) for k in range(6)]
    root = write(tmp_path, masks)
    (root / "classes.txt").write_text(LIST)
    built = read(root, classes="classes.txt")
    assert built.classes == ("ground", "disc", "box")
    (root / "classes.txt").write_text("255 0 0 disc\n0 255 0 box\n0 0 0 ground\n")
    read(root, lambda k: np.array([2, 0, 1], np.uint8)[truth(k)], classes="classes.txt")


def test_indices_count_where_no_colour_is_in_the_list(tmp_path):
    ramp = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    root = write(tmp_path, [palette_mask(truth(k), colours=ramp) for k in range(4)])
    (root / "classes.txt").write_text(LIST)
    built = read(root, classes="classes.txt")
    assert built._labels
    assert "palette masks by index" in built._labels.said
    palette_mask(truth(1), (1, 0, 2), ramp).save(root / "masks" / "01.png")
    with pytest.raises(SegzooError, match=r"01\.png"):
        built[1]
    (root / "classes.txt").write_text("9 9 9 ground\n255 0 0 disc\n0 0 0 box\n")
    with pytest.raises(SegzooError, match=r"index \d of its palette shows .*, which is no class's"):
        build(root, classes="classes.txt")


def test_plain_ids_are_ids_of_a_list_with_colours(tmp_path):
    root = write(tmp_path, [grey(truth(k)) for k in range(4)])
    (root / "classes.txt").write_text(LIST)
    assert read(root, classes="classes.txt").classes == ("ground", "disc", "box")


def test_an_index_255_is_void_beside_a_list(tmp_path):
    def void(k):
        ids = truth(k)
        ids[0] = 255
        return ids

    colours = [*COLOURS[:3], *[(7, 7, 7)] * 252, (224, 224, 192)]

    def mask(k):
        picture = Image.fromarray(void(k))
        picture.putpalette([value for colour in colours for value in colour])
        return picture

    root = write(tmp_path, [mask(k) for k in range(4)])
    read(root, void)
    (root / "classes.txt").write_text(LIST)
    read(root, void, classes="classes.txt")


def smooth(ids, colours=COLOURS):
    big = Image.fromarray(np.array(colours, np.uint8)[ids].repeat(4, 0).repeat(4, 1))
    return big.resize((ids.shape[1] * 2, ids.shape[0] * 2), Image.Resampling.BICUBIC)


def test_blended_colours_are_counted_and_every_way_on_works(tmp_path):
    root = write(tmp_path, [smooth(truth(k)) for k in range(4)])
    (root / "classes.txt").write_text(LIST)
    with pytest.raises(
        SegzooError, match=r"\d+ colours, [\d.]+ % .*blended.*4 of the 4 masks"
    ) as info:
        build(root, classes="classes.txt")
    words = info.value.hint.split()
    options = dict(word.split("=") for word in words if "=" in word and "ignore" not in word)
    assert options["colours"] == "nearest"
    big = [truth(k).repeat(2, 0).repeat(2, 1) for k in range(4)]
    nearest = build(root, classes="classes.txt", val=0.0, colours="nearest",
                    tolerance=float(options.get("tolerance") or 96))  # fmt: skip
    ignoring = build(root, classes="classes.txt", val=0.0, colours="ignore")
    for k in range(4):
        assert (nearest[k].target.numpy() == big[k]).mean() > 0.9
        kept = ignoring[k].target.numpy() != 255
        assert np.array_equal(ignoring[k].target.numpy()[kept], big[k][kept])
        assert 0.5 < kept.mean() < 1
    with pytest.raises(SegzooError, match=r"from the nearest class's, with tolerance 5"):
        build(root, classes="classes.txt", colours="nearest", tolerance=5.0)


@pytest.mark.parametrize("tolerance", [12.0, 96.0])
def test_noise_as_of_lossy_pictures_is_taken_for_the_nearest(tmp_path, tolerance):
    def noisy(k):
        noise = np.random.default_rng(k).integers(0, 6, (12, 16, 3))
        return Image.fromarray((np.array(COLOURS)[truth(k)] * 0.97 + noise).astype(np.uint8))

    root = write(tmp_path, [noisy(k) for k in range(4)])
    (root / "classes.txt").write_text(LIST)
    read(root, classes="classes.txt", colours="nearest", tolerance=tolerance)


def test_a_class_that_is_missing_in_the_list_is_told_from_blends(tmp_path):
    table = np.array([*COLOURS[:2], (250, 0, 40)], np.uint8)
    root = write(tmp_path, [Image.fromarray(table[truth(k)]) for k in range(4)])
    (root / "classes.txt").write_text("0 0 0 ground\n255 0 0 disc\n")
    with pytest.raises(SegzooError, match=r"colour \(250, 0, 40\) is no class's .*\nadd it to the"):
        build(root, classes="classes.txt")
    built = build(root, classes="classes.txt", colours="nearest")
    assert "is a class missing" in built.notices[0]
