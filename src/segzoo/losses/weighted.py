"""Sums of losses by name: ``ce + 0.5*dice``."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segzoo.compute.contracts import check_gradient, check_loss, check_unchanged, version
from segzoo.compute.process_state import unchanged_process
from segzoo.compute.ranks import own_share
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options
from segzoo.plugins.registry import Entry
from segzoo.plugins.terms import parse_terms

Loss = Callable[[Tensor, Tensor], Tensor]


class WeightedSum(nn.Module):
    """``ce + 0.5*dice``: each loss times its weight.

    Of several ranks a loss with `of_all_ranks` true adds up what it is made of over all of them
    (`segzoo.compute.ranks.total`). Any other one is averaged over the ranks, by their shares of the
    batch.
    """

    def __init__(
        self, terms: Sequence[tuple[float, Loss]], entries: Sequence[Entry | None] = ()
    ) -> None:
        super().__init__()
        self.terms = list(terms)
        self.entries = [*entries, *[None] * (len(terms) - len(entries))]
        self.parts = nn.ModuleList(loss for _, loss in terms if isinstance(loss, nn.Module))

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the weighted sum, a scalar."""
        losses = []
        # An error that comes out of a loss is told to be that of `entry`: see
        # train/recovery/culprit.py.
        for (weight, loss), entry in zip(self.terms, self.entries, strict=True):
            share = 1.0 if getattr(loss, "of_all_ranks", False) else own_share()
            owner = entry.owner if entry else f"the loss {type(loss).__name__}"
            before = version(logits_BKHW)
            value = loss(logits_BKHW, target_BHW)
            check_loss(value, owner)
            check_unchanged(logits_BKHW, before, owner)
            losses.append(weight * share * value)
        total = torch.stack(losses).sum()
        check_gradient(total, logits_BKHW, " + ".join(e.owner if e else "?" for e in self.entries))
        return total


def make_loss(
    expression: str, *, classes: Sequence[str], ignore_index: int | None, target: str
) -> nn.Module:
    """Build a loss from ``ce``, ``ce + 0.5*dice`` or ``ce(label_smoothing=0.1)``.

    Raises SegzooError for a malformed expression, an unknown loss, or one that does not take the
    data's target kind, naming those that do.
    """
    terms, entries = [], []
    registry = get_registry()
    for weight, name, values in parse_terms(expression, "+", "loss"):
        entry = registry.get_for(target, "losses", name)
        options = make_options(entry.spec.options, values, entry.owner)
        build = entry.resolve("build")
        with unchanged_process():
            loss = build(classes=tuple(classes), ignore_index=ignore_index, options=options)
        terms.append((weight, loss))
        entries.append(entry)
    return WeightedSum(terms, entries)
