"""Masks that are empty, the same, unlike the others, or of another place or picture, are listed."""

import numpy as np
import pytest
import torch

from segzoo.data.checks.alike import Mark, alike_pairs, grouped
from segzoo.data.checks.edges import misplaced, thumb
from segzoo.data.checks.suspects import Masks, count_parts, inverted
from segzoo.data.sample import DataInfo

COUNT, HEIGHT, WIDTH = 24, 80, 96
INFO = DataInfo(
    identity="acme/x", version="1", classes=("ground", "thing"), palette=(), target="labels",
    ignore_index=255,
)  # fmt: skip


def scene(number, odd_place=False):
    """A picture of an L on noise, each of another place and size, and its mask."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(26, 40), rng.integers(30, 48)
    top, left = rng.integers(4, HEIGHT - height - 4), rng.integers(4, WIDTH - width - 4)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + height, left : left + width // 3] = 1
    mask[top + height * 2 // 3 : top + height, left : left + width] = 1
    image = rng.normal(90, 12, (3, HEIGHT, WIDTH)) + 70 * mask
    return torch.from_numpy(image.clip(0, 255).astype(np.uint8)), torch.from_numpy(mask)


SCENES = [scene(number) for number in range(COUNT)]


def faults(masks, scenes=SCENES):
    pairs = zip([image for image, _ in scenes], masks, strict=True)
    return list(misplaced([thumb(image, mask) for image, mask in pairs], 255))


def with_changed(changes):
    masks = [mask for _, mask in SCENES]
    for place, change in changes.items():
        masks[place] = change(masks[place])
    return masks


def rolled(down, across):
    return lambda mask: torch.roll(mask, (down, across), (0, 1))


ONE = {
    "mirrored left to right": lambda mask: mask.flip(1),
    "mirrored top to bottom": lambda mask: mask.flip(0),
    "turned by 180 degrees": lambda mask: mask.flip(0, 1),
    "moved 8% of the width to the left": rolled(0, 7),
    "moved 9% of the height down": rolled(-7, 0),
}


def test_nothing_is_said_of_good_masks():
    assert faults([mask for _, mask in SCENES]) == []
    noise = [torch.randint(0, 255, image.shape, dtype=torch.uint8) for image, _ in SCENES]
    # Nor of masks that follow no edges at all.
    assert faults([mask for _, mask in SCENES], [(image, None) for image in noise]) == []


@pytest.mark.parametrize("text", ONE)
def test_one_mask_of_another_place_is_found(text):
    (fault,) = faults(with_changed({7: ONE[text]}))
    assert (fault.place, fault.kind.split()[1]) == (7, "mask")
    assert text.split()[0] in fault.text and text.split()[-1] in fault.text


@pytest.mark.parametrize("text", ONE)
def test_all_masks_of_another_place_are_found_at_once(text):
    (fault,) = faults([ONE[text](mask) for _, mask in SCENES])
    assert fault.place is None
    assert f"of {COUNT} masks" in fault.text
    assert text.split()[0] in fault.text and text.split()[-1] in fault.text


def test_square_masks_with_rows_and_columns_exchanged_are_found():
    squares = [(image[:, :, :HEIGHT], mask[:, :HEIGHT]) for image, mask in SCENES]
    (fault,) = faults([mask.T for _, mask in squares], squares)
    assert "rows and columns exchanged" in fault.text


def test_exchanged_masks_name_each_other():
    masks = [mask for _, mask in SCENES]
    masks[3], masks[11] = masks[11], masks[3]
    found = {(fault.kind, fault.place, fault.other) for fault in faults(masks)}
    assert found == {("exchanged mask", 3, 11), ("exchanged mask", 11, 3)}
    (late,) = faults([SCENES[(number + 1) % COUNT][1] for number in range(COUNT)])
    assert late.kind == "exchanged masks" and "1 before its own" in late.text


def suspicions(masks):
    found = Masks(INFO)
    for mask in masks:
        found.add(mask)
    return [(s.kind, s.places) for s in found.suspicions()]


def test_empty_full_and_unlabelled_masks_are_listed():
    assert suspicions([mask for _, mask in SCENES]) == []
    blank = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    changed = with_changed({1: lambda _: blank, 2: lambda _: blank + 1, 4: lambda _: blank + 255})
    assert suspicions(changed) == [("empty mask", [4]), ("empty mask", [1]), ("full mask", [2])]
    many = with_changed({place: lambda _: blank for place in range(9)})
    assert suspicions(many) == [("empty mask", list(range(9)))]  # in one line


def test_the_same_mask_of_several_pictures_is_listed_once():
    same = SCENES[5][1]
    changed = with_changed({8: lambda _: same, 9: lambda _: same})
    assert suspicions(changed) == [("same mask", [5, 8, 9])]


def spotted(mask):
    spots = mask.clone()
    spots[::8, ::8] = 1
    return spots


def dot(mask):
    small = torch.zeros_like(mask)
    small[40:42, 50:52] = 1
    return small


@pytest.mark.parametrize("change", [spotted, dot])
def test_a_mask_unlike_the_others_is_listed(change):
    assert suspicions(with_changed({6: change})) == [("unlike others", [6])]


def test_a_mask_whose_centre_is_far_from_the_others_is_listed():
    middle = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    masks = []
    for number in range(COUNT):
        mask = middle.clone()
        mask[30 + number % 3 : 50, 40 : 60 + number] = 1
        masks.append(mask)
    assert suspicions(masks) == []
    masks[4] = torch.roll(masks[4], 25, 0)
    assert suspicions(masks) == [("unlike others", [4])]


def test_what_many_masks_have_is_usual():
    assert suspicions(with_changed(dict.fromkeys(range(0, COUNT, 4), dot))) == [
        ("same mask", list(range(0, COUNT, 4)))
    ]


def test_exchanged_classes_are_found():
    masks = [np.zeros((64, 64), np.int16) for _ in range(COUNT)]
    for number, mask in enumerate(masks):
        mask[20 + number % 5 : 50, 20:44] = 1
    assert inverted(masks) == []
    masks[3] = 1 - masks[3]
    assert inverted(masks) == [3]


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (["11", "11"], {1: 1}),
        (["101", "010", "101"], {0: 4, 1: 1}),
        (["1010101", "1010101", "1111111"], {0: 3, 1: 1}),
        (["2001", "0000", "1002"], {0: 1, 1: 2, 2: 2}),
    ],
)
def test_parts_hang_together_over_corners(rows, counts):
    found = count_parts(np.array([list(map(int, row)) for row in rows]))
    assert {**found, 0: counts.get(0, found.get(0))} == {**counts, 0: counts.get(0, found.get(0))}


def test_pictures_that_look_alike_in_a_chain_are_one_group():
    rng = np.random.default_rng(0)
    bits = [int(b) for b in rng.integers(0, 2**62, 300)]
    thumbs = [torch.from_numpy(rng.uniform(0, 255, (16, 16)).astype(np.float32)) for _ in bits]
    for place in range(100, 200):  # A film that changes slowly.
        bits[place] = bits[place - 1] ^ (1 << place % 60) ^ (1 << (place * 7) % 60)
        thumbs[place] = thumbs[place - 1] + 4
    pairs = alike_pairs([Mark(b, thumb) for b, thumb in zip(bits, thumbs, strict=True)])
    assert grouped(pairs, len(bits)) == [list(range(99, 200))]
