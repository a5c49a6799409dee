"""Palettes: what indices show is held against what they show in the other masks of a set."""

import random

import numpy as np
import pytest
from palette_files import COLOURS, LIST, grey, palette_mask, read, truth, write
from PIL import Image
from test_folder import build

from segzoo.data.images import read_stored_mask
from segzoo.data.labels.merging import merge_classes, merge_objects
from segzoo.data.labels.palettes import colours_of_classes
from segzoo.data.labels.reading import find_labels
from segzoo.data.opening import DataSource
from segzoo.data.plugin import FolderOptions
from segzoo.data.sample import PALETTE_OF_TWO, voc_palette
from segzoo.errors import SegzooError

GREEN = (0, 128, 0)


BLACK_WHITE = [(0, 0, 0), (255, 255, 255)]


CASES = {  # palettes of the masks, options, and the colours that the classes get
    "by index": ((0, 1, 2), COLOURS, {}, COLOURS[:3]),
    "named": ((0, 1, 2), COLOURS, {"classes": "a,b,c"}, COLOURS[:3]),
    "more named": ((0, 1, 2), COLOURS, {"classes": "a,b,c,d"}, [*COLOURS[:3], (128, 128, 0)]),
    "said": ((0, 1, 2), COLOURS, {"palette": "0:#000000,1:#ff0000,2:#00ff00"}, COLOURS[:3]),
    "whatever they show": ((0, 1, 2), COLOURS, {"palette": "index"}, voc_palette(3)),
    "greys": ((0, 1, 2), [(0, 0, 0), (1, 1, 1), (2, 2, 2)], {}, voc_palette(3)),
    "a class ignored": ((0, 1, 2), COLOURS, {"classes": "a,b,void"}, COLOURS[:2]),
}  # fmt: skip


@pytest.mark.parametrize(("order", "colours", "options", "expected"), CASES.values(), ids=CASES)
def test_classes_have_the_colours_of_the_masks(tmp_path, order, colours, options, expected):
    write(tmp_path, [palette_mask(truth(k), order, colours) for k in range(6)])
    source = DataSource("folder", root=str(tmp_path), options=options)
    assert source.info(source.split("train")).palette == tuple(expected)


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_two_classes_of_numbers_have_bright_colours(tmp_path, values):
    write(
        tmp_path, [grey(np.array(values, np.uint8)[(truth(k) > 0).astype(int)]) for k in range(6)]
    )
    source = DataSource("folder", root=str(tmp_path))
    assert source.info(source.split("train")).palette == PALETTE_OF_TWO


@pytest.mark.parametrize(
    ("reference", "ids", "count", "expected"),
    [
        ({}, {0: 0, 1: 1}, 2, ()),
        ({0: (0, 0, 0), 255: (255, 255, 255)}, {0: 0, 255: 1}, 2, ()),
        ({0: (9, 0, 0), 1: (9, 0, 0)}, {0: 0, 1: 1}, 2, ()),
        ({7: (0, 0, 0), 9: GREEN, 3: (1, 2, 3)}, {7: 1, 9: 0, 3: 255}, 2, (GREEN, (0, 0, 0))),
        ({1: (0, 0, 0), 2: GREEN}, {0: 0, 1: 1, 2: 2}, 3, ((128, 0, 0), (0, 0, 0), GREEN)),
    ],
)  # fmt: skip
def test_colours_of_classes_are_those_of_their_values(reference, ids, count, expected):
    assert colours_of_classes(reference, ids, count) == expected


def test_one_palette_for_all_is_read_by_index(tmp_path):
    built = read(write(tmp_path, [palette_mask(truth(k)) for k in range(6)]))
    assert built.resolved_options == {"palette": "0:#000000,1:#ff0000,2:#00ff00"}


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 2, 1), (2, 1, 0)])
def test_palettes_in_two_orders_are_refused_or_read_by_colour(tmp_path, order):
    half = [palette_mask(truth(k), (0, 1, 2) if k % 2 else order) for k in range(8)]
    root = write(tmp_path / "half", half)
    with pytest.raises(SegzooError, match=r"palettes differ: .*\d\.png shows .*, .*\d\.png shows"):
        build(root)
    (root / "classes.txt").write_text(LIST)
    read(root, classes="classes.txt")
    read(root, palette="0:#000000,1:#ff0000,2:#00ff00")
    build(root, palette="index")
    one = [palette_mask(truth(k), order if k == 5 else (0, 1, 2)) for k in range(8)]
    built = read(write(tmp_path / "one", one))
    assert built._labels
    assert "1 of 8 palettes differ, and are read by colour" in built._labels.said


def test_palettes_of_only_the_colours_in_use_are_not_mixed(tmp_path):
    def cut(k):
        ids = truth(k)
        ids[ids == (1 if k % 2 else 2)] = 0
        return ids

    masks = [palette_mask(cut(k), (0, 2, 1) if k % 2 else (0, 1, 2)) for k in range(6)]
    with pytest.raises(SegzooError, match="palettes differ"):
        build(write(tmp_path, masks))


def test_a_colour_at_two_indices_in_different_masks_is_a_contradiction(tmp_path):
    def mask(k):
        picture = Image.fromarray((truth(k) > 0).astype(np.uint8) * (1 + k % 2))
        picture.putpalette([0, 0, 0, 255, 0, 0, 255, 0, 0])
        return picture

    with pytest.raises(SegzooError, match="palettes differ"):
        build(write(tmp_path, [mask(k) for k in range(6)]))


def test_a_mask_with_another_palette_is_read_by_colour_or_refused_later_too(tmp_path):
    root = write(tmp_path, [palette_mask(truth(k)) for k in range(3)])
    built = build(root, val=0.0)
    palette_mask(truth(1), (2, 0, 1)).save(root / "masks" / "01.png")
    assert np.array_equal(built[1].target.numpy(), truth(1))
    palette_mask(truth(1), (0, 2, 1), [*COLOURS[:2], (9, 9, 99)]).save(root / "masks" / "01.png")
    with pytest.raises(SegzooError, match=r"01\.png: index \d of its palette shows .*\n.*classes"):
        built[1]
    grey_root = write(tmp_path / "grey", [grey(truth(k)) for k in range(3)])
    built = build(grey_root, val=0.0)
    palette_mask(truth(1)).save(grey_root / "masks" / "01.png")
    with pytest.raises(SegzooError, match=r"01\.png has a palette, the other masks .* none"):
        built[1]


@pytest.mark.parametrize(
    ("bits", "name"),
    [
        (lambda ids: Image.fromarray(ids > 0), "1 bit"),
        (
            lambda ids: palette_mask((ids > 0).astype(np.uint8), (1, 0), [COLOURS[0], (255,) * 3]),
            "P",
        ),
        (
            lambda ids: palette_mask((ids > 0).astype(np.uint8), (0, 1), [COLOURS[0], (255,) * 3]),
            "P",
        ),
    ],
)
def test_white_is_foreground_whatever_its_index(tmp_path, bits, name):
    def foreground(k):
        return (truth(k) > 0).astype(np.uint8)

    read(write(tmp_path / "alone", [bits(truth(k)) for k in range(4)]), foreground)
    others = {"0/255": lambda ids: grey((ids > 0).astype(np.uint8) * 255)}
    others["0/1"] = lambda ids: grey((ids > 0).astype(np.uint8))
    others["1 bit"] = lambda ids: Image.fromarray(ids > 0)
    for kind, other in others.items():
        masks = [(bits if k % 2 else other)(truth(k)) for k in range(6)]
        built = read(write(tmp_path / kind.replace("/", "_"), masks), foreground)
        assert len(built.classes) == 2


def test_black_and_white_beside_ids_and_255_is_not_clear(tmp_path):
    void = truth(0).copy()
    void[0] = 255
    root = write(tmp_path, [grey(void), Image.fromarray(truth(1) > 0), grey(void)])
    with pytest.raises(SegzooError, match=r"01\.png shows black and white.*00\.png holds the ids"):
        build(root)


def test_palettes_of_greys_beside_plain_masks(tmp_path):
    greys = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    by_level = [
        palette_mask(truth(k), (2, 0, 1), greys) if k % 2 else grey(truth(k)) for k in range(4)
    ]
    with pytest.raises(SegzooError, match="indices or greys may be meant"):
        build(write(tmp_path / "unclear", by_level))
    steps = [(0, 0, 0), (40, 40, 40), (60, 60, 60)]
    by_index = [
        palette_mask(truth(k), colours=steps) if k % 2 else grey(truth(k)) for k in range(4)
    ]
    read(write(tmp_path / "index", by_index))


def test_other_masks_are_held_against_the_palette_of_the_training(tmp_path):
    trained = build(write(tmp_path / "a", [palette_mask(truth(k)) for k in range(4)]))
    other = write(tmp_path / "b", [palette_mask(truth(k), (2, 0, 1)) for k in range(4)])
    stored = trained.resolved_options
    with pytest.raises(SegzooError, match="black is 1, not the first"):
        build(other)
    assert read(other, **stored).resolved_options == {}
    ids = write(tmp_path / "c", [grey(truth(k)) for k in range(4)])
    read(ids, **stored)
    unlike = write(tmp_path / "d", [palette_mask(truth(k), colours=COLOURS[1:]) for k in range(4)])
    with pytest.raises(SegzooError, match=r"-O palette=index takes indices"):
        build(unlike, **stored)
    read(unlike, palette="index")
    with pytest.raises(SegzooError, match="-O palette=0-red: .* is not an index with a colour"):
        build(other, palette="0-red")


@pytest.mark.parametrize("inverted", [True, False])
def test_masks_that_are_merged_are_set_where_they_are_not_black(tmp_path, inverted):
    order = (1, 0) if inverted else (0, 1)
    paths = []
    for k in (1, 2):
        paths.append(tmp_path / f"{k}.png")
        palette_mask((truth(0) == k).astype(np.uint8), order, BLACK_WHITE).save(paths[-1])
    merged = merge_classes(paths, ["a", "b"], ["a", "b"], None)
    assert np.array_equal(merged.numpy(), truth(0))
    objects = merge_objects(paths)
    assert {objects.shown[int(v)] for v in objects.values.numpy()[truth(0) > 0]} == {
        (255, 255, 255)
    }


POOL = [*COLOURS, (255,) * 3, (1,) * 3, (2,) * 3, (128,) * 3, (224, 224, 192)]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_random_palettes_are_read_by_what_they_show_or_refused(tmp_path, seed, listed):
    draw = random.Random(seed)
    colours = draw.sample(POOL, draw.randint(2, 4))
    every = []
    for number in range(draw.randint(2, 5)):
        ids = np.array([[draw.randrange(len(colours)) for _ in range(5)] for _ in range(4)])
        order = tuple(draw.sample(range(len(colours)), len(colours)))
        as_palette = palette_mask(ids, order if draw.random() < 0.3 else sorted(order), colours)
        mask = as_palette.convert("RGB") if listed and draw.random() < 0.3 else as_palette
        path = tmp_path / f"{number}.{draw.choice(['png', 'gif', 'tif'])}"
        mask.save(path.with_suffix(".png") if mask.mode == "RGB" else path)
        every.append((path.with_suffix(".png") if mask.mode == "RGB" else path, ids))
    lines = [f"{r} {g} {b} class {k}\n" for k, (r, g, b) in enumerate(colours)]
    (tmp_path / "classes.txt").write_text("".join(lines))
    options = FolderOptions(classes="classes.txt" if listed else None)
    try:
        found = find_labels([path for path, _ in every], options, tmp_path, read_stored_mask)
        read = [found.apply(read_stored_mask(path), path).numpy() for path, _ in every]
    except SegzooError:
        assert not listed
        return
    pairs = {(int(a), int(b)) for (_, ids), mask in zip(every, read, strict=True)
             for a, b in zip(ids.flat, mask.flat, strict=True)}  # fmt: skip
    # One colour is one class over all masks, and with a list the one that it says.
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert not listed or all(a == b for a, b in pairs)


def test_the_index_that_differs_is_named(tmp_path):
    other = [COLOURS[0], COLOURS[1], COLOURS[3]]
    masks = [palette_mask(truth(k), colours=other if k == 5 else COLOURS) for k in range(8)]
    built = build(write(tmp_path, masks), val=0.0)
    (fault,) = list(built.faults)
    assert "05.png: index 2 of its palette shows (0, 0, 255); index 2 shows (0, 255, 0)" in str(
        fault
    )
