"""What holds for the pictures of a whole data set: the range of deep ones, and which way they lie.

Both are found by looking at some of all splits, evenly spread: a fixed number, so that two runs,
and two processes of a run, find the same.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segzoo.data.pictures.decoding import opened
from segzoo.data.pictures.depth import Deep, deep_values
from segzoo.data.pictures.headers import Header, read_header, spread
from segzoo.data.pictures.value_range import Range, usual_range
from segzoo.errors import SegzooError
from segzoo.words import number_of

log = logging.getLogger("segzoo")

MOST_HEADERS = 1024
"""Pictures whose headers are looked at: a tenth of a second on a slow machine."""

MOST_READ = 64
"""Deep pictures whose values are looked at."""

MUCH_LESS = 12
SOME_OF = 0.2
"""Pictures with a twelfth of the others' values are of another depth, where a fifth of all are."""

MOST_VALUES = 1 << 28
"""Of all of them: of very large pictures fewer are looked at."""


@dataclass(frozen=True)
class Conventions:
    """How the pictures of a data set are read.

    `deep_range` is the range of those of more than 8 bits, None for that of their type; `said` is
    what was found, for the log, and `doubt` what may be wrong about the way they lie.
    """

    deep_range: Range | None = None
    said: str = ""
    doubt: str = ""


AS_THEY_ARE = Conventions()


def find_conventions(
    pairs: Sequence[tuple[Path, Path | None]], deep_range: Range | None, upright: bool
) -> Conventions:
    """Look at some pairs of a picture and its mask, for what has not been stated."""
    places = spread(len(pairs), MOST_HEADERS)
    some = [pairs[place] for place in places]
    headers = [read_header(image) for image, _ in some]
    said, highest = "", dict[Path, float]()
    deep = [image for (image, _), header in zip(some, headers, strict=True) if header.deep]
    if deep and deep_range is None:
        deep_range, said, highest = _found_range(deep, len(some))
    turned = [
        (image, mask, header.orientation)
        for (image, mask), header in zip(some, headers, strict=True)
        if header.orientation != 1 and mask is not None
    ]
    doubts = [_doubt(turned, len(some)), _turned_masks(some, headers)] if upright else []
    doubts.append(_followed([image for image, _ in some], headers))
    if highest and deep_range is not None:
        doubts.append(_shallow(highest, deep_range))
    return Conventions(deep_range, said, "; ".join(filter(None, doubts)))


def _followed(images: Sequence[Path], headers: Sequence[Header]) -> str:
    """Say that files hold other pictures behind the first, such as previews or the other eye's."""
    several = [image for image, of in zip(images, headers, strict=True) if of.followed]
    if not several:
        return ""
    return (
        f"{number_of(len(several), 'picture')} of {len(images)} looked at hold others behind the "
        f"photograph (MPO: previews, depth, the other eye's), such as {several[0]}: the photograph "
        "is read"
    )


def _turned_masks(some: Sequence[tuple[Path, Path | None]], headers: Sequence[Header]) -> str:
    """Say that masks are turned by an EXIF orientation and their pictures are not."""
    plain = [
        mask
        for (_, mask), header in zip(some, headers, strict=True)
        if mask is not None and header.orientation == 1
    ]
    turned = [
        mask
        for mask in (plain[place] for place in spread(len(plain), MOST_READ))
        if read_header(mask).orientation != 1
    ]
    if not turned:
        return ""
    return (
        f"{number_of(len(turned), 'mask')} of {min(len(plain), MOST_READ)} looked at carry an EXIF "
        f"orientation that their pictures do not, such as {turned[0]}, and are turned upright; "
        "-O exif=ignore takes both as stored"
    )


def _shallow(highest: dict[Path, float], found: Range) -> str:
    """Say that some pictures use little of the range that others need: two depths in one set."""
    low = [path for path, value in highest.items() if 0 < value <= found[1] / MUCH_LESS]
    if not low or len(low) < SOME_OF * len(highest):
        return ""
    most = max(highest[path] for path in low)
    return (
        f"pictures of two depths: {len(low)} of {len(highest)} looked at have values up to "
        f"{most:g} alone, such as {low[0]}, and are read as nearly black by the range of the "
        f"others, {found[0]:g}..{found[1]:g}; bring all to one depth"
    )


def _found_range(
    deep: Sequence[Path], looked_at: int
) -> tuple[Range | None, str, dict[Path, float]]:
    """Return the range of the smallest usual depth that holds the values of some deep pictures,
    what is to be said of it, and the highest value of each.
    """
    each: dict[Path, float] = {}
    highest, left = 0.0, MOST_VALUES
    for place in spread(len(deep), MOST_READ):
        values = _values(deep[place])
        if values is None or values.values.dtype.kind == "f" or values.values.min() < 0:
            continue  # Reading it says what is wrong.
        stated = 0.0 if values.bits in (None, 16) else 2.0**values.bits - 1
        each[deep[place]] = max(float(values.values.max()), stated)
        highest = max(highest, each[deep[place]])
        left -= values.values.size
        if left < 0:
            break
    if not 0 < highest <= 65535:
        return None, "", each
    found = usual_range(highest)
    said = (
        f"{len(deep)} of {looked_at} pictures looked at have more than 8 bits, with values up to "
        f"{highest:g}, which are read as {found[0]:g}..{found[1]:g} (-O range=LOW,HIGH states "
        "another range)"
    )
    others = looked_at - len(deep)
    return found, f"{said}; the other {others} as 0..255" if others else said, each


def _values(path: Path) -> Deep | None:
    try:
        with opened(path) as picture:
            return deep_values(picture, lambda: opened(path))
    except SegzooError:
        return None


def _doubt(turned: Sequence[tuple[Path, Path, int]], looked_at: int) -> str:
    """Say that pictures are turned by their EXIF orientation and their masks are not, unless the
    masks' sizes show that this is right.
    """
    if not turned:
        return ""
    alone: list[tuple[Path, int]] = []
    lies = set[str]()
    for place in spread(len(turned), MOST_READ):
        image, mask, orientation = turned[place]
        if read_header(mask).orientation == orientation:
            continue
        way = _way_of_mask(image, mask, orientation)
        lies.add(way)
        if way != "upright":
            alone.append((image, orientation))
    if not alone or ("upright" in lies and "stored" not in lies):
        return ""
    image, orientation = alone[0]
    share = round(len(alone) / min(len(turned), MOST_READ) * len(turned))
    told = (
        f"{share} of {looked_at} pictures looked at carry an EXIF orientation that their masks do "
        f"not, such as {image} ({orientation})"
    )
    if "stored" in lies:
        return f"{told}; their masks have the size of the stored pictures: -O exif=ignore"
    return (
        f"{told}: the pictures are turned upright; if their masks were drawn on them as they are "
        "stored, -O exif=ignore takes both as stored"
    )


def _way_of_mask(image: Path, mask: Path, orientation: int) -> str:
    """Return which way a mask lies by its size, "upright" or "stored"; "" where it cannot tell."""
    of_image, of_mask = stored_size(image), stored_size(mask)
    if orientation < 5 or of_image is None or of_mask is None or of_image == of_image[::-1]:
        return ""
    return {of_image: "stored", of_image[::-1]: "upright"}.get(of_mask, "")


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a picture as it is stored, None where it cannot be opened."""
    try:
        with opened(path, pages=False) as picture:
            size = tuple(getattr(picture, "_tile_size", picture.size))  # Pillow turns a TIFF's
            return int(size[0]), int(size[1])
    except SegzooError:
        return None


def size_hint(image: Path, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> str:
    """Return what to do about a picture and a mask of two sizes, (height, width)."""
    turned = read_header(image).orientation >= 5
    if turned and image_size == mask_size[::-1]:
        stored = stored_size(image)
        if stored is not None and mask_size == stored[::-1]:
            return (
                f"the mask has the size that {image.name} is stored at, without its EXIF "
                "orientation: -O exif=ignore takes both as stored"
            )
        return (
            f"the mask has the size that {image.name} has upright, by its EXIF orientation: "
            "leave out -O exif=ignore"
        )
    return (
        "make both the same size, a mask by nearest-neighbour resizing, which keeps its ids "
        "(EXIF orientation has been applied)"
    )
