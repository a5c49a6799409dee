"""The core's metrics as their hook returns them, with their options. Light: no torch, no numpy."""

from dataclasses import dataclass

from segzoo.plugins.options import option
from segzoo.plugins.specs import MetricSpec


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
