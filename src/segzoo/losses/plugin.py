"""The core's losses as specs, with their options; their code is in `segzoo.losses`."""

from dataclasses import dataclass

from segzoo.plugins.options import option
from segzoo.plugins.specs import LossSpec

COUNTED_WEIGHTS = ("auto", "median", "enet")
"""Class weights that are counted in the training pictures."""

KINK = {"gradient": "|p - t| has a kink at p = t: a finite step crosses it at some soft pixels"}
SELECTION = {"gradient": "a finite step changes which pixels are the hardest"}


@dataclass(frozen=True, kw_only=True)
class ClassWeightOptions:
    """Base of the options of losses that weigh classes.

    Before a training the core puts numbers, counted in the training pictures, in the place of a
    word: see `segzoo.losses.balance`. The loss itself is only ever built with numbers.
    """

    weight: str | None = option(
        None,
        "how much each class counts: numbers, 1:2.5:1, or by the training pictures' pixels: "
        "median (median frequency), enet (1 / ln(1.02 + share)), auto (median)",
    )


@dataclass(frozen=True, kw_only=True)
class CrossEntropyOptions(ClassWeightOptions):
    """Options of `ce`."""

    label_smoothing: float = option(0.0, "mass moved to the other classes", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class OhemOptions:
    """Options of `ohem`."""

    keep: float = option(
        0.25, "share of the pixels, the hardest, kept always", minimum=0, maximum=1
    )
    threshold: float = option(
        0.0, "keep all pixels too whose class has a probability below it", minimum=0, maximum=1
    )


@dataclass(frozen=True, kw_only=True)
class FocalOptions(ClassWeightOptions):
    """Options of `focal`."""

    gamma: float = option(
        2.0, "how much less well predicted pixels count; 0 is cross-entropy", minimum=0
    )


@dataclass(frozen=True, kw_only=True)
class DiceOptions:
    """Options of `dice`."""

    smooth: float = option(1.0, "added to both parts of the fraction, in pixels", minimum=0)


@dataclass(frozen=True, kw_only=True)
class JaccardOptions:
    """Options of `jaccard`."""

    smooth: float = option(0.0, "added to both parts of the fraction, in pixels", minimum=0)


@dataclass(frozen=True, kw_only=True)
class TverskyOptions:
    """Options of `tversky`."""

    alpha: float = option(0.3, "weight of false positives", minimum=0)
    beta: float = option(0.7, "weight of false negatives", minimum=0)
    smooth: float = option(0.0, "added to both parts of the fraction, in pixels", minimum=0)


@dataclass(frozen=True, kw_only=True)
class BoundaryOptions:
    """Options of `boundary`."""

    reach: int = option(20, "the largest distance, in pixels; work grows with it", minimum=1)


@dataclass(frozen=True, kw_only=True)
class LaplacianOptions:
    """Options of `laplacian`."""

    levels: int = option(5, "levels of the pyramid, each half the size", minimum=1, maximum=10)


def segzoo_losses() -> list[LossSpec]:
    """Return the losses of single pixels, of overlap, of boundaries and of mattes."""
    return [*_pixelwise(), *_overlap(), *_matte()]


def _pixelwise() -> list[LossSpec]:
    return [
        LossSpec(
            name="ce",
            summary="cross-entropy; soft targets as in alpha mattes",
            build="segzoo.losses.pixelwise:build_cross_entropy",
            targets=("labels", "alpha"),
            options=CrossEntropyOptions,
        ),
        LossSpec(
            name="ohem",
            summary="cross-entropy of the hardest pixels (Shrivastava et al. 2016)",
            build="segzoo.losses.pixelwise:build_ohem",
            targets=("labels", "alpha"),
            options=OhemOptions,
            exceptions=SELECTION,
        ),
        LossSpec(
            name="focal",
            summary="cross-entropy less the easy pixels (Lin et al. 2017; soft: Li et al. 2020)",
            build="segzoo.losses.pixelwise:build_focal",
            targets=("labels", "alpha"),
            options=FocalOptions,
        ),
        LossSpec(
            name="boundary",
            summary="distance to the true boundary (Kervadec et al. 2019); add it to another loss",
            build="segzoo.losses.boundary:build_boundary",
            options=BoundaryOptions,
        ),
    ]


def _overlap() -> list[LossSpec]:
    return [
        LossSpec(
            name="dice",
            summary="soft Dice over the batch, mean over the classes present",
            build="segzoo.losses.overlap:build_dice",
            targets=("labels", "alpha"),
            options=DiceOptions,
        ),
        LossSpec(
            name="jaccard",
            summary="soft IoU over the batch, classes present (Wang et al. 2023)",
            build="segzoo.losses.overlap:build_jaccard",
            targets=("labels", "alpha"),
            options=JaccardOptions,
            exceptions=KINK,
        ),
        LossSpec(
            name="tversky",
            summary="overlap with weighed errors (Salehi et al. 2017; soft: Wang et al. 2023)",
            build="segzoo.losses.overlap:build_tversky",
            targets=("labels", "alpha"),
            options=TverskyOptions,
            exceptions=KINK,
        ),
        LossSpec(
            name="lovasz",
            summary="Lovasz-Softmax of the IoU, classes present (Berman et al. 2018)",
            build="segzoo.losses.overlap:build_lovasz",
        ),
    ]


def _matte() -> list[LossSpec]:
    return [
        LossSpec(
            name="l1",
            summary="mean absolute difference of the alpha (Xu et al. 2017, without epsilon)",
            build="segzoo.losses.matte:build_l1",
            targets="alpha",
            exceptions=KINK,
        ),
        LossSpec(
            name="bce",
            summary="binary cross-entropy of the alpha; what `ce` is for two classes",
            build="segzoo.losses.matte:build_bce",
            targets="alpha",
        ),
        LossSpec(
            name="laplacian",
            summary="L1 of the alpha's Laplacian pyramid (Hou and Liu 2019)",
            build="segzoo.losses.matte:build_laplacian",
            targets="alpha",
            options=LaplacianOptions,
        ),
        LossSpec(
            name="gradient",
            summary="L1 of the alpha's steps (Li and Snavely 2018); blind to constants: add l1",
            build="segzoo.losses.matte:build_gradient",
            targets="alpha",
        ),
    ]
