"""From the values in mask files to class ids: what `folder` finds, and the table that maps them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from segzoo.data.images import read_mask
from segzoo.data.sample import name_fault
from segzoo.errors import SegzooError
from segzoo.specs import RGB

IGNORE = 255
NOTHING = -1
"""As option `ignore`: no value is ignored, not even 255."""
IGNORED_NAMES = {"ignore", "ignored", "void", "unlabelled", "unlabeled"}
MOST_SCANNED = 512
MOST_CLASSES = 255


@dataclass(frozen=True)
class LabelMap:
    """Class names, and how a value in a mask file becomes a class id (IGNORE = not counted).

    `ignore` is what the option of this name would be to say what the masks have shown: 255 where
    they hold it beside ids, NOTHING where it is a class, else None. `faults` are the masks that
    were looked at and cannot be used; reading them raises the same. `doubt` is to be said.
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ids: dict[int, int]
    colours: bool
    said: str
    ignore: int | None = None
    faults: tuple[tuple[Path, SegzooError], ...] = ()
    doubt: str = ""

    def resolved(self, given: int | None) -> dict[str, int]:
        """Return what goes into the weights file beside the options given: what `ignore` has
        turned out to be, so that other masks are later read as those of the training were.
        """
        return {} if given is not None or self.ignore is None else {"ignore": self.ignore}

    def apply(self, mask: Tensor, path: Path) -> Tensor:
        """Map a mask H x W (or a colour mask 3 x H x W) to class ids, uint8 H x W.

        Raises SegzooError naming the file for a value or colour that has no class.
        """
        values = _pack(mask) if mask.ndim == 3 else mask
        if mask.ndim == 3 and not self.colours:
            raise _colour_among_ids(path)
        if mask.ndim == 2 and self.colours:  # only greys in it, a wholly black one perhaps
            values = mask.to(torch.int32) * 0x010101
        if not self.colours and values.dtype == torch.uint8:
            table = torch.full((256,), -1, dtype=torch.int16)
            for value, label in self.ids.items():
                if 0 <= value < 256:
                    table[value] = label
            mapped = table[values.long()]
        else:
            mapped = torch.full(values.shape, -1, dtype=torch.int16)
            for value, label in self.ids.items():
                mapped[values == value] = label
        if (mapped < 0).any():
            raise _unknown_values(path, values[mapped < 0].unique().tolist(), self)
        return mapped.to(torch.uint8)


@dataclass(frozen=True)
class Scan:
    """What evenly spaced masks hold: values, each with the masks that have it, colours, and what
    cannot be read.
    """

    ids: dict[int, list[Path]]
    colours: list[Path]
    faults: list[tuple[Path, SegzooError]]
    count: int


def scan(paths: Sequence[Path], read: Callable[[Path], Tensor] = read_mask) -> Scan:
    """Look at up to 512 evenly spaced masks. One that cannot be read does not keep the others from
    being looked at: all of them are to be named, or left out.
    """
    paths = paths[:: max(1, -(-len(paths) // MOST_SCANNED))]

    def values_of(path: Path) -> set[int] | SegzooError | None:
        try:
            mask = read(path)
        except SegzooError as error:
            return error
        return None if mask.ndim == 3 else set(mask.unique().tolist())

    found = Scan({}, [], [], len(paths))
    with ThreadPoolExecutor() as pool:
        for path, values in zip(paths, pool.map(values_of, paths), strict=True):
            if values is None:
                found.colours.append(path)
            elif isinstance(values, SegzooError):
                found.faults.append((path, values))
            else:
                for value in values:
                    found.ids.setdefault(value, []).append(path)
    if len(found.faults) == len(paths) > 0:
        raise found.faults[0][1]
    return found


def find_labels(
    paths: Sequence[Path],
    names: Sequence[str],
    colours: Sequence[RGB],
    ignore: int | None,
    read: Callable[[Path], Tensor] = read_mask,
) -> LabelMap:
    """Decide what the values of the masks mean, from the names given or from what is found.

    `read` reads a mask of `paths` where it is not a file of its own. Masks that do not fit are
    noted in `faults`. Raises SegzooError where it is not clear what the others mean.
    """
    if colours:
        ids = {_pack_rgb(colour): index for index, colour in enumerate(colours)}
        return _named(names, ids, ignore, "colour masks by the given table", tuple(colours))
    found = scan(paths, read)
    if 2 * len(found.colours) >= found.count - len(found.faults) > 0:
        raise SegzooError(
            f"{found.colours[0]} is a colour mask",
            "list the classes in a file with lines `red green blue name`: -O classes=FILE",
        )
    values = sorted(value for value in found.ids if value != ignore)
    if values == [IGNORE] or (not values and ignore == IGNORE and found.ids):
        raise SegzooError(
            f"the {found.count} masks looked at hold nothing but 255, as in {found.ids[IGNORE][0]}",
            "255 stands for pixels that are not labelled; give masks with the ids of classes",
        )
    if values == [0, IGNORE]:
        return _binary(names, ignore, found)
    if not names:
        _refuse_grey_levels([value for value in values if value != IGNORE], len(values))
    count = max((value for value in values if value != IGNORE), default=0) + 1
    names = names or tuple(f"class_{index}" for index in range(max(2, count)))
    label_map = _named(names, {index: index for index in range(len(names))}, ignore, "ids")
    void = IGNORE in found.ids and label_map.ids.get(IGNORE) == IGNORE
    return replace(
        label_map,
        ignore=IGNORE if void and ignore is None else ignore,
        faults=_faults(found, label_map),
    )


def _binary(names: Sequence[str], ignore: int | None, found: Scan) -> LabelMap:
    """Read 0/255 masks, where 255 may be the second class, or what is not labelled."""
    if len(names) > 2:
        raise SegzooError(
            f"the masks hold 0 and 255 alone, as {found.ids[IGNORE][0]} does, and {len(names)} "
            "classes are named",
            "-O ignore=255 says that 255 is not labelled; as a class it is the second of two",
        )
    doubt = ""
    if names and ignore is None:
        doubt = (
            f"masks of 0 and 255 alone: 255 is read as the class `{names[-1]}`. If it stands for "
            "pixels that are not labelled, give -O ignore=255"
        )
    names = names or ("background", "foreground")
    label_map = _named(names, {0: 0, IGNORE: 1}, ignore, "0/255 masks, 255 is class 1")
    return replace(
        label_map,
        ignore=NOTHING if ignore is None else ignore,
        faults=_faults(found, label_map),
        doubt=doubt,
    )


def _faults(found: Scan, label_map: LabelMap) -> tuple[tuple[Path, SegzooError], ...]:
    """Return the masks that cannot be used. Where most hold unknown values, it is the names that
    are wrong: raises the SegzooError of the first.
    """
    unknown: dict[Path, list[int]] = {}
    for value, paths in found.ids.items():
        for path in paths if value not in label_map.ids else ():
            unknown.setdefault(path, []).append(value)
    wrong = [(path, _unknown_values(path, those, label_map)) for path, those in unknown.items()]
    if 2 * len(wrong) > found.count:
        raise wrong[0][1]
    return (*found.faults, *((path, _colour_among_ids(path)) for path in found.colours), *wrong)


def _refuse_grey_levels(values: list[int], count: int) -> None:
    """Refuse values that are not plausible ids 0, 1, 2, ...: soft, noisy or spread over 0..255."""
    highest = max(values, default=0)
    if highest < 64:
        return
    if count > 60 and highest >= 200:
        raise SegzooError(
            f"the masks hold {count} different values up to {highest}, as soft mattes do",
            "read them as mattes with -O target=alpha, as labels with -O threshold=127, or name "
            "the classes with -O classes=a,b,c",
        )
    if count < highest / 2:
        shown = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
        raise SegzooError(
            f"the masks hold the values {shown}: neither ids 0, 1, 2 nor 0 and 255",
            "if they are 0/255 masks saved with loss, read them with -O threshold=127; if each "
            "value is a class, list them in a file with lines `128 128 128 name`: -O classes=FILE",
        )


def parse_classes(text: str | None, root: Path) -> tuple[list[str], list[RGB]]:
    """Read class names, and colours where there are any, from ``a,b,c`` or from a text file.

    A file has a line a class: ``name`` or ``red green blue name``. Raises SegzooError for a name
    that is empty or there twice: each stands for an id by its place.
    """
    if not text:
        return [], []
    file = next((path for path in (Path(text), root / text) if path.is_file()), None)
    if file is None:
        if text.endswith(".txt"):
            raise SegzooError(f"classes file {text}: no such file, here or in {root}")
        return _told_apart([name.strip() for name in text.split(",")], f"-O classes={text}"), []
    names: list[str] = []
    colours: list[RGB] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SegzooError(f"classes file {file} cannot be read: {error}") from error
    for line in lines:
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        if len(words) >= 4 and all(word.isdigit() and int(word) < 256 for word in words[:3]):
            colours.append((int(words[0]), int(words[1]), int(words[2])))
            words = words[3:]
        names.append(" ".join(words))
    if colours and len(colours) != len(names):
        raise SegzooError(f"{file}: {len(colours)} colours for {len(names)} classes")
    if twice := [colour for colour in colours if colours.count(colour) > 1]:
        raise SegzooError(f"{file}: two classes have the colour {twice[0]}", "give each its own")
    return _told_apart(names, str(file)), colours


def _told_apart(names: list[str], where: str) -> list[str]:
    if fault := name_fault(names):
        raise SegzooError(f"{where} {fault}", "give each class a name of its own")
    return names


def _named(
    names: Sequence[str],
    ids: dict[int, int],
    ignore: int | None,
    said: str,
    palette: tuple[RGB, ...] = (),
) -> LabelMap:
    """Build the map; a class called `void` or the like is ignored when it is the last one."""
    kept = list(names)
    ids = dict(ids)
    if kept and kept[-1].lower() in IGNORED_NAMES and len(kept) > 2:
        last = len(kept) - 1
        ids = {value: IGNORE if label == last else label for value, label in ids.items()}
        said += f", `{kept.pop()}` is ignored"
        palette = palette[: len(kept)]
    if len(kept) > MOST_CLASSES:
        raise SegzooError(
            f"{len(kept)} classes; masks in files are read with up to {MOST_CLASSES}",
            "a data set of one's own may have more: docs/plugins.md",
        )
    if IGNORE not in ids and ignore != NOTHING:
        ids[IGNORE] = IGNORE
    if ignore is not None and ignore != NOTHING:
        ids[ignore] = IGNORE
        said += f", {ignore} is ignored"
    return LabelMap(tuple(kept), palette, ids, bool(palette), said)


def _pack(mask: Tensor) -> Tensor:
    red, green, blue = mask.to(torch.int32)
    return red << 16 | green << 8 | blue


def _pack_rgb(colour: RGB) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unknown_values(path: Path, unknown: list[int], label_map: LabelMap) -> SegzooError:
    unknown = sorted(unknown)
    if label_map.colours:
        colour = _as_rgb(unknown[0])
        return SegzooError(
            f"{path}: the colour {colour} is no class's", "add it to the classes file"
        )
    shown = ", ".join(map(str, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
    count = len(label_map.classes)
    void = ", 255 is ignored" if label_map.ids.get(IGNORE) == IGNORE else ""
    return SegzooError(
        f"{path}: label {shown} with {count} classes (0..{count - 1}{void})",
        f"name every class with -O classes=..., or leave the value out with -O ignore={unknown[0]}",
    )


def _colour_among_ids(path: Path) -> SegzooError:
    return SegzooError(
        f"{path} is a colour mask, others are not",
        "save masks as 8-bit ids or palette PNG, or list the classes in a file with lines "
        "`red green blue name` and give it as -O classes=FILE",
    )


def _as_rgb(value: int) -> RGB:
    return value >> 16 & 255, value >> 8 & 255, value & 255
