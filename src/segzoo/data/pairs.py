"""The pairs of one split, in little memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from segzoo.data.names import Names

SEPARATOR = "\0"
"""Between the paths of several masks of an image, as no path can hold it."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of one split, how they are laid out, and what has no partner.

    `images` and `masks` are the folders that all of them lie in; `rule` is what images and masks
    are told apart by, for people.
    """

    images: Path
    masks: Path
    keys: Names
    rule: str = ""
    without_mask: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image and the mask, or the masks, of a pair."""
        raise NotImplementedError

    def chosen(self, keys: Collection[str]) -> Self:
        """Return the pairs of some keys, in their order here."""
        return self.at([place for place, key in enumerate(self.keys) if key in keys])

    def at(self, places: Sequence[int]) -> Self:
        """Return the pairs at some places, in that order."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SuffixPairs(Pairs):
    """Pair n is `images / (key + ending)` with `masks / (key + ending)` for the two endings that
    `which[n]` names. Of very many pairs all of it is little but the keys themselves.
    """

    endings: tuple[tuple[str, str], ...]
    which: npt.NDArray[np.uint16]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image and the mask of a pair."""
        key, (image, mask) = self.keys[index], self.endings[self.which[index]]
        return self.images / f"{key}{image}", self.masks / f"{key}{mask}"

    def at(self, places: Sequence[int]) -> Self:
        """Return the pairs at some places, in that order."""
        kept = Names(self.keys[place] for place in places)
        return replace(self, keys=kept, which=self.which[list(places)])


@dataclass(frozen=True, kw_only=True)
class ListedPairs(Pairs):
    """Pairs whose paths, relative to `root`, follow no one rule.

    An image may have several masks: `classes` are those of each, where each holds one, and else
    they are joined. All of it is said in `segzoo.data.labels.merging`.
    """

    root: Path
    image_paths: Names
    mask_paths: Names
    several: bool = False
    classes: tuple[str, ...] = ()
    class_of: Names = field(default_factory=lambda: Names(()))

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image and the mask, or the masks, of a pair."""
        masks = self.mask_paths[index].split(SEPARATOR)
        return self.root / self.image_paths[index], *(self.root / mask for mask in masks)

    def classes_of(self, index: int) -> list[str]:
        """Return the class of each mask of a pair; none where masks hold ids of their own."""
        return self.class_of[index].split(SEPARATOR) if self.classes else []

    def at(self, places: Sequence[int]) -> Self:
        """Return the pairs at some places, in that order."""
        kept = {
            name: Names(getattr(self, name)[place] for place in places)
            for name in ("keys", "image_paths", "mask_paths", *["class_of"] * bool(self.classes))
        }
        return replace(self, **kept)
