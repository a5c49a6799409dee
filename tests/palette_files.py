"""Folders of masks with palettes, and what the masks show."""

import numpy as np
from PIL import Image
from test_folder import build

COLOURS = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
LIST = "0 0 0 ground\n255 0 0 disc\n0 255 0 box\n"


def truth(number):
    """Return ids in which each of three classes has another number of pixels."""
    ids = np.zeros((12, 16), np.uint8)
    ids[1:5, 2 : 5 + number % 3], ids[7:9, 3 : 9 + number % 4] = 1, 2
    return ids


def palette_mask(ids, order=(0, 1, 2), colours=COLOURS):
    """Return a palette mask that shows `ids`, index k being the class order[k]."""
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[ids])
    picture.putpalette([value for k in order for value in colours[k]])
    return picture


def grey(ids):
    return Image.fromarray(ids)


def write(root, masks):
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        Image.new("RGB", mask.size, (number, 9, 9)).save(root / "images" / f"{number:02}.png")
        mask.save(root / "masks" / f"{number:02}.png")
    return root


def read(root, expected=truth, **options):
    """Build the data set and compare every mask with the truth."""
    built = build(root, val=0.0, **options)
    for k in range(len(built)):
        assert np.array_equal(built[k].target.numpy(), expected(k)), k
    return built
