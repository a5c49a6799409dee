"""What segzoo-portraits provides; light, the generator is in `segzoo_portraits.generate`."""

from dataclasses import dataclass

from segzoo import DatasetSpec, option
from segzoo_hk.plugin import HKOptions


@dataclass(frozen=True, kw_only=True)
class PortraitsOptions(HKOptions):
    """Options of `portraits`: those of its layout, and what to generate."""

    train: int = option(
        1000, "generated training pictures, val included", minimum=1, maximum=1_000_000
    )
    test: int = option(100, "generated test pictures", minimum=1, maximum=1_000_000)
    seed: int = option(0, "seed of the generator", minimum=0)


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
            exceptions={"missing": "an empty root is filled with generated pictures"},
            options=PortraitsOptions,
            licence="Apache-2.0",
        )
    ]
