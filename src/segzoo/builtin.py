"""The core's own parts, registered through the same hooks as any plugin's."""

from dataclasses import dataclass
from typing import Literal

from segzoo.builtin_losses import segzoo_losses as segzoo_losses
from segzoo.options import option
from segzoo.specs import DatasetSpec, MetricSpec

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

    images: str | None = option(
        None,
        "folder of the images under the root; {split} stands for it",
        external="segzoo.data.outside:place_fault",
    )
    masks: str | None = option(
        None,
        "folder of the masks under the root; {split} stands for it",
        external="segzoo.data.outside:place_fault",
    )
    suffix: str | None = option(None, "what a mask's name adds to its image's: _mask, _matte")
    pair: str | None = option(
        None,
        "patterns of an image's and its mask's name or path, with {name} for what both share: "
        "img_{name}.*:mask_{name}.png; {class} or * in the mask's for several masks an image",
        external="segzoo.data.outside:place_fault",
    )
    lists: str = option(
        "auto",
        "text files of the pictures of train, val and test: auto, none, or the folder they are in",
        external="segzoo.data.outside:place_fault",
    )
    classes: str | None = option(
        None,
        "class names by id, comma separated, or a file: names, ids or colours in lines",
        external="segzoo.data.outside:classes_fault",
    )
    ignore: str | None = option(
        None,
        "mask values that are neither trained on nor scored: 255, -1, `0,255`; nothing: every "
        "value is a class, 255 too",
        older={-1: "nothing"},
    )
    colours: Literal["exact", "nearest", "ignore"] = option(
        "exact", "colours that the file of classes lacks: refused, the nearest class's, or ignored"
    )
    tolerance: float | None = option(
        None,
        "distance of red, green, blue within which a colour is the nearest class's (default 96 for "
        "nearest, 0 for ignore)",
        minimum=0,
        maximum=442,
    )
    palette: str | None = option(
        None,
        "what indices of palette masks show, as 0:#000000,1:#ff0000; index: whatever they show",
    )
    target: Literal["labels", "alpha"] = option("labels", "class ids, or soft alpha mattes 0..255")
    threshold: int | None = option(
        None, "read masks as 0..255 mattes and call pixels above this foreground", minimum=0
    )
    range: str | None = option(
        None,
        "lowest and highest value of pictures of more than 8 bits, such as 0,4095 or 0,1; by "
        "default found by looking at some",
    )
    exif: Literal["apply", "ignore"] = option(
        "apply", "turn pictures and masks by their EXIF orientation, or take them as stored"
    )
    val: float = option(
        0.2, "share of train carved out (seeded) where there is no val", minimum=0, maximum=0.9
    )
    group: str | None = option(
        None,
        "pattern of names that belong together (a film, a patient) when val is carved: {group}_*, "
        "{group}/*, or a regular expression with brackets",
        external="segzoo.data.outside:group_fault",
    )


@dataclass(frozen=True, kw_only=True)
class BoundaryOptions:
    """Options of `boundary`."""

    width: float = option(
        0.02, "band of boundary IoU, as a share of the picture's diagonal", minimum=0, maximum=1
    )
    tolerance: float = option(
        0.008, "reach of boundary F, as a share of the picture's diagonal", minimum=0, maximum=1
    )


@dataclass(frozen=True, kw_only=True)
class MattingOptions:
    """Options of `matting`."""

    connectivity: bool = option(False, "also the connectivity error: on the CPU, and needs scipy")


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


def segzoo_metrics() -> list[MetricSpec]:
    """Return those that every run computes, then those asked for by name."""
    return [
        MetricSpec(
            name="confusion",
            summary="pixel accuracy, mean IoU and IoU per class (an alpha counts from 0.5 on)",
            build="segzoo.metrics.confusion:build_confusion",
            targets=("labels", "alpha"),
        ),
        MetricSpec(
            name="matte",
            summary="MAD and MSE of an alpha matte, both in 0..1 per pixel",
            build="segzoo.metrics.matte:build_matte",
            targets="alpha",
            higher_is_better=False,
        ),
        MetricSpec(
            name="overlap",
            summary="Dice, precision and recall per class, mean accuracy, frequency-weighted IoU",
            build="segzoo.metrics.confusion:build_overlap",
            targets=("labels", "alpha"),
        ),
        MetricSpec(
            name="boundary",
            summary="boundary IoU and boundary F, per class and mean",
            build="segzoo.metrics.boundary:build_boundary",
            targets=("labels", "alpha"),
            options=BoundaryOptions,
        ),
        MetricSpec(
            name="matting",
            summary="SAD, gradient and connectivity error of an alpha, in thousands per picture",
            build="segzoo.metrics.matte:build_matting",
            targets="alpha",
            higher_is_better=False,
            options=MattingOptions,
        ),
    ]
