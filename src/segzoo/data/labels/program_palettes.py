"""Palettes that a program made for each picture, whose indices are not class ids.

Pillow's `quantize()` and `convert("P")`, and the like of them in other programs, number colours in
an order of their own: black, the background, may be index 2, or another index in another mask.
"""

from collections.abc import Collection, Sequence

from segzoo.data.labels.class_files import ClassList
from segzoo.data.labels.ignoring import IGNORED_NAMES
from segzoo.data.labels.mask_scan import Seen
from segzoo.data.labels.palettes import BLACK, WHITE, Reading, listed_by_colour
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

FIRST_OF_WEB = 10
"""Where the 216 colours begin in Pillow's palette `WEB`, that of `convert("P")`."""


def black_and_another(
    masks: Sequence[Seen], classes: ClassList, ignored: Collection[int]
) -> Reading | None:
    """Return how masks of black and one other colour are read whose palettes a program made: black
    is 0 whatever its index. None for other masks, and where classes or ids are given.
    """
    colours = {colour for mask in masks for colour in mask.shown.values()}
    others = colours - {BLACK}
    if classes or ignored or len(colours) != 2 or len(others) != 1:
        return None
    (other,) = others
    moved = any(mask.shown.get(0, BLACK) != BLACK for mask in masks)
    if not _is_web(masks) and not (moved and _numbered(masks)):
        return None
    return Reading({0: BLACK, 1: other})


def refuse_numbering(
    masks: Sequence[Seen], reading: Reading, classes: ClassList, ignored: Collection[int]
) -> None:
    """Raise SegzooError where the indices of all palettes are a program's numbers: those of its
    own palette, black in another place than the first, or classes that are named by such numbers.
    """
    if _is_web(masks):
        mask = max(masks, key=lambda mask: len(mask.shown))
        raise _no_ids(mask, masks, "numbers of the palette that `convert('P')` has for the web")
    if not _numbered(masks):
        return
    usual = reading.reference
    first = usual.get(0, BLACK)
    black = next((index for index, colour in usual.items() if colour == BLACK), 0)
    void = black < len(classes.names) and classes.names[black].lower() in IGNORED_NAMES
    if first not in (BLACK, WHITE) and black and black not in ignored and not void:
        mask = next(mask for mask in masks if mask.shown.get(black) == BLACK)
        raise _no_ids(mask, masks, f"black is {black}, not the first")
    contradicting = [m for m in masks if any(usual.get(k) != c for k, c in m.shown.items())]
    if classes and contradicting:
        raise _no_ids(contradicting[0], masks, "the others show them in another order")


def _numbered(masks: Sequence[Seen]) -> bool:
    """Whether every palette has just the colours that its mask shows, numbered without a gap."""
    return all(not mask.spare and set(mask.shown) == set(range(len(mask.shown))) for mask in masks)


def _is_web(masks: Sequence[Seen]) -> bool:
    """Whether all colours stand where Pillow's palette for the web has them."""
    shown = {pair for mask in masks for pair in mask.shown.items()}
    return any(colour != BLACK for _, colour in shown) and all(
        colour == _of_web(index) for index, colour in shown
    )


def _of_web(index: int) -> RGB:
    place = index - FIRST_OF_WEB
    if not 0 <= place < 216:
        return BLACK
    return place % 6 * 51, place // 6 % 6 * 51, place // 36 * 51


def _no_ids(mask: Seen, masks: Sequence[Seen], why: str) -> SegzooError:
    colours = dict.fromkeys(colour for one in masks for colour in one.shown.values())
    return SegzooError(
        f"{mask.path} shows {mask.shows}: {why}, as where a program makes the palette, and the "
        "indices are not class ids",
        f"list the classes by colour: {listed_by_colour(colours)}; -O palette=index takes indices "
        "whatever they show",
    )
