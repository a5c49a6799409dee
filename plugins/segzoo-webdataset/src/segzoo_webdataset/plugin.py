"""What segzoo-webdataset provides; light, the data set is in `segzoo_webdataset.dataset`."""

from dataclasses import dataclass
from typing import Literal

from segzoo import DatasetSpec, option


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Options of `webdataset`."""

    image: str | None = option(None, "extension of the images in the shards: jpg, image.png")
    mask: str | None = option(None, "extension of the masks in the shards: png, seg.png")
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
        "default those of their type",
    )
    exif: Literal["apply", "ignore"] = option(
        "apply", "turn pictures and masks by their EXIF orientation, or take them as stored"
    )
    group: str | None = option(
        None,
        "pattern of SHARD/NAME that belong together (a film, a patient) when val is carved: "
        "{group}_*, {group}/*, or a regular expression with brackets",
    )
    val: float = option(
        0.01, "share of train carved out (seeded) where there is no val", minimum=0, maximum=0.9
    )
    window: int = option(
        10_000, "pictures that are shuffled among each other: those of whole shards", minimum=1
    )


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `webdataset`."""
    return [
        DatasetSpec(
            name="webdataset",
            summary="your own images and masks in tar shards, as WebDataset lays them out",
            build="segzoo_webdataset.dataset:build_webdataset",
            target=("labels", "alpha"),
            sample="segzoo_webdataset.dataset:write_sample",
            options=ShardOptions,
            homepage="https://github.com/webdataset/webdataset",
        )
    ]
