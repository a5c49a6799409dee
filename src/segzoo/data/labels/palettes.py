"""How one value a pixel is read from a mask: plain numbers, palette indices or colours.

A palette's indices say nothing by themselves: files of one set may number the same colours in
another order, and a white index 0 is no background. What the scanned masks agree on is the
`Reading`; every mask read later is held against it, and is read by colour or refused where its
palette is another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from segzoo.data.labels.mask_scan import Seen, pack, packed, unpack
from segzoo.data.pictures.mask_files import StoredMask
from segzoo.data.sample import voc_palette
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BLENDED = -(2**31)
"""The value of a pixel whose colour is no class's and is to be ignored."""
_COLOURLESS = BLENDED + 1
AS_THEY_ARE = "index"
"""As option `palette`: indices are taken whatever they show."""

NEAREST_WITHIN = 96.0


@dataclass(frozen=True)
class Blends:
    """What becomes of colours that a list of colours lacks."""

    mode: Literal["exact", "nearest", "ignore"] = "exact"
    tolerance: float | None = None

    @property
    def reach(self) -> float:
        """The largest distance to the nearest colour at which a colour is taken for it."""
        if self.mode == "exact":
            return 0.0
        default = NEAREST_WITHIN if self.mode == "nearest" else 0.0
        return default if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class Reading:
    """How stored masks become values, H x W.

    `reference` has the colour of each value. Palette masks are read by index where their colours
    agree with it, else by colour (`indexed` = "agree"), always by colour, or always by index.
    Plain numbers are values, or with `greys` the greys of colours. `listed` says that the
    reference is the user's list, to which `blends` applies.
    """

    reference: Mapping[int, RGB] = field(default_factory=dict)
    indexed: Literal["agree", "colour", "index"] = "agree"
    greys: bool = False
    listed: bool = False
    blends: Blends = Blends()
    known: bool = True
    """Whether palette masks were among those looked at, or a reference is given."""
    palette: Mapping[int, RGB] = field(default_factory=dict)
    """What indices show where that is not the reference: ids of a list with other colours."""
    void: frozenset[int] = frozenset()
    """Indices that are ignored, and so need no colour of the list."""

    def values(self, mask: StoredMask, path: Path) -> Tensor:
        """Return the values of a mask; raises SegzooError naming it where they are not clear."""
        if mask.in_colour:
            return self._of_colours(packed(mask.values), path)
        if mask.shown:
            table = self.by_index(mask.shown, mask.alpha, path)
            if table is None:
                return mask.values
            look_up = torch.full((256,), _COLOURLESS, dtype=torch.int32)
            for index, value in table.items():
                look_up[index] = value
            values = look_up[mask.values.long()]
            if (lacking := values == _COLOURLESS).any():
                raise _colourless(path, int(mask.values[lacking][0]))
            return values
        if self.greys or self.is_grey_colour(mask.grey_triples):
            return self._of_colours(mask.values.to(torch.int32) * 0x010101, path)
        return mask.values

    def counts(self, seen: Seen) -> dict[int, int]:
        """Return the values of a mask that was looked at, each with its pixels; raises as `values`
        does.
        """
        grey = not seen.shown and (self.greys or self.is_grey_colour(seen.grey_triples))
        if seen.in_colour or grey:
            keys = [key if seen.in_colour else key * 0x010101 for key in seen.counts]
            number = torch.tensor(list(seen.counts.values()))
            values = self._of_colours(
                torch.tensor(keys, dtype=torch.int32), seen.path, number, seen.pixels
            )
            table = dict(zip(seen.counts, values.tolist(), strict=True))
        elif seen.shown:
            table = self.by_index(seen.shown, seen.alpha, seen.path)
        else:
            table = None
        found: dict[int, int] = {}
        for key, count in seen.counts.items():
            if table is not None and key not in table:
                raise _colourless(seen.path, key)
            value = key if table is None else table[key]
            found[value] = found.get(value, 0) + count
        return found

    def is_grey_colour(self, grey_triples: bool) -> bool:
        """Whether equal red, green and blue are a colour of the reference, not numbers."""
        return grey_triples and bool(self.reference) and not self.listed and self.known

    def by_index(
        self, shown: Mapping[int, RGB], alpha: Mapping[int, int], path: Path
    ) -> dict[int, int] | None:
        """Return the value of each index in use, or None where the indices are the values."""
        if self.indexed == "index" or (self.indexed == "agree" and self.agrees(shown)):
            return None
        if not self.reference or not self.known:
            return _unforeseen(shown, path)
        by_colour: dict[RGB, list[int]] = {}
        for value, colour in self.reference.items():
            by_colour.setdefault(colour, []).append(value)
        if self.listed:
            void = {k: k for k in shown if k in self.void and shown[k] not in by_colour}
            rest = [k for k in shown if k not in void]
            keys = torch.tensor([pack(shown[k]) for k in rest], dtype=torch.int32)
            values = self._of_colours(keys, path).tolist() if rest else []
            table = {**void, **dict(zip(rest, values, strict=True))}
        elif all(len(by_colour.get(colour, ())) == 1 for colour in shown.values()):
            table = {index: by_colour[colour][0] for index, colour in shown.items()}
        else:
            raise self._another_palette(shown, path)
        _refuse_merged(shown, alpha, path)
        return table

    def agrees(self, shown: Mapping[int, RGB]) -> bool:
        """Whether a palette shows at every index in use what the reference does there, and at an
        index that the reference lacks no colour of another.
        """
        if not self.known:
            return all(colour == (index,) * 3 for index, colour in shown.items())
        usual = self.palette or self.reference
        others = set(usual.values())
        return bool(usual) and all(
            usual[index] == colour if index in usual else colour not in others
            for index, colour in shown.items()
        )

    def _of_colours(
        self, keys: Tensor, path: Path, number: Tensor | None = None, pixels: int = 0
    ) -> Tensor:
        """Return the values of packed colours; `number` has the pixels of each, of `pixels`."""
        if not self.reference:
            raise colour_among_ids(path)
        pairs = sorted((pack(colour), value) for value, colour in self.reference.items())
        known, value = (
            torch.tensor(column, dtype=torch.int32) for column in zip(*pairs, strict=True)
        )
        place = torch.searchsorted(known, keys.contiguous()).clamp(max=len(known) - 1)
        found, hit = value[place], known[place] == keys
        if hit.all():
            return found
        if not self.listed:
            raise colour_among_ids(path)
        colours, back = keys[~hit].unique(return_inverse=True)
        weights = torch.ones_like(back) if number is None else number[~hit]
        counts = torch.zeros(len(colours), dtype=torch.long).index_add_(0, back, weights.long())
        apart, nearest = distances(colours, known)
        if self.blends.mode != "ignore" and (apart > self.blends.reach).any():
            every = pixels or (keys.numel() if number is None else int(number.sum()))
            raise unknown_colours(path, colours, counts, apart, every, self.blends)
        chosen = torch.where(apart <= self.blends.reach, value[nearest], BLENDED)
        found[~hit] = chosen[back]
        return found

    def _another_palette(self, shown: Mapping[int, RGB], path: Path) -> SegzooError:
        index = next(
            k for k, colour in shown.items()
            if self.reference.get(k) != colour
            and (k in self.reference or colour in self.reference.values())
        )  # fmt: skip
        usual = self.reference.get(index)
        said = (
            f"index {index} shows {usual} in the others"
            if usual
            else (f"index {index} is not in the others")
        )
        return SegzooError(
            f"{path}: index {index} of its palette shows {shown[index]}; {said}",
            "save it with the palette of the others, or list the classes by colour: "
            f"{listed_by_colour({**self.reference, **shown}.values())}; -O palette=index takes "
            "indices whatever they show",
        )


class UnknownColoursError(SegzooError):
    """A mask holds colours that the list lacks, `reach` from the nearest at most."""

    reach: float = 0.0


def distances(colours: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far packed colours are from the nearest known one (0..442), and which it is."""
    apart = torch.cdist(_channels(colours), _channels(known))
    nearest = apart.min(1)
    return nearest.values, nearest.indices


def unknown_colours(
    path: Path, colours: Tensor, counts: Tensor, apart: Tensor, pixels: int, blends: Blends
) -> UnknownColoursError:
    """Return what to say of a mask with colours that the list lacks: of blends at the edges of
    areas another thing than of a class that is missing.
    """
    most = int(counts.argmax())
    first, total = unpack(int(colours[most])), int(counts.sum())
    share = f"{100 * total / max(pixels, 1):.2g} % of its pixels"
    ways = f"-O colours=nearest{_tolerance(apart)} takes the nearest class's colour, "
    ways += "-O colours=ignore leaves these pixels out"
    if blends.mode == "nearest":
        furthest = int(apart.argmax())
        message = (
            f"{path}: the colour {unpack(int(colours[furthest]))} is {apart[furthest]:.0f} from "
            f"the nearest class's, with tolerance {blends.reach:g}"
        )
        hint = f"{ways}; a class that is missing is added to the classes file"
    elif len(colours) < 3 or int(counts[most]) > total / 2:
        message = f"{path}: the colour {first} is no class's ({len(colours)} such, {share})"
        hint = f"add it to the classes file; or {ways}"
    else:
        message = (
            f"{path}: {len(colours)} colours, {share}, are no class's, as {first}: blended at "
            "edges, as drawing smoothly or resizing leaves them"
        )
        hint = f"{ways}; best are masks saved without smoothing"
    error = UnknownColoursError(message, hint)
    error.reach = float(apart.max())
    return error


def _tolerance(apart: Tensor) -> str:
    """Return the option without which not all of some colours become the nearest class's."""
    needed = float(apart.max())
    return f" -O tolerance={-int(-needed // 1)}" if needed > NEAREST_WITHIN else ""


def colour_among_ids(path: Path) -> SegzooError:
    """Return what to say of a colour mask where the others hold ids."""
    return SegzooError(
        f"{path} is a colour mask, others are not",
        "save masks as 8-bit ids or palette PNG, or list the classes in a file with lines "
        "`red green blue name` and give it as -O classes=FILE",
    )


def encoded(reference: Mapping[int, RGB]) -> str:
    """Return a reference as the option `palette` has it: ``0:#000000,1:#ff0000``."""
    return ",".join(f"{value}:#{pack(colour):06x}" for value, colour in sorted(reference.items()))


def decoded(text: str) -> dict[int, RGB]:
    """Return the reference of an option `palette`; raises SegzooError where it is none."""
    reference: dict[int, RGB] = {}
    for part in text.split(","):
        index, mark, colour = part.strip().partition(":")
        digits = colour.strip().removeprefix("#")
        try:
            if not mark or len(digits) != 6:
                raise ValueError
            reference[int(index)] = unpack(int(digits, 16))
        except ValueError:
            raise SegzooError(
                f"-O palette={text}: `{part.strip()}` is not an index with a colour",
                "as 0:#000000,1:#ff0000, or `index`: indices are taken whatever they show",
            ) from None
    return reference


def colours_of_classes(
    reference: Mapping[int, RGB], ids: Mapping[int, int], count: int
) -> tuple[RGB, ...]:
    """Return the colour that each of `count` classes has in the masks; `ids` has the class of each
    value of a reference. Classes that it lacks get others. Greys, and colours that two classes
    share, tell nothing: of such a reference it is (), as where there is none.
    """
    colours = {
        ids[value]: colour for value, colour in reference.items() if 0 <= ids.get(value, -1) < count
    }
    taken = set(colours.values())
    if len(taken) < len(colours) or all(len(set(colour)) == 1 for colour in taken):
        return ()
    usual = voc_palette(256)
    for label in sorted(set(range(count)) - set(colours)):
        colours[label] = next(c for c in (usual[label], *usual) if c not in taken)
        taken.add(colours[label])
    return tuple(colours[label] for label in range(count))


def _colourless(path: Path, index: int) -> SegzooError:
    return SegzooError(
        f"{path}: index {index} has no colour in its palette, by which it would be read",
        "save it with a whole palette, or take the indices whatever they show: -O palette=index",
    )


def _channels(keys: Tensor) -> Tensor:
    return torch.stack([keys >> 16 & 255, keys >> 8 & 255, keys & 255], 1).double()


def listed_by_colour(colours: Iterable[RGB]) -> str:
    """Return the option and the lines of a file that lists classes by some colours."""
    every = list(dict.fromkeys(colours))
    shown = ", ".join(f"`{' '.join(map(str, colour))} name`" for colour in every[:3])
    return f"-O classes=FILE with lines {shown}{', ...' if len(every) > 3 else ''}"


def _refuse_merged(shown: Mapping[int, RGB], alpha: Mapping[int, int], path: Path) -> None:
    """Refuse two indices of one colour of which one is transparent: by colour they are one."""
    for index in alpha:
        same = [k for k, colour in shown.items() if colour == shown.get(index) and k != index]
        if any(alpha.get(k, 255) != alpha[index] for k in same):
            raise SegzooError(
                f"{path}: the indices {same[0]} and {index} show the same colour "
                f"{shown[index]}, and one is transparent",
                "save the mask without transparency, each class in a colour of its own",
            )


def _unforeseen(shown: Mapping[int, RGB], path: Path) -> dict[int, int] | None:
    """Read a palette mask where none was among those looked at: black and white as 0 and 1."""
    if all(shown[k] == {0: BLACK, 1: WHITE}.get(k) for k in shown):
        return None
    raise SegzooError(
        f"{path} has a palette, the other masks that were looked at have none",
        "save it as 8-bit ids, or take the indices whatever they show: -O palette=index",
    )
