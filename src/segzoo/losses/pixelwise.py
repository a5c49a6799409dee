"""Losses that are a mean over pixels: cross-entropy, its hardest pixels, focal.

B batch, K classes, H height, W width, N all pixels of a batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo.compute.ranks import total
from segzoo.errors import SegzooError, listed, nearest
from segzoo.losses.plugin import (
    COUNTED_WEIGHTS,
    CrossEntropyOptions,
    FocalOptions,
    OhemOptions,
)
from segzoo.losses.targets import counted, distribution, mean_over

NO_LABEL = -100

SMALLEST = 1e-6
"""Distances stay above this: with gamma < 1 the slope of d^gamma is infinite at 0."""


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled pixels; 0 where a batch has none.

    With class weights a mean in which a pixel counts as much as its class, as in torch. In an
    alpha a pixel counts sum(w t): torch's sum(-w t log p) is not minimal at p = t.
    """

    of_all_ranks = True
    weight_K: Tensor | None

    def __init__(
        self,
        ignore_index: int | None,
        label_smoothing: float,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.ignore_index = NO_LABEL if ignore_index is None else ignore_index
        self.label_smoothing = label_smoothing
        self.register_buffer("weight_K", _as_tensor(weights), persistent=False)

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        logits_BKHW = logits_BKHW.float()
        if target_BHW.is_floating_point():
            return self._of_alpha(logits_BKHW, distribution(target_BHW, 2))
        cost = functional.cross_entropy(
            logits_BKHW,
            target_BHW,
            weight=self.weight_K,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        counted_BHW = target_BHW != self.ignore_index
        if self.weight_K is None:
            return total(cost) / total(counted_BHW.sum()).clamp(min=1)
        weight_BHW = self.weight_K[target_BHW.where(counted_BHW, 0)].where(counted_BHW, 0.0)
        return _divided(cost, weight_BHW.sum())

    def _of_alpha(self, logits_BKHW: Tensor, target_BKHW: Tensor) -> Tensor:
        cost_BHW = functional.cross_entropy(
            logits_BKHW, target_BKHW, label_smoothing=self.label_smoothing, reduction="none"
        )
        if self.weight_K is None:
            return mean_over(cost_BHW, torch.ones_like(cost_BHW, dtype=torch.bool))
        weight_BHW = _weighed(target_BKHW, self.weight_K)
        return _divided((cost_BHW * weight_BHW).sum(), weight_BHW.sum())


class HardestCrossEntropy(nn.Module):
    """Mean cross-entropy over the hardest pixels of the batch, less the target's own entropy.

    Online hard example mining (Shrivastava, Gupta, Girshick, "Training Region-based Object
    Detectors with Online Hard Example Mining", CVPR 2016, https://arxiv.org/abs/1604.03540), in
    the form usual for segmentation: the pixels whose true class has a probability below
    `threshold`, and at least the share `keep`. A label's entropy is 0; without that of a soft
    target, its uncertain pixels would be the hardest however well they were predicted. Of several
    ranks each finds the hardest pixels of its own share.
    """

    of_all_ranks = True

    def __init__(self, ignore_index: int | None, keep: float, threshold: float) -> None:
        super().__init__()
        self.ignore_index, self.keep, self.threshold = ignore_index, keep, threshold

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        counted_BHW = counted(target_BHW, self.ignore_index)
        target_BKHW = distribution(target_BHW, logits_BKHW.shape[1])
        entropy_BHW = -torch.special.xlogy(target_BKHW, target_BKHW).sum(1)
        cost_BHW = -(target_BKHW * logits_BKHW.float().log_softmax(1)).sum(1) - entropy_BHW
        # Ignored pixels come last: no other cost is below 0 by more than rounding.
        cost_N = cost_BHW.where(counted_BHW, -1.0).flatten().sort(descending=True).values
        pixels = counted_BHW.sum()
        place_N = torch.arange(cost_N.numel(), device=cost_N.device)
        hard_N = (place_N < (self.keep * pixels).ceil()) | ((-cost_N).exp() < self.threshold)
        return mean_over(cost_N, hard_N & (place_N < pixels))


class Focal(nn.Module):
    """Cross-entropy in which well predicted pixels count less: sum |t - p|^gamma (-t log p).

    For labels the focal loss of Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object
    Detection", ICCV 2017, https://arxiv.org/abs/1708.02002. The distance |t - p| in place of its
    1 - p makes soft targets minimal at p = t, as the quality focal loss of Li et al., "Generalized
    Focal Loss", NeurIPS 2020, https://arxiv.org/abs/2006.04388, here with a softmax. Class weights
    are the alpha of its equation 5, in a mean in which a pixel counts sum(w t), as in `ce`.
    """

    of_all_ranks = True
    weight_K: Tensor | None

    def __init__(
        self, ignore_index: int | None, gamma: float, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.ignore_index, self.gamma = ignore_index, gamma
        self.register_buffer("weight_K", _as_tensor(weights), persistent=False)

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        log_BKHW = logits_BKHW.float().log_softmax(1)
        target_BKHW = distribution(target_BHW, logits_BKHW.shape[1])
        distance_BKHW = (target_BKHW - log_BKHW.exp()).abs().clamp(min=SMALLEST)
        cost_BHW = -(distance_BKHW**self.gamma * target_BKHW * log_BKHW).sum(1)
        counted_BHW = counted(target_BHW, self.ignore_index)
        if self.weight_K is None:
            return mean_over(cost_BHW, counted_BHW)
        weight_BHW = _weighed(target_BKHW, self.weight_K).where(counted_BHW, 0.0)
        return _divided((cost_BHW * weight_BHW).sum(), weight_BHW.sum())


def build_cross_entropy(
    *, classes: Sequence[str], ignore_index: int | None, options: CrossEntropyOptions
) -> nn.Module:
    """Build `ce`. Raises SegzooError for weights that are not one number >= 0 for each class."""
    weights = _weights("ce", options.weight, classes)
    return CrossEntropy(ignore_index, options.label_smoothing, weights)


def build_ohem(
    *, classes: Sequence[str], ignore_index: int | None, options: OhemOptions
) -> nn.Module:
    """Build `ohem`."""
    return HardestCrossEntropy(ignore_index, options.keep, options.threshold)


def build_focal(
    *, classes: Sequence[str], ignore_index: int | None, options: FocalOptions
) -> nn.Module:
    """Build `focal`. Raises SegzooError as `build_cross_entropy` does."""
    return Focal(ignore_index, options.gamma, _weights("focal", options.weight, classes))


def _weights(loss: str, text: str | None, classes: Sequence[str]) -> list[float] | None:
    if text is None:
        return None
    example = ":".join(["1"] * (len(classes) - 1) + ["2.5"])
    hint = f"one number >= 0 for each class, not all 0, as in `{loss}(weight={example})`"
    if text in COUNTED_WEIGHTS:
        raise SegzooError(
            f"loss `{loss}`: weight={text} is counted in training pictures, and here are none",
            f"give {hint}",
        )
    try:
        weights = [float(part) for part in text.split(":")]
    except ValueError:
        raise SegzooError(
            f"loss `{loss}`: cannot read weight={text}",
            f"{nearest(text, COUNTED_WEIGHTS)}{hint}; or {listed(COUNTED_WEIGHTS)}",
        ) from None
    if len(weights) != len(classes):
        raise SegzooError(
            f"loss `{loss}`: {len(weights)} weights in weight={text}, and {len(classes)} classes",
            hint,
        )
    if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise SegzooError(f"loss `{loss}`: weight={text} cannot weigh classes", hint)
    return weights


def _as_tensor(weights: Sequence[float] | None) -> Tensor | None:
    return None if weights is None else torch.tensor(weights, dtype=torch.float32)


def _weighed(target_BKHW: Tensor, weight_K: Tensor) -> Tensor:
    return torch.einsum("bkhw,k->bhw", target_BKHW, weight_K)


def _divided(cost: Tensor, mass: Tensor) -> Tensor:
    cost, mass = total(cost), total(mass)
    # A batch may hold only ignored pixels or classes of weight 0.
    return torch.where(mass > 0, cost / mass.where(mass > 0, 1.0), 0.0 * cost)
