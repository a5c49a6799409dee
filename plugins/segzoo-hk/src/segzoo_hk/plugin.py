"""What segzoo-hk provides; light, the data set is in `segzoo_hk.dataset`."""

from dataclasses import dataclass
from typing import Literal

from segzoo import DatasetSpec, option

HOMEPAGE = "http://xiaoyongshen.me/webpage_portrait/index.html"


@dataclass(frozen=True, kw_only=True)
class HKOptions:
    """Options of `hk`, and of every data set in its layout."""

    matte: Literal["binary", "soft"] = option(
        "binary", "binary: person where the matte is above the threshold; soft: the alpha itself"
    )
    threshold: int = option(
        127, "pixels whose matte (0..255), after resizing, is above this are person", minimum=0,
        maximum=254,
    )  # fmt: skip
    val: float = option(
        0.1, "share of the training pictures carved out (seeded) as val", minimum=0, maximum=0.9
    )


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `hk`."""
    return [
        DatasetSpec(
            name="hk",
            summary="CUHK portrait mattes: 1700 training, 300 testing photographs of people",
            build="segzoo_hk.dataset:build_hk",
            classes=("background", "person"),
            palette=((0, 0, 0), (230, 60, 60)),
            target=("labels", "alpha"),
            ignore_index=None,
            sample="segzoo_hk.dataset:write_sample",
            options=HKOptions,
            homepage=HOMEPAGE,
            licence="research use; see the homepage",
        )
    ]
