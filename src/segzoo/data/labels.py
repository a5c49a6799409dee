"""From the values in mask files to class ids: what `folder` finds, and the table that maps them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segzoo.data.images import read_mask
from segzoo.errors import SegzooError
from segzoo.specs import RGB

IGNORE = 255
IGNORED_NAMES = {"ignore", "ignored", "void", "unlabelled", "unlabeled"}
MOST_SCANNED = 512


@dataclass(frozen=True)
class LabelMap:
    """Class names, and how a value in a mask file becomes a class id (IGNORE = not counted)."""

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ids: dict[int, int]
    colours: bool
    said: str

    def apply(self, mask: Tensor, path: Path) -> Tensor:
        """Map a mask H x W (or a colour mask 3 x H x W) to class ids, uint8 H x W.

        Raises SegzooError naming the file for a value or colour that has no class.
        """
        values = _pack(mask) if mask.ndim == 3 else mask
        if mask.ndim == 3 and not self.colours:
            raise SegzooError(
                f"{path} is a colour mask, others are not",
                "save masks as 8-bit ids or palette PNG, or list the classes in a file with lines "
                "`red green blue name` and give it as -O classes=FILE",
            )
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
            unknown = sorted(set(values[mapped < 0].unique().tolist()))
            raise SegzooError(_unknown_values(path, unknown, self), _advice(unknown, self))
        return mapped.to(torch.uint8)


def scan(paths: Sequence[Path], read: Callable[[Path], Tensor] = read_mask) -> dict[int, Path]:
    """Return the values in up to 512 evenly spaced masks, each with the first mask that has it.

    Colours come packed as 0xRRGGBB.
    """
    step = max(1, -(-len(paths) // MOST_SCANNED))

    def values_of(path: Path) -> set[int]:
        mask = read(path)
        return set((_pack(mask) if mask.ndim == 3 else mask).unique().tolist())

    with ThreadPoolExecutor() as pool:
        found: dict[int, Path] = {}
        for path, values in zip(paths[::step], pool.map(values_of, paths[::step]), strict=True):
            for value in values:
                found.setdefault(value, path)
        return found


def find_labels(
    paths: Sequence[Path],
    names: Sequence[str],
    colours: Sequence[RGB],
    ignore: int | None,
    read: Callable[[Path], Tensor] = read_mask,
) -> LabelMap:
    """Decide what the values of the masks mean, from the names given or from what is found.

    `read` reads a mask of `paths` where it is not a file of its own.
    Raises SegzooError for values above the names given, and for masks that look like soft mattes.
    """
    if colours:
        ids = {_pack_rgb(colour): index for index, colour in enumerate(colours)}
        return _named(names, ids, ignore, "colour masks by the given table", tuple(colours))
    found = scan(paths, read)
    if max(found, default=0) > 0xFFFF or any(read(path).ndim == 3 for path in paths[:1]):
        raise SegzooError(
            f"{paths[0]} is a colour mask",
            "list the classes in a file with lines `red green blue name`: -O classes=FILE",
        )
    values = sorted(value for value in found if value != ignore)
    binary = bool(values) and set(values) <= {0, 255} and 255 in values and ignore != 255
    if binary:
        names = names or ("background", "foreground")
        return _named(names, {0: 0, 255: 1}, ignore, "0/255 masks, 255 is class 1")
    if not names:
        _refuse_grey_levels([value for value in values if value != IGNORE], len(values))
    count = max((value for value in values if value != IGNORE), default=0) + 1
    names = names or tuple(f"class_{index}" for index in range(max(2, count)))
    label_map = _named(names, {index: index for index in range(len(names))}, ignore, "ids")
    unknown = [value for value in values if value not in label_map.ids]
    if unknown:
        where = found[unknown[0]]
        raise SegzooError(_unknown_values(where, unknown, label_map), _advice(unknown, label_map))
    return label_map


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

    A file has a line a class: ``name`` or ``red green blue name``.
    """
    if not text:
        return [], []
    file = next((path for path in (Path(text), root / text) if path.is_file()), None)
    if file is None:
        if text.endswith(".txt"):
            raise SegzooError(f"classes file {text}: no such file, here or in {root}")
        return [name.strip() for name in text.split(",") if name.strip()], []
    names: list[str] = []
    colours: list[RGB] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        if len(words) >= 4 and all(word.isdigit() and int(word) < 256 for word in words[:3]):
            colours.append((int(words[0]), int(words[1]), int(words[2])))
            words = words[3:]
        names.append(" ".join(words))
    if colours and len(colours) != len(names):
        raise SegzooError(f"{file}: {len(colours)} colours for {len(names)} classes")
    return names, colours


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
    if IGNORE not in ids:
        ids[IGNORE] = IGNORE
    if ignore is not None:
        ids[ignore] = IGNORE
        said += f", {ignore} is ignored"
    return LabelMap(tuple(kept), palette, ids, bool(palette), said)


def _pack(mask: Tensor) -> Tensor:
    red, green, blue = mask.to(torch.int32)
    return red << 16 | green << 8 | blue


def _pack_rgb(colour: RGB) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unknown_values(path: Path, unknown: list[int], label_map: LabelMap) -> str:
    if label_map.colours:
        return f"{path}: the colour {_as_rgb(unknown[0])} is no class's"
    shown = ", ".join(map(str, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
    count = len(label_map.classes)
    return f"{path}: label {shown} with {count} classes (0..{count - 1}, 255 is ignored)"


def _advice(unknown: list[int], label_map: LabelMap) -> str:
    if label_map.colours:
        return "add it to the classes file"
    return (
        f"name every class with -O classes=..., or leave the value out with -O ignore={unknown[0]}"
    )


def _as_rgb(value: int) -> RGB:
    return value >> 16 & 255, value >> 8 & 255, value & 255
