"""The core's own parts, registered through the same hooks as any plugin's."""

from dataclasses import dataclass
from typing import Literal

from segzoo.options import option
from segzoo.specs import DatasetSpec, LossSpec, MetricSpec

# The built-in observers live with the training they observe; importing them loads no torch.
from segzoo.train.observers import (
    segzoo_epoch_end as segzoo_epoch_end,
)
from segzoo.train.observers import (
    segzoo_fit_end as segzoo_fit_end,
)
from segzoo.train.observers import (
    segzoo_fit_start as segzoo_fit_start,
)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Options of `folder`, the generic data set of images and masks."""

    images: str | None = option(None, "folder of the images under the root; {split} stands for it")
    masks: str | None = option(None, "folder of the masks under the root; {split} stands for it")
    suffix: str | None = option(None, "what a mask's name adds to its image's: _mask, _matte")
    classes: str | None = option(
        None, "class names by id, comma separated, or a text file with one a line"
    )
    ignore: int | None = option(None, "mask value that is neither trained on nor scored")
    target: Literal["labels", "alpha"] = option("labels", "class ids, or soft alpha mattes 0..255")
    threshold: int | None = option(
        None, "read masks as 0..255 mattes and call pixels above this foreground", minimum=0
    )
    val: float = option(
        0.2, "share of train carved out (seeded) where there is no val", minimum=0, maximum=0.9
    )


@dataclass(frozen=True, kw_only=True)
class CrossEntropyOptions:
    """Options of `ce`."""

    label_smoothing: float = option(0.0, "mass moved to the other classes", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class DiceOptions:
    """Options of `dice`."""

    smooth: float = option(1.0, "added to both parts of the fraction, in pixels", minimum=0)


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `folder`."""
    return [
        DatasetSpec(
            name="folder",
            summary="your own images and masks, in two folders or side by side",
            build="segzoo.data.folder:build_folder",
            target=("labels", "alpha"),
            sample="segzoo.data.standin:write_folder",
            options=FolderOptions,
        )
    ]


def segzoo_losses() -> list[LossSpec]:
    """Return cross-entropy and Dice."""
    return [
        LossSpec(
            name="ce",
            summary="cross-entropy; soft targets as in alpha mattes",
            build="segzoo.losses:build_cross_entropy",
            targets=("labels", "alpha"),
            options=CrossEntropyOptions,
        ),
        LossSpec(
            name="dice",
            summary="soft Dice over the batch, mean over the classes present",
            build="segzoo.losses:build_dice",
            targets=("labels", "alpha"),
            options=DiceOptions,
        ),
    ]


def segzoo_metrics() -> list[MetricSpec]:
    """Return the scores from one confusion matrix, and the errors of a matte."""
    return [
        MetricSpec(
            name="confusion",
            summary="pixel accuracy, mean IoU and IoU per class (an alpha counts from 0.5 on)",
            build="segzoo.metrics:build_confusion",
            targets=("labels", "alpha"),
        ),
        MetricSpec(
            name="matte",
            summary="MAD and MSE of an alpha matte, both in 0..1 per pixel",
            build="segzoo.metrics:build_matte",
            targets="alpha",
            higher_is_better=False,
        ),
    ]
