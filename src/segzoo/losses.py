"""The core's losses, and weighted sums of losses by name.

Logits are B x K x H x W; the target is labels_BHW (int64, ignore_index where unlabelled) or
alpha_BHW (float 0..1), which stands for the two-class distribution (1 - alpha, alpha).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo.builtin import CrossEntropyOptions, DiceOptions
from segzoo.options import make_options
from segzoo.plugins import get_registry
from segzoo.terms import parse_terms

NO_LABEL = -100

Loss = Callable[[Tensor, Tensor], Tensor]


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled pixels; 0 where a batch has none."""

    def __init__(self, ignore_index: int | None, label_smoothing: float) -> None:
        super().__init__()
        self.ignore_index = NO_LABEL if ignore_index is None else ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        logits_BKHW = logits_BKHW.float()
        if target_BHW.is_floating_point():
            target_BKHW = torch.stack([1 - target_BHW, target_BHW], dim=1)
            return functional.cross_entropy(
                logits_BKHW, target_BKHW, label_smoothing=self.label_smoothing
            )
        total = functional.cross_entropy(
            logits_BKHW,
            target_BHW,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / (target_BHW != self.ignore_index).sum().clamp(min=1)


class Dice(nn.Module):
    """Soft Dice loss, 1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s), per class over the batch.

    Squares in the denominator (Milletari et al., V-Net, 2016, eq. 3) make it minimal at p = t for
    soft targets too. Averaged over the classes that the batch's target holds.
    """

    def __init__(self, ignore_index: int | None, smooth: float) -> None:
        super().__init__()
        self.ignore_index, self.smooth = ignore_index, smooth

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        probability_BKHW = logits_BKHW.float().softmax(1)
        target_BKHW = self._one_hot(target_BHW, probability_BKHW)
        if self.ignore_index is not None and not target_BHW.is_floating_point():
            probability_BKHW = probability_BKHW * (target_BHW != self.ignore_index)[:, None]
        dims = (0, 2, 3)
        overlap_K = (probability_BKHW * target_BKHW).sum(dims)
        mass_K = probability_BKHW.square().sum(dims) + target_BKHW.square().sum(dims)
        loss_K = 1 - (2 * overlap_K + self.smooth) / (mass_K + self.smooth)
        present_K = target_BKHW.sum(dims) > 0
        return (loss_K * present_K).sum() / present_K.sum().clamp(min=1)

    def _one_hot(self, target_BHW: Tensor, like_BKHW: Tensor) -> Tensor:
        if target_BHW.is_floating_point():
            return torch.stack([1 - target_BHW, target_BHW], dim=1)
        # Ignored pixels match no class and so add nothing to any sum.
        classes_K = torch.arange(like_BKHW.shape[1], device=target_BHW.device)
        return (target_BHW[:, None] == classes_K[:, None, None]).to(like_BKHW.dtype)


def build_cross_entropy(
    *, classes: Sequence[str], ignore_index: int | None, options: CrossEntropyOptions
) -> Loss:
    """Build `ce`."""
    return CrossEntropy(ignore_index, options.label_smoothing)


def build_dice(*, classes: Sequence[str], ignore_index: int | None, options: DiceOptions) -> Loss:
    """Build `dice`."""
    return Dice(ignore_index, options.smooth)


class WeightedSum(nn.Module):
    """``ce + 0.5*dice``: each loss times its weight."""

    def __init__(self, terms: Sequence[tuple[float, Loss]]) -> None:
        super().__init__()
        self.terms = list(terms)
        self.parts = nn.ModuleList(loss for _, loss in terms if isinstance(loss, nn.Module))

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the weighted sum, a scalar."""
        losses = [weight * loss(logits_BKHW, target_BHW) for weight, loss in self.terms]
        return torch.stack(losses).sum()


def make_loss(
    expression: str, *, classes: Sequence[str], ignore_index: int | None, target: str
) -> nn.Module:
    """Build a loss from ``ce``, ``ce + 0.5*dice`` or ``ce(label_smoothing=0.1)``.

    Raises SegzooError for a malformed expression, an unknown loss, or one that does not take the
    data's target kind, naming those that do.
    """
    terms = []
    registry = get_registry()
    for weight, name, values in parse_terms(expression, "+", "loss"):
        entry = registry.get_for(target, "losses", name)
        options = make_options(entry.spec.options, values, entry.owner)
        build = entry.resolve("build")
        loss = build(classes=tuple(classes), ignore_index=ignore_index, options=options)
        terms.append((weight, loss))
    return WeightedSum(terms)
