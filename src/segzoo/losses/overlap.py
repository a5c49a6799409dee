"""Losses of the overlap of prediction and target, per class over the batch.

All are averaged over the classes that the batch's target holds. B batch, K classes, H height,
W width, N all pixels of a batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.compute.ranks import total
from segzoo.losses.plugin import DiceOptions, JaccardOptions, TverskyOptions
from segzoo.losses.targets import counted, distribution

DIMS = (0, 2, 3)


class Dice(nn.Module):
    """Soft Dice loss, 1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s), per class over the batch.

    Squares in the denominator (Milletari et al., V-Net, 2016, eq. 3) make it minimal at p = t for
    soft targets too. Averaged over the classes that the batch's target holds.
    """

    of_all_ranks = True

    def __init__(self, ignore_index: int | None, smooth: float) -> None:
        super().__init__()
        self.ignore_index, self.smooth = ignore_index, smooth

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        probability_BKHW, target_BKHW = _counted_pair(logits_BKHW, target_BHW, self.ignore_index)
        overlap_K = total((probability_BKHW * target_BKHW).sum(DIMS))
        mass_K = total(probability_BKHW.square().sum(DIMS) + target_BKHW.square().sum(DIMS))
        below_K = mass_K + self.smooth
        # 0 without smoothing where a class is neither there nor predicted, or all is ignored.
        loss_K = 1 - (2 * overlap_K + self.smooth) / below_K.where(below_K > 0, 1.0)
        return _mean_of_present(loss_K, total(target_BKHW.sum(DIMS)))


class Tversky(nn.Module):
    """Tversky loss, 1 - (TP + s) / (TP + alpha FP + beta FN + s), per class over the batch.

    Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", 2017, https://arxiv.org/abs/1706.05721. With the overlap
    TP = (sum p + sum t - sum |p - t|) / 2 in place of sum(p t), FP = sum p - TP and
    FN = sum t - TP it is minimal at p = t for soft targets too, and the same for labels: Wang,
    Ning, Blaschko, "Jaccard Metric Losses", NeurIPS 2023, https://arxiv.org/abs/2302.05666, and
    Wang et al., "Dice Semimetric Losses", MICCAI 2023, https://arxiv.org/abs/2303.16296.
    alpha = beta = 1 is the Jaccard metric loss, alpha = beta = 0.5 their Dice loss.
    """

    of_all_ranks = True

    def __init__(self, ignore_index: int | None, alpha: float, beta: float, smooth: float) -> None:
        super().__init__()
        self.ignore_index, self.smooth = ignore_index, smooth
        self.alpha, self.beta = alpha, beta

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        probability_BKHW, target_BKHW = _counted_pair(logits_BKHW, target_BHW, self.ignore_index)
        # FP and FN are summed by pixel: as differences of large sums they would be rounding.
        difference_BKHW = probability_BKHW - target_BKHW
        false_positive_K = total(difference_BKHW.clamp(min=0).sum(DIMS))
        false_negative_K = total((-difference_BKHW).clamp(min=0).sum(DIMS))
        overlap_K = total(torch.minimum(probability_BKHW, target_BKHW).sum(DIMS))
        wrong_K = self.alpha * false_positive_K + self.beta * false_negative_K
        union_K = overlap_K + wrong_K + self.smooth
        # 1 - (TP + s) / union; the union is 0 only where the class is absent.
        loss_K = wrong_K / union_K.where(union_K > 0, 1.0)
        return _mean_of_present(loss_K, total(target_BKHW.sum(DIMS)))


class Lovasz(nn.Module):
    """Lovasz-Softmax: the convex extension of 1 - IoU, per class over the batch; labels only.

    Berman, Rannen Triki, Blaschko, "The Lovasz-Softmax loss", CVPR 2018,
    https://arxiv.org/abs/1705.08790, with the classes present and all images of a batch as one.
    Of several ranks each sorts the errors of its own share, and the losses are averaged.
    """

    def __init__(self, ignore_index: int | None) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        # Ignored pixels have the error 0: they come last and weigh nothing.
        probability_BKHW, target_BKHW = _counted_pair(logits_BKHW, target_BHW, self.ignore_index)
        error_KN = (target_BKHW - probability_BKHW).abs().movedim(1, 0).flatten(1)
        error_KN, order_KN = error_KN.sort(dim=1, descending=True)
        truth_KN = target_BKHW.movedim(1, 0).flatten(1).gather(1, order_KN)
        loss_K = (error_KN * _jaccard_steps(truth_KN)).sum(1)
        return _mean_of_present(loss_K, target_BKHW.sum(DIMS))


def _jaccard_steps(truth_KN: Tensor) -> Tensor:
    """Return by how much each further pixel that is wrong raises 1 - IoU (Berman, alg. 1)."""
    # Whole numbers: a cumulative sum of floats is not deterministic on CUDA.
    truth_KN = truth_KN.long()
    total_K1 = truth_KN.sum(1, keepdim=True)
    overlap_KN = total_K1 - truth_KN.cumsum(1)
    union_KN = total_K1 + (1 - truth_KN).cumsum(1)
    loss_KN = 1 - overlap_KN / union_KN
    return loss_KN.diff(dim=1, prepend=torch.zeros_like(loss_KN[:, :1]))


def _counted_pair(
    logits_BKHW: Tensor, target_BHW: Tensor, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """Return probability_BKHW and target_BKHW in float32, both 0 at ignored pixels."""
    probability_BKHW = logits_BKHW.float().softmax(1)
    target_BKHW = distribution(target_BHW, logits_BKHW.shape[1])
    if ignore_index is None or target_BHW.is_floating_point():
        return probability_BKHW, target_BKHW
    counted_B1HW = counted(target_BHW, ignore_index)[:, None]
    return probability_BKHW * counted_B1HW, target_BKHW * counted_B1HW


def _mean_of_present(loss_K: Tensor, mass_K: Tensor) -> Tensor:
    present_K = mass_K > 0
    return (loss_K * present_K).sum() / present_K.sum().clamp(min=1)


def build_dice(
    *, classes: Sequence[str], ignore_index: int | None, options: DiceOptions
) -> nn.Module:
    """Build `dice`."""
    return Dice(ignore_index, options.smooth)


def build_jaccard(
    *, classes: Sequence[str], ignore_index: int | None, options: JaccardOptions
) -> nn.Module:
    """Build `jaccard`."""
    return Tversky(ignore_index, 1.0, 1.0, options.smooth)


def build_tversky(
    *, classes: Sequence[str], ignore_index: int | None, options: TverskyOptions
) -> nn.Module:
    """Build `tversky`."""
    return Tversky(ignore_index, options.alpha, options.beta, options.smooth)


def build_lovasz(*, classes: Sequence[str], ignore_index: int | None, options: None) -> nn.Module:
    """Build `lovasz`."""
    return Lovasz(ignore_index)
