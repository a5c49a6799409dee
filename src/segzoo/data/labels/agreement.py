"""What the masks of a data set agree on: how their palettes, numbers and colours are to be read.

Decided from the masks that were looked at; where they contradict each other and neither a list of
colours nor a clear majority says what is meant, two of them are named.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from segzoo.data.labels.class_files import ClassList
from segzoo.data.labels.ignoring import Ignored
from segzoo.data.labels.mask_scan import Scan, Seen
from segzoo.data.labels.palettes import (
    AS_THEY_ARE,
    BLACK,
    WHITE,
    Blends,
    Reading,
    decoded,
    listed_by_colour,
)
from segzoo.data.labels.program_palettes import black_and_another, refuse_numbering
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

CLEAR_SHARE = 0.75
"""Share of the palette masks from which on their palette is that of the set."""


def agree(
    found: Scan, classes: ClassList, palette: str | None, ignored: Ignored, blends: Blends
) -> tuple[Reading, str]:
    """Return how masks are read, and what of it is to be said; raises SegzooError naming masks
    that contradict each other.
    """
    if classes.colours:
        return _by_list(found, classes, palette, ignored.void, blends)
    if palette == AS_THEY_ARE:
        return Reading(indexed="index"), "indices as they are, whatever colours they show"
    if palette is not None:
        return Reading(decoded(palette)), ""
    if not found.indexed:
        values = _values(found.plain)
        known = {0: BLACK, 255: WHITE} if values == {0, 255} else {}
        return Reading(known, known=bool(known)), ""
    if all(set(mask.shown.values()) <= {BLACK, WHITE} for mask in found.indexed):
        return _black_and_white(found, classes, ignored)
    if two := black_and_another(found.indexed, classes, ignored.given):
        said = "by colour: their palettes number black and the other colour in any order"
        return _beside_plain(found, two, said, ignored.void)
    usual, said = _majority(found.indexed)
    reading, said = _beside_plain(found, usual, said, ignored.void)
    if reading is usual:
        refuse_numbering(found.indexed, reading, classes, ignored.given)
    return reading, said


def _by_list(
    found: Scan, classes: ClassList, palette: str | None, ignored: frozenset[int], blends: Blends
) -> tuple[Reading, str]:
    """Read by a list of colours; masks of ids that fit it, and have other colours, by index."""
    reference = dict(zip(classes.values, classes.colours, strict=True))
    reading = Reading(reference, "colour", True, True, blends, void=ignored)
    said = "by colour"
    if palette == AS_THEY_ARE:
        reading = replace(reading, indexed="index")
    elif palette is not None:
        reading = replace(reading, indexed="agree", palette=decoded(palette))
    elif found.indexed and not all(_listed(mask, reading) for mask in found.indexed):
        few = [mask for mask in found.indexed if not _listed(mask, reading)]
        fitting = all(_fits_ids(mask, reading, ignored) for mask in found.indexed)
        if fitting and _shown_alike(found.indexed):
            usual = _reference(found.indexed)
            reading = replace(reading, indexed="agree", palette=usual)
            said = "palette masks by index: the colours that they show are not those of the list"
        elif 2 * len(few) > len(found.indexed) and blends.mode == "exact":
            raise _neither(few[0], reading)
    plain = [mask for mask in found.plain if not _listed(mask, reading)]
    if plain and not found.coloured and 2 * len(plain) >= len(found.plain):
        allowed = {*reference, *ignored}
        if all(set(mask.counts) <= allowed for mask in found.plain):
            reading = replace(reading, greys=False)
            said = "masks of ids, in the order of the list"
    return reading, said


def _listed(mask: Seen, reading: Reading) -> bool:
    """Whether every colour of a palette or grey mask is in the list."""
    colours = set(reading.reference.values())
    if mask.shown:
        shown = (colour for index, colour in mask.shown.items() if index not in reading.void)
        return set(shown) <= colours
    return all((value,) * 3 in colours for value in mask.counts)


def _fits_ids(mask: Seen, reading: Reading, ignored: Collection[int]) -> bool:
    """Whether a palette mask's indices are ids of the list, and no colour says otherwise."""
    values = {colour: value for value, colour in reading.reference.items()}
    return all(
        index in ignored or (index in reading.reference and values.get(colour, index) == index)
        for index, colour in mask.shown.items()
    )


def _neither(mask: Seen, reading: Reading) -> SegzooError:
    colours = set(reading.reference.values())
    index, colour = next((k, c) for k, c in mask.shown.items() if c not in colours)
    return SegzooError(
        f"{mask.path}: index {index} of its palette shows {colour}, which is no class's, and not "
        "all its indices are ids of the list",
        "add the colour to the classes file, or list the classes without colours; "
        "-O palette=index takes indices whatever they show",
    )


def _shown_alike(masks: Iterable[Seen]) -> bool:
    """Whether each index shows one colour in all masks, and a colour is at one index."""
    return not _contradicting(_reference(list(masks)), masks)


def _reference(masks: list[Seen]) -> dict[int, RGB]:
    """Return for each index the colour that most masks show there. A colour that is at several
    indices, and never in one mask, is kept where most have it.
    """
    votes: dict[int, Counter[RGB]] = defaultdict(Counter)
    twice: set[RGB] = set()
    for mask in masks:
        for index, colour in mask.shown.items():
            votes[index][colour] += 1
        twice |= {colour for colour, n in Counter(mask.shown.values()).items() if n > 1}
    chosen = {index: counter.most_common(1)[0] for index, counter in sorted(votes.items())}
    best: dict[RGB, int] = {}
    for index, (colour, count) in chosen.items():
        if colour not in best or count > chosen[best[colour]][1]:
            best[colour] = index
    return {
        index: colour
        for index, (colour, _) in chosen.items()
        if colour in twice or best[colour] == index
    }


def _contradicting(reference: Mapping[int, RGB], masks: Iterable[Seen]) -> list[Seen]:
    return [
        mask
        for mask in masks
        if any(reference.get(index) != colour for index, colour in mask.shown.items())
    ]


def _majority(masks: list[Seen]) -> tuple[Reading, str]:
    """Return the palette that all or most masks agree on; the others' colours must be in it."""
    reference = _reference(masks)
    others = _contradicting(reference, masks)
    reading = Reading(reference)
    if not others:
        return reading, ""
    colours = Counter(reference.values())
    clear = len(others) <= (1 - CLEAR_SHARE) * len(masks)
    if clear and all(colours[c] == 1 for mask in others for c in mask.shown.values()):
        said = f"{len(others)} of {len(masks)} palettes differ, and are read by colour"
        return reading, said
    if clear:
        return reading, ""  # The others are refused, each by its name.
    raise _two_palettes(masks, reference)


def _two_palettes(masks: list[Seen], reference: Mapping[int, RGB]) -> SegzooError:
    """Name two masks that show different colours at an index, or a colour at two indices."""
    one = next((mask for mask in masks if not _contradicting(reference, [mask])), masks[0])
    two, index = masks[-1], -1
    for mask in masks:
        differing = [k for k, c in mask.shown.items() if one.shown.get(k, c) != c]
        if differing:
            two, index = mask, differing[0]
            break
    else:
        for one, two in pairwise(masks):
            moved = [
                k for k, c in two.shown.items() if c in one.shown.values() and k not in one.shown
            ]
            if moved:
                index = moved[0]
                break
    colours = [colour for mask in masks for colour in mask.shown.values()]
    return SegzooError(
        f"palettes differ: {one.path} shows {one.shows}, {two.path} shows {two.shows}"
        + (f"; index {index} is not the same class in both" if index >= 0 else ""),
        f"list the classes by colour: {listed_by_colour(colours)}; -O palette=index takes indices "
        "whatever they show",
    )


def _black_and_white(found: Scan, classes: ClassList, ignored: Ignored) -> tuple[Reading, str]:
    """Read masks of black and white by colour: white is 1, or 255 as in the plain masks."""
    inverted = [mask for mask in found.indexed if _is_inverted(mask)]
    values = _values(found.plain)
    white = 1
    if values in ({255}, {0, 255}) and 255 not in ignored.given:
        white = 255
    elif 255 in values and (inverted or 255 not in ignored.given or 1 not in values):
        raise _unclear_white(found.indexed[0], found.plain, 255)
    elif inverted and (not values <= {0, 1} or len(classes.names) > 2):
        if len(classes.names) > 2 and values <= {0, 1}:
            raise SegzooError(
                f"{inverted[0].path}: its palette shows {inverted[0].shows}, and "
                f"{len(classes.names)} classes are named",
                "save masks as 8-bit ids, or take the indices whatever they show: -O palette=index",
            )
        raise _unclear_white(inverted[0], found.plain, max(values))
    said = "white is foreground in palette masks" if inverted else ""
    return Reading({0: BLACK, white: WHITE}), said


def _is_inverted(mask: Seen) -> bool:
    return any(
        colour != (BLACK, WHITE)[index > 0] or index > 1 for index, colour in mask.shown.items()
    )


def _unclear_white(mask: Seen, plain: list[Seen], value: int) -> SegzooError:
    other = next(one for one in plain if value in one.counts)
    return SegzooError(
        f"{mask.path} shows black and white ({mask.shows}), and {other.path} holds the ids "
        f"{', '.join(map(str, sorted(other.counts)[:6]))}: it is not clear which id white is",
        "save all masks in one form, as 8-bit ids; -O palette=index takes indices as they are",
    )


def _values(masks: Iterable[Seen]) -> set[int]:
    return {value for mask in masks for value in mask.counts}


def _beside_plain(
    found: Scan, reading: Reading, said: str, ignored: Collection[int]
) -> tuple[Reading, str]:
    """Decide what plain numbers beside palette masks are: those of indices, unless a palette shows
    the grey of such a number at another index. Palettes of greys alone may be read by level.
    """
    values = _values(found.plain)
    levels = {c[0]: k for k, c in reading.reference.items() if len(set(c)) == 1}
    if all(levels.get(value, value) == value for value in values):
        return reading, said
    indices = set(reading.reference)
    if len(levels) == len(indices):
        kept = values - set(ignored)
        by_index, by_level = (
            bool(kept) and (kept <= these or these <= kept) for these in (indices, set(levels))
        )
        if by_level and not by_index:
            grey: dict[int, RGB] = {level: (level, level, level) for level in levels}
            return Reading(grey), "palettes of greys by their grey levels"
        if by_index and not by_level:
            return reading, said
    one = max(found.indexed, key=lambda mask: len(mask.shown))
    two = max(found.plain, key=lambda mask: len(mask.counts))
    raise SegzooError(
        f"{one.path} shows {one.shows}, {two.path} holds the numbers "
        f"{', '.join(map(str, sorted(two.counts)[:6]))}: indices or greys may be meant",
        "save all masks in one form, as 8-bit ids; -O palette=index takes indices as they are",
    )
