"""What is odd about the values of masks and is to be asked: stray values, an id that may stand for
what is not labelled, a list of classes that nobody uses.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segzoo.data.labels.class_files import known_class_files, other_class_files
from segzoo.data.labels.ignoring import Ignored
from segzoo.data.labels.mask_scan import Scan, pack, unpack
from segzoo.data.labels.palettes import BLACK, Reading
from segzoo.errors import SegzooError
from segzoo.plugins.manager import get_registry

STRAY_MASKS = 0.05
STRAY_PIXELS = 0.01
LARGE_BLEND = 0.02
FEW_CLASSES = 4
"""Data sets of fewer classes are too many for their count to say anything."""


def strays(
    values: Mapping[Path, Mapping[int, int]], pixels: Mapping[Path, int], ignored: Ignored
) -> list[tuple[Path, SegzooError]]:
    """Return masks with a value that hardly any mask has, in a few pixels, above ids that none has:
    a slip of a brush, not a class.
    """
    holders: dict[int, list[Path]] = {}
    for path, counts in values.items():
        for value in counts:
            if value not in ignored.void:
                holders.setdefault(value, []).append(path)
    found: list[tuple[Path, SegzooError]] = []
    for value in sorted(holders):
        paths = holders[value]
        missing = [k for k in range(value) if k not in holders]
        few = len(paths) <= max(1, STRAY_MASKS * len(values)) and len(values) > 2
        small = all(values[path][value] < STRAY_PIXELS * pixels[path] for path in paths)
        if missing and few and small:
            lacking = f"{missing[0]} to {missing[-1]}" if len(missing) > 1 else str(missing[0])
            found += [
                (
                    path,
                    SegzooError(
                        f"{path}: {values[path][value]} pixels of the value {value}, which "
                        f"{'no other mask has' if len(paths) == 1 else 'hardly any mask has'}; "
                        f"{lacking} is in none",
                        f"mend the mask, leave the value out with {ignored.with_value(value)}, or "
                        "name every class with -O classes=a,b,c",
                    ),
                )
                for path in paths
            ]
    return found


def void_doubt(values: Sequence[int], reading: Reading) -> tuple[str, ...]:
    """Ask of the last of unnamed ids 0, 1, 2, ... whether it is a class, where a known data set has
    one class less, or the palette shows it black and no other.
    """
    last = len(values) - 1
    if list(values) != list(range(last + 1)) or last < 2:
        return ()
    why = ""
    known = [
        entry.spec.name
        for entry in get_registry().all("datasets")
        if len(entry.spec.classes) == last >= FEW_CLASSES
    ]
    if known:
        why = f"`{known[0]}` has {last} classes"
    elif reading.reference.get(last) == BLACK and reading.reference.get(0) != BLACK:
        why = f"{last} is shown black"
    if not why:
        return ()
    return (
        f"the masks hold the ids 0 to {last}, and {why}: if {last} stands for pixels that are not "
        f"labelled, give -O ignore={last}",
    )


def meanings_of_255(values: Mapping[Path, Mapping[int, int]], kept: Sequence[int]) -> str:
    """Ask what 255 is where it is in masks of 0 and 255 alone and in none with another id: of two
    ways to save a foreground, or what is not labelled. Raises SegzooError where it is the one
    foreground of some masks and 1 that of others.
    """
    holders = [path for path, counts in values.items() if 255 in counts]
    others = [path for path, counts in values.items() if counts.keys() - {0, 255}]
    lone = [path for path in holders if 0 in values[path]]
    if not lone or not others or any(values[path].keys() - {0, 255} for path in holders):
        return ""
    said = (
        f"{len(holders)} masks hold 255, with no other id than 0, as {lone[0]}, and "
        f"{len(others)} hold ids, as {others[0]}"
    )
    unlabelled = "if it stands for pixels that are not labelled, give -O ignore=255"
    if list(kept) == [0, 1, 255]:
        raise SegzooError(
            f"{said}: is 255 the class that is 1 there?",
            f"if so, -O threshold=0 reads both as the foreground; {unlabelled}",
        )
    return f"{said}: 255 is ignored; {unlabelled}"


def large_blends(found: Scan, reading: Reading) -> tuple[str, ...]:
    """Ask of a colour that is no class's and covers much of a mask whether a class is missing."""
    listed = {pack(colour) for colour in reading.reference.values()}
    for mask in found.coloured:
        for key, count in mask.counts.items():
            if key not in listed and count > LARGE_BLEND * mask.pixels:
                share = f"{100 * count / mask.pixels:.2g} %"
                return (
                    f"{mask.path}: the colour {unpack(key)}, which is no class's, is {share} of "
                    "its pixels, and read as the nearest class; is a class missing in the list?",
                )
    return ()


def listed_but_unused(root: Path) -> str:
    """Say which file in a data set's folder lists classes, where no classes are given; else ""."""
    if files := known_class_files(root):
        name = files[0].relative_to(root)
        more = f" ({len(files) - 1} more such files)" if len(files) > 1 else ""
        return f"{name} lists classes and is not used{more}: -O classes={name} uses it"
    if others := other_class_files(root):
        return f"{others[0].relative_to(root)} may name the classes; files of its form are not read"
    return ""
