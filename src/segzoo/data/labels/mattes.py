"""What is refused of masks that are read as mattes: colours, and a threshold above every value."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segzoo.data.images import read_matte
from segzoo.data.pictures.decoding import opened
from segzoo.data.pictures.headers import spread
from segzoo.data.pictures.mask_files import ARRAY_SUFFIX, alpha_of
from segzoo.errors import SegzooError

MOST_LOOKED_AT = 16
APART = 64
"""Difference of red, green and blue from which a pixel is in colour; greys of JPEGs differ."""
COLOURED = 0.002
"""Share of a matte's pixels from which it is no grey picture."""


def refuse_unusable(masks: Sequence[Path], threshold: int | None, upright: bool) -> None:
    """Look at some masks that are to be read as mattes.

    Raises SegzooError for one whose colours would become greys, and where nothing is above a
    threshold though masks hold something.
    """
    some = [masks[place] for place in spread(len(masks), MOST_LOOKED_AT)]
    highest: dict[Path, int] = {}
    above = threshold is None
    for path in some:
        try:
            if path.suffix.lower() != ARRAY_SUFFIX and _in_colour(path):
                raise _colours(path, threshold)
            if not above:
                highest[path] = int(read_matte(path, upright=upright).max())
                above = highest[path] > (threshold or 0)
        except _ColouredError:
            raise
        except SegzooError:
            continue  # Reading it for its sample says what is wrong.
    most = max(highest, key=highest.__getitem__, default=None)
    if not above and most is not None and highest[most] > 0:
        raise SegzooError(
            f"-O threshold={threshold}: of {len(some)} masks looked at none has a value above it; "
            f"the highest is {highest[most]}, in {most}",
            f"-O threshold={highest[most] - 1} is below it; masks of ids need no threshold",
        )


class _ColouredError(SegzooError):
    """A matte is in colour."""


def _in_colour(path: Path) -> bool:
    with opened(path) as picture:
        if picture.mode not in ("RGB", "P", "RGBA", "PA") or alpha_of(picture) is not None:
            return False
        colours = np.asarray(picture.convert("RGB")).astype(np.int16)
    apart = colours.max(axis=2) - colours.min(axis=2)
    return bool((apart > APART).mean() > COLOURED)


def _colours(path: Path, threshold: int | None) -> SegzooError:
    how = "-O target=alpha" if threshold is None else f"-O threshold={threshold}"
    return _ColouredError(
        f"{path} is in colour, and {how} reads masks as mattes, which are grey",
        "read classes by colour: leave the option out and list them in a file with lines "
        "`red green blue name`, -O classes=FILE",
    )
