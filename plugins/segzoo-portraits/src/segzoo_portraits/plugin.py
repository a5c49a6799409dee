"""What segzoo-portraits provides; light, the generator is in `segzoo_portraits.generate`."""

from dataclasses import dataclass
from typing import Literal

from segzoo import DatasetSpec, option


@dataclass(frozen=True, kw_only=True)
class PortraitsOptions:
    """Options of `portraits`."""

    train: int = option(1000, "generated training pictures, val included", minimum=1)
    test: int = option(100, "generated test pictures", minimum=1)
    seed: int = option(0, "seed of the generator", minimum=0)
    matte: Literal["binary", "soft"] = option(
        "binary", "binary: person where the matte is above the threshold; soft: the alpha itself"
    )
    threshold: int = option(
        0, "pixels whose matte (0..255), after resizing, is above this are person", minimum=0,
        maximum=254,
    )  # fmt: skip
    val: float = option(
        0.1, "share of the training pictures carved out (seeded) as val", minimum=0, maximum=0.9
    )


def segzoo_datasets() -> list[DatasetSpec]:
    """Return `portraits`."""
    return [
        DatasetSpec(
            name="portraits",
            summary="generated portraits with soft mattes; needs no download",
            build="segzoo_portraits.dataset:build_portraits",
            classes=("background", "person"),
            palette=((0, 0, 0), (230, 60, 60)),
            target=("labels", "alpha"),
            ignore_index=None,
            sample="segzoo_portraits.dataset:write_sample",
            options=PortraitsOptions,
            licence="Apache-2.0",
        )
    ]
