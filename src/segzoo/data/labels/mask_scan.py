"""A look at evenly spaced masks of a data set: the values, palettes and colours that they hold."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from segzoo.data.pictures.mask_files import StoredMask
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

MOST_SCANNED = 512
MOST_COLOURS = 4096
"""Colours of one mask that are kept, the most frequent ones; what blends has thousands."""


@dataclass(frozen=True)
class Seen:
    """What one mask holds: each value (packed colour, where `in_colour`) with its pixels.

    `shown`, `alpha`, `grey_triples` and `spare` are those of its StoredMask.
    """

    path: Path
    counts: Mapping[int, int]
    shown: Mapping[int, RGB] = field(default_factory=dict)
    alpha: Mapping[int, int] = field(default_factory=dict)
    in_colour: bool = False
    grey_triples: bool = False
    pixels: int = 0
    spare: bool = False

    @property
    def shows(self) -> str:
        """What its first indices show, in words."""
        pairs = [f"{index} as {colour}" for index, colour in sorted(self.shown.items())]
        return ", ".join(pairs[:6]) + (", ..." if len(pairs) > 6 else "")


@dataclass(frozen=True)
class Scan:
    """What evenly spaced masks hold, and what cannot be read."""

    seen: list[Seen]
    faults: list[tuple[Path, SegzooError]]

    @property
    def coloured(self) -> list[Seen]:
        """The masks that hold colours."""
        return [mask for mask in self.seen if mask.in_colour]

    @property
    def indexed(self) -> list[Seen]:
        """The masks that hold indices which show colours."""
        return [mask for mask in self.seen if mask.shown]

    @property
    def plain(self) -> list[Seen]:
        """The masks that hold plain numbers."""
        return [mask for mask in self.seen if not mask.shown and not mask.in_colour]


def scan(paths: Sequence[Path], read: Callable[[Path], StoredMask]) -> Scan:
    """Look at up to 512 evenly spaced masks. One that cannot be read does not keep the others from
    being looked at: all of them are to be named, or left out.
    """
    paths = paths[:: max(1, -(-len(paths) // MOST_SCANNED))]

    def look(path: Path) -> Seen | SegzooError:
        try:
            return summed_up(read(path), path)
        except SegzooError as error:
            return error

    found = Scan([], [])
    with ThreadPoolExecutor() as pool:
        for path, mask in zip(paths, pool.map(look, paths), strict=True):
            if isinstance(mask, SegzooError):
                found.faults.append((path, mask))
            else:
                found.seen.append(mask)
    if not found.seen and found.faults:
        raise found.faults[0][1]
    return found


def summed_up(mask: StoredMask, path: Path) -> Seen:
    """Return what a mask holds, without its places."""
    values = packed(mask.values) if mask.in_colour else mask.values
    if values.dtype == torch.uint8:
        number = torch.bincount(values.flatten().int(), minlength=256)
        found = {value: n for value, n in enumerate(number.tolist()) if n}
    else:
        unique, number = values.unique(return_counts=True)
        if len(unique) > MOST_COLOURS:
            kept = number.argsort(descending=True)[:MOST_COLOURS]
            unique, number = unique[kept], number[kept]
        found = dict(zip(unique.tolist(), number.tolist(), strict=True))
    return Seen(
        path=path,
        counts=found,
        shown=mask.shown,
        alpha=mask.alpha,
        in_colour=mask.in_colour,
        grey_triples=mask.grey_triples,
        pixels=values.numel(),
        spare=mask.spare,
    )


def packed(mask_3HW: Tensor) -> Tensor:
    """Return colours as one number a pixel, int32 H x W."""
    red, green, blue = mask_3HW.to(torch.int32)
    return red << 16 | green << 8 | blue


def pack(colour: RGB) -> int:
    """Return a colour as one number."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def unpack(value: int) -> RGB:
    """Return the colour of a number that `pack` gave."""
    return value >> 16 & 255, value >> 8 & 255, value & 255
