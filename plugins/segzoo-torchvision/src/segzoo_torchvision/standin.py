"""Scenes for the sets' stand-ins: discs and boxes of 64 x 80 with ids of one's choice."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from segzoo.data.standin import shapes

HEIGHT, WIDTH = 64, 80


def scene(
    index: int, ids: Sequence[int], border: int | None = None
) -> tuple[Image.Image, Image.Image]:
    """Draw (RGB picture, 8-bit ids of ground, discs and boxes), with `border` around each."""
    picture, drawn = shapes(index, height=HEIGHT, width=WIDTH)
    labels_HW = np.array(ids, np.uint8)[np.asarray(drawn)]
    if border is not None:
        highest, lowest = (
            np.asarray(drawn.filter(kind(3)))
            for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
        )
        labels_HW[highest != lowest] = border
    return picture, Image.fromarray(labels_HW)
