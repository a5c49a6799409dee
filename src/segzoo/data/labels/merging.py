"""One mask out of several: a mask for each class, or for each object, of a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from segzoo.data.images import read_matte, read_stored_mask
from segzoo.data.pictures.mask_files import StoredMask
from segzoo.errors import SegzooError

BACKGROUND = "background"


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of merged masks: the background first, where none of them is set."""
    return (BACKGROUND, *(name for name in classes if name.lower() != BACKGROUND))


def merge_classes(
    paths: Sequence[Path],
    of_each: Sequence[str],
    classes: Sequence[str],
    threshold: int | None,
    upright: bool = True,
) -> Tensor:
    """Return class ids, uint8 H x W, of masks that hold one class each; later ones lie on top.

    A mask is set where it is not 0, or above `threshold`. Raises SegzooError for masks of two
    sizes, and for one that holds more than two values.
    """
    names = class_names(classes)
    merged_HW: Tensor | None = None
    for path, label in zip(paths, of_each, strict=True):
        set_HW = _set(path, threshold, upright)
        merged_HW = torch.zeros(set_HW.shape, dtype=torch.uint8) if merged_HW is None else merged_HW
        _check_size(merged_HW, set_HW, paths[0], path)
        merged_HW[set_HW] = 0 if label.lower() == BACKGROUND else names.index(label)
    assert merged_HW is not None
    return merged_HW


def merge_objects(paths: Sequence[Path], upright: bool = True) -> StoredMask:
    """Return the masks of a picture's objects as one; where several are set, the last one.

    Raises SegzooError for masks of two sizes, for colour masks, and for palettes that show
    different colours at one index.
    """
    merged = _one(paths[0], upright)
    values, shown = merged.values.clone(), dict(merged.shown)
    for path in paths[1:]:
        mask = _one(path, upright)
        _check_size(values, mask.values, paths[0], path)
        if bool(mask.shown) != bool(shown) or any(
            shown.get(index, colour) != colour for index, colour in mask.shown.items()
        ):
            raise SegzooError(
                f"{paths[0]} and {path} show different things by the same values, or one has a "
                "palette",
                "save the masks of one picture in one form, as 8-bit ids",
            )
        shown.update(mask.shown)
        values = torch.where(_is_set(mask), mask.values.to(values.dtype), values)
    kept = {index: colour for index, colour in shown.items() if (values == index).any()}
    return StoredMask(values, kept)


def _set(path: Path, threshold: int | None, upright: bool) -> Tensor:
    mask = _one(path, upright)
    if threshold is not None:
        return read_matte(path, upright=upright) > threshold
    values = mask.values.unique()
    lone = not mask.shown and len(values) == 2 and int(values[0]) != 0
    if len(values) > 2 or lone:
        shown = ", ".join(map(str, values[:5].tolist())) + (" ..." if len(values) > 5 else "")
        raise SegzooError(
            f"{path} holds the values {shown}; a mask of one class is 0 and one other value",
            "-O threshold=127 takes what is above it for the class",
        )
    return _is_set(mask)


def _is_set(mask: StoredMask) -> Tensor:
    """Return where a mask is set: not 0, or in a palette with black, where it is not black."""
    black = [index for index, colour in mask.shown.items() if colour == (0, 0, 0)]
    white = any(colour == (255, 255, 255) for colour in mask.shown.values())
    if not black:
        return torch.ones_like(mask.values, dtype=torch.bool) if white else mask.values != 0
    return ~torch.isin(mask.values, torch.tensor(black, dtype=mask.values.dtype))


def _one(path: Path, upright: bool) -> StoredMask:
    mask = read_stored_mask(path, upright=upright)
    if mask.in_colour:
        raise SegzooError(
            f"{path} is a colour mask", "masks that are merged hold one class or object each"
        )
    return mask


def _check_size(merged_HW: Tensor, mask_HW: Tensor, first: Path, path: Path) -> None:
    if merged_HW.shape != mask_HW.shape:
        sizes = [f"{tensor.shape[-1]}x{tensor.shape[-2]}" for tensor in (merged_HW, mask_HW)]
        raise SegzooError(
            f"{first} is {sizes[0]} and {path} is {sizes[1]}",
            "the masks of one picture have one size",
        )
