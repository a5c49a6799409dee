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
        None, "class names by id, comma separated, or a text file with one a line"
    )
    ignore: int | None = option(
        None, "mask value that is neither trained on nor scored; -1: none, 255 too is a class"
    )
    target: Literal["labels", "alpha"] = option("labels", "class ids, or soft alpha mattes 0..255")
    threshold: int | None = option(
        None, "read masks as 0..255 mattes and call pixels above this foreground", minimum=0
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
