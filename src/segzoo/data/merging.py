"""One mask out of several: a mask for each class, or for each object, of a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from segzoo.data.images import read_mask
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


def merge_objects(paths: Sequence[Path], upright: bool = True) -> Tensor:
    """Return the masks of a picture's objects as one, H x W; where several are set, the last one.

    Raises SegzooError for masks of two sizes, and for colour masks.
    """
    merged_HW: Tensor | None = None
    for path in paths:
        mask_HW = _grey(path, upright)
        if merged_HW is None:
            merged_HW = mask_HW.clone()
            continue
        _check_size(merged_HW, mask_HW, paths[0], path)
        merged_HW = torch.where(mask_HW != 0, mask_HW.to(merged_HW.dtype), merged_HW)
    assert merged_HW is not None
    return merged_HW


def _set(path: Path, threshold: int | None, upright: bool) -> Tensor:
    mask_HW = _grey(path, upright)
    if threshold is not None:
        return mask_HW > threshold
    values = mask_HW.unique()
    if len(values) > 2 or (len(values) == 2 and int(values[0]) != 0):
        shown = ", ".join(map(str, values[:5].tolist())) + (" ..." if len(values) > 5 else "")
        raise SegzooError(
            f"{path} holds the values {shown}; a mask of one class is 0 and one other value",
            "-O threshold=127 takes what is above it for the class",
        )
    return mask_HW != 0


def _grey(path: Path, upright: bool) -> Tensor:
    mask = read_mask(path, upright=upright)
    if mask.ndim == 3:
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
