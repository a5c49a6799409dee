"""From the values in mask files to class ids: what `folder` finds, and the table that maps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from segzoo.data.labels.agreement import agree
from segzoo.data.labels.class_files import ClassList, find_classes
from segzoo.data.labels.doubts import (
    large_blends,
    listed_but_unused,
    meanings_of_255,
    strays,
    void_doubt,
)
from segzoo.data.labels.ignoring import IGNORE, IGNORED_NAMES, NOTHING, Ignored, parse_ignore
from segzoo.data.labels.mask_scan import MOST_SCANNED as MOST_SCANNED
from segzoo.data.labels.mask_scan import Scan, scan
from segzoo.data.labels.palettes import (
    BLENDED,
    Blends,
    Reading,
    UnknownColoursError,
    colours_of_classes,
    encoded,
)
from segzoo.data.pictures.mask_files import StoredMask
from segzoo.data.sample import unnamed_classes
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

MOST_CLASSES = 255


class MaskOptions(Protocol):
    """The options of a data set whose masks are files, as far as they say what values mean."""

    @property
    def classes(self) -> str | None: ...  # noqa: D102
    @property
    def ignore(self) -> str | None: ...  # noqa: D102
    @property
    def colours(self) -> Literal["exact", "nearest", "ignore"]: ...  # noqa: D102
    @property
    def tolerance(self) -> float | None: ...  # noqa: D102
    @property
    def palette(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class LabelMap:
    """Class names, and how what a mask file stores becomes class ids (IGNORE = not counted).

    `ids` has the class of each value that `reading` gives. `resolved` goes into the weights file
    beside the options given: what the masks have shown, so that other masks are later read as those
    of the training were. `faults` are the masks that were looked at and cannot be used; reading
    them raises the same. `doubts` are to be said.
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ids: dict[int, int]
    reading: Reading
    said: str
    ignored: Ignored = Ignored()
    resolved: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[Path, SegzooError], ...] = ()
    doubts: tuple[str, ...] = ()

    def named(self) -> str:
        """Return the classes with the values that stand for them: ``0 sky, 1 car``."""
        values = {label: value for value, label in self.ids.items() if label != IGNORE}
        return ", ".join(f"{values.get(k, k)} {name}" for k, name in enumerate(self.classes))

    def apply(self, mask: StoredMask, path: Path) -> Tensor:
        """Map a mask to class ids, uint8 H x W.

        Raises SegzooError naming the file for a value or colour that has no class, and for a
        palette that is another than those of the masks that were looked at.
        """
        values = self.reading.values(mask, path)
        mapped = _mapped(values, self.ids)
        if (mapped < 0).any():
            unknown, counts = values[mapped < 0].unique(return_counts=True)
            found = dict(zip(unknown.tolist(), counts.tolist(), strict=True))
            raise _unknown_values(path, found, self)
        return mapped.to(torch.uint8)


def _mapped(values: Tensor, ids: dict[int, int]) -> Tensor:
    """Return the class of each value, -1 where it has none."""
    if values.dtype == torch.uint8:
        table = torch.full((256,), -1, dtype=torch.int16)
        for value, label in ids.items():
            if 0 <= value < 256:
                table[value] = label
        return table[values.long()]
    mapped = torch.full(values.shape, -1, dtype=torch.int16)
    for value, label in ids.items():
        mapped[values == value] = label
    return mapped


def find_labels(
    paths: Sequence[Path], options: MaskOptions, root: Path, read: Callable[[Path], StoredMask]
) -> LabelMap:
    """Decide what the masks hold, from the classes that are named or from what is found.

    `read` reads a mask of `paths`. Masks that do not fit are noted in `faults`. Raises SegzooError
    where it is not clear what the others mean.
    """
    classes = find_classes(options.classes, root)
    ignored = parse_ignore(options.ignore)
    found = scan(paths, read)
    unused = "" if classes else listed_but_unused(root)
    if (
        not classes.colours
        and options.palette is None
        and 2 * len(found.coloured) >= len(found.seen)
    ):
        raise _colour_masks(found.coloured[0].path, unused)
    blends = Blends(options.colours, options.tolerance)
    reading, said = agree(found, classes, options.palette, ignored, blends)
    values, faults = _values(found, reading)
    if classes.colours:
        label_map = _named(classes, ignored, reading, said)
    else:
        label_map = _by_values(found, values, classes, ignored, reading, said)
    if classes.colours and options.colours == "nearest":
        doubts = large_blends(found, reading)
        label_map = replace(label_map, doubts=(*label_map.doubts, *doubts))
    label_map = replace(
        label_map,
        faults=(*found.faults, *_faults(found, values, faults, label_map, named=bool(classes))),
        doubts=(*label_map.doubts, *filter(None, (unused, classes.doubt))),
    )
    if not label_map.palette:
        shown = colours_of_classes(reading.reference, label_map.ids, len(label_map.classes))
        label_map = replace(label_map, palette=shown)
    if options.palette is None and (usual := _usual(found, reading)):
        return replace(label_map, resolved={**label_map.resolved, "palette": encoded(usual)})
    return label_map


Values = dict[Path, dict[int, int]]
Faults = list[tuple[Path, SegzooError]]


def _usual(found: Scan, reading: Reading) -> dict[int, RGB]:
    """Return the palette that other masks are to be held against, {} where none is known."""
    if not found.indexed or reading.indexed == "index":
        return {}
    return dict(reading.palette if reading.listed else reading.reference)


def _values(found: Scan, reading: Reading) -> tuple[Values, Faults]:
    """Return the values of each mask with their pixels, and what is wrong with the others."""
    values: Values = {}
    faults: Faults = []
    for mask in found.seen:
        try:
            values[mask.path] = reading.counts(mask)
        except SegzooError as error:
            faults.append((mask.path, error))
    return values, faults


def _by_values(
    found: Scan,
    values: Values,
    classes: ClassList,
    ignored: Ignored,
    reading: Reading,
    said: str,
) -> LabelMap:
    """Read masks without a list of colours, by the values that they hold."""
    every = {value for counts in values.values() for value in counts}
    kept = sorted(every - ignored.given)
    count = len(values)
    if kept == [IGNORE] or (not kept and IGNORE in every):
        first = next(path for path, counts in values.items() if IGNORE in counts)
        raise SegzooError(
            f"the {count} masks looked at hold nothing but 255, as in {first}",
            "255 stands for pixels that are not labelled; give masks with the ids of classes",
        )
    by_place = classes.values == tuple(range(len(classes.names)))
    if kept == [0, IGNORE] and by_place:
        return _binary(classes, ignored, reading, said, values)
    if not classes:
        _refuse_grey_levels([value for value in kept if value != IGNORE], ignored, values)
    doubts: tuple[str, ...] = ()
    named = classes
    if not classes:
        highest = max((value for value in kept if value != IGNORE), default=0)
        names = unnamed_classes(highest + 1)
        named = ClassList(names, tuple(range(len(names))))
        doubts = void_doubt([v for v in kept if v != IGNORE], reading)
    if IGNORE in kept and IGNORE not in classes.values and not ignored.said:
        doubts += tuple(filter(None, [meanings_of_255(values, kept)]))
    label_map = _named(named, ignored, reading, said or "ids")
    void = IGNORE in every and label_map.ids.get(IGNORE) == IGNORE
    resolved = {"ignore": str(IGNORE)} if void and not ignored.said else {}
    return replace(label_map, resolved=resolved, doubts=doubts)


def _binary(
    classes: ClassList, ignored: Ignored, reading: Reading, said: str, values: Values
) -> LabelMap:
    """Read 0/255 masks, where 255 may be the second class, or what is not labelled."""
    names = classes.names
    if len(names) > 2:
        first = next(path for path, counts in values.items() if IGNORE in counts)
        raise SegzooError(
            f"the masks hold 0 and 255 alone, as {first} does, and {len(names)} classes are named",
            "-O ignore=255 says that 255 is not labelled; as a class it is the second of two",
        )
    doubt = ""
    if names and not ignored.said:
        doubt = (
            f"masks of 0 and 255 alone: 255 is read as the class `{names[-1]}`. If it stands for "
            "pixels that are not labelled, give -O ignore=255"
        )
    binary = ClassList(names or unnamed_classes(2), (0, IGNORE), said=classes.said)
    how = "0/255 masks, 255 is class 1" + (f", {said}" if said else "")
    label_map = _named(binary, ignored, reading, how)
    return replace(
        label_map,
        resolved={} if ignored.said else {"ignore": NOTHING},
        doubts=(doubt,) if doubt else (),
    )


def _faults(
    found: Scan, values: Values, faults: Faults, label_map: LabelMap, *, named: bool
) -> Faults:
    """Return the masks that cannot be used. Where most cannot, it is the names that are wrong:
    raises the SegzooError of the first.
    """
    wrong = list(faults)
    for path, counts in values.items():
        unknown = {value: count for value, count in counts.items() if value not in label_map.ids}
        if unknown:
            wrong.append((path, _unknown_values(path, unknown, label_map)))
    if 2 * len(wrong) > len(found.seen):
        # Of colours that a list lacks the furthest, so that the tolerance that is named suffices.
        error = max((error for _, error in wrong), key=lambda e: getattr(e, "reach", 0.0))
        if isinstance(error, UnknownColoursError):
            more = f" ({len(wrong)} of the {len(found.seen)} masks looked at have such colours)"
            raise SegzooError(error.message + more, error.hint)
        raise error
    if not named and len(label_map.classes) > 2:
        pixels = {mask.path: mask.pixels for mask in found.seen}
        wrong += strays(values, pixels, label_map.ignored)
    return wrong


def _refuse_grey_levels(kept: list[int], ignored: Ignored, values: Values) -> None:
    """Refuse values that are not plausible ids 0, 1, 2, ...: soft, noisy or spread over 0..255."""
    highest, count = max(kept, default=0), len(kept)
    if highest < 64:
        return
    if count > 60 and 200 <= highest <= 255:
        raise SegzooError(
            f"the masks hold {count} different values up to {highest}, as soft mattes do",
            "read them as mattes with -O target=alpha, as labels with -O threshold=127, or name "
            "the classes with -O classes=a,b,c",
        )
    if count < highest / 2:
        shown = ", ".join(map(str, kept[:6])) + (", ..." if count > 6 else "")
        lone = [value for value in kept if value > 2 * count or value < 0]
        rest = [value for value in kept if value not in lone]
        hint = (
            "if they are 0/255 masks saved with loss, read them with -O threshold=127; if each "
            "value is a class, list them in a file with lines `128 name`: -O classes=FILE"
        )
        if len(rest) > 1 and max(rest) < 2 * len(rest):
            hint = f"if {lone[-1]} stands for pixels that are not labelled: "
            hint += f"{ignored.with_value(*lone)}; if each value is a class, list them in a file "
            hint += "with lines `0 name`: -O classes=FILE"
        first = next(path for path, counts in values.items() if highest in counts)
        raise SegzooError(
            f"the masks hold the values {shown}: neither ids 0, 1, 2 nor 0 and 255 "
            f"({highest} is in {first})",
            hint,
        )


def _named(classes: ClassList, ignored: Ignored, reading: Reading, said: str) -> LabelMap:
    """Build the map; classes called `void` or the like are ignored, where two others remain."""
    void = [name for name in classes.names if name.lower() in IGNORED_NAMES]
    if ignored.nothing or len(classes.names) - len(void) < 2:
        void = []
    kept = [k for k, name in enumerate(classes.names) if name not in void]
    if len(kept) > MOST_CLASSES:
        raise SegzooError(
            f"{len(kept)} classes; masks in files are read with up to {MOST_CLASSES}",
            "a data set of one's own may have more: docs/plugins.md",
        )
    ids = dict.fromkeys(classes.values, IGNORE)
    ids.update({classes.values[k]: label for label, k in enumerate(kept)})
    for value in ignored.given:
        ids[value] = IGNORE
    if not ignored.nothing:
        ids.setdefault(IGNORE, IGNORE)
    if reading.blends.mode == "ignore":
        ids[BLENDED] = IGNORE
    parts = [said or "by colour", *([classes.said] if classes.said else [])]
    parts += [f"`{name}` is ignored" for name in void]
    parts += [f"{value} is ignored" for value in sorted(ignored.given)]
    return LabelMap(
        classes=tuple(classes.names[k] for k in kept),
        palette=tuple(classes.colours[k] for k in kept) if classes.colours else (),
        ids=ids,
        reading=reading,
        said=", ".join(parts),
        ignored=ignored,
    )


def _unknown_values(path: Path, found: dict[int, int], label_map: LabelMap) -> SegzooError:
    """Return the error for values that have no class, with the number of pixels of each."""
    unknown = sorted(found)
    pixels = sum(found.values())
    where = f", in {pixels} pixel{'s' * (pixels > 1)}"
    shown = ", ".join(map(str, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
    count = len(label_map.classes)
    void = ", 255 is ignored" if label_map.ids.get(IGNORE) == IGNORE else ""
    values = sorted(value for value, label in label_map.ids.items() if label != IGNORE)
    known = f"0..{count - 1}" if values == list(range(count)) else ", ".join(map(str, values[:9]))
    way = f"leave the value out with {label_map.ignored.with_value(*unknown[:20])}"
    if unknown[0] >= 0:
        way = f"name every class with -O classes=..., or {way}"
    elif label_map.ignored.nothing:
        way += f" (in Python: ignore='{unknown[0]}', a text)"
    return SegzooError(f"{path}: label {shown} with {count} classes ({known}{void}){where}", way)


def _colour_masks(path: Path, unused: str) -> SegzooError:
    hint = "list the classes in a file with lines `red green blue name`: -O classes=FILE"
    return SegzooError(f"{path} is a colour mask", f"{unused}; or {hint}" if unused else hint)
