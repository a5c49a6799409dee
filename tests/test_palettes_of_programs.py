"""Palettes that a program made: their numbers say nothing of the classes."""

import numpy as np
import pytest
from palette_files import COLOURS, LIST, read, truth, write
from PIL import Image
from test_folder import build

from segzoo.errors import SegzooError


def programs(ids, way):
    """Return a colour mask as a program makes a palette picture of it."""
    return way(Image.fromarray(np.array(COLOURS, np.uint8)[ids]))


PROGRAMS = {
    "quantize": lambda picture: picture.quantize(8),
    "frequency": lambda picture: picture.quantize(8, Image.Quantize.FASTOCTREE),
    "adaptive": lambda picture: picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=8),
    "web": lambda picture: picture.convert("P"),
}


def wide(number):
    """Return ids of which most are 1, so that black is not the most frequent colour."""
    ids = np.ones((12, 16), np.uint8)
    ids[:2, : 3 + number % 3], ids[7:9, 3 : 9 + number % 4] = 0, 2
    return ids


@pytest.mark.parametrize("way", PROGRAMS)
def test_indices_that_a_program_numbered_are_no_ids(tmp_path, way):
    root = write(tmp_path, [programs(wide(k), PROGRAMS[way]) for k in range(6)])
    with pytest.raises(SegzooError, match=r"\.png shows .*are not class ids\n.*`0 0 0 name`"):
        build(root)
    with pytest.raises(SegzooError, match="are not class ids"):
        build(root, classes="ground,disc,box")
    (root / "classes.txt").write_text(LIST)
    read(root, wide, classes="classes.txt")
    build(root, palette="index")


@pytest.mark.parametrize("way", PROGRAMS)
def test_black_and_one_colour_need_no_list(tmp_path, way):
    def two(k):
        return (wide(k) == 1).astype(np.uint8)

    built = read(write(tmp_path, [programs(two(k), PROGRAMS[way]) for k in range(6)]), two)
    assert built.resolved_options in ({"palette": "0:#000000,1:#ff0000"}, {})


def test_names_by_index_need_palettes_of_one_order(tmp_path):
    def unlike(k):
        return truth(1) if k < 7 else np.where(truth(1) == 1, 0, truth(1)).astype(np.uint8)

    frequency = PROGRAMS["frequency"]
    masks = [programs(unlike(k), frequency) for k in range(8)]
    root = write(tmp_path, masks)
    with pytest.raises(SegzooError, match=r"07\.png .*the others show them in another order"):
        build(root, classes="ground,disc,box")


@pytest.mark.parametrize(
    ("colours", "options"),
    [
        ([(9, 9, 9), (255, 0, 0), (0, 0, 0)], {"ignore": "2"}),
        ([(9, 9, 9), (255, 0, 0), (0, 0, 0)], {"classes": "sky,disc,void"}),
        ([(9, 9, 9), (255, 0, 0), (0, 0, 0), (0, 255, 0)], {}),
        ([(9, 9, 9), (255, 0, 0), (0, 0, 255)], {}),
        ([(255, 255, 255), (255, 0, 0), (0, 0, 0)], {}),
    ],
    ids=["ignored", "void", "more colours", "no black", "white first"],
)
def test_palettes_of_classes_are_not_taken_for_a_programs(tmp_path, colours, options):
    masks = [Image.fromarray(truth(k)) for k in range(6)]
    for mask in masks:
        mask.putpalette([value for colour in colours for value in colour])
    assert len(build(write(tmp_path, masks), **options)) > 0
