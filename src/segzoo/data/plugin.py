"""The core's own data set `folder`, as its hook returns it. Light: no torch, no numpy."""

from dataclasses import dataclass
from typing import Literal

from segzoo.plugins.options import option
from segzoo.plugins.specs import DatasetSpec


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


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `folder`."""
    return [
        DatasetSpec(
            name="folder",
            summary="your own images and masks, in two folders or side by side",
            build="segzoo.data.folder.dataset:build_folder",
            target=("labels", "alpha"),
            sample="segzoo.data.standin:write_folder",
            options=FolderOptions,
        )
    ]
