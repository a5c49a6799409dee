"""One loss and one metric a fault."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def entropy(logits_BKHW: Tensor, labels_BHW: Tensor, ignore_index: int | None) -> Tensor:
    """Return cross-entropy as it should be."""
    ignored = -100 if ignore_index is None else ignore_index
    total = functional.cross_entropy(
        logits_BKHW.float(), labels_BHW, ignore_index=ignored, reduction="sum"
    )
    return total / (labels_BHW != ignored).sum().clamp(min=1)


def log_of_softmax(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that takes the logarithm of a probability of zero."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        log_BKHW = logits_BKHW.float().softmax(1).log()
        known_BHW = labels_BHW != ignore_index
        picked = log_BKHW.gather(1, labels_BHW.clamp(max=len(classes) - 1)[:, None])[:, 0]
        return -picked[known_BHW].sum() / known_BHW.sum().clamp(min=1)

    return loss


def counts_ignored(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that takes ignored pixels for the last class."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        return functional.cross_entropy(logits_BKHW.float(), labels_BHW.clamp(max=len(classes) - 1))

    return loss


def means_all(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that divides by all pixels, ignored ones too."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        kept = (labels_BHW != ignore_index).sum().clamp(min=1)
        return entropy(logits_BKHW, labels_BHW, ignore_index) * kept / labels_BHW.numel()

    return loss


def nan_unlabelled(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that divides by the number of labelled pixels, which may be zero."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        ignored = -100 if ignore_index is None else ignore_index
        return functional.cross_entropy(logits_BKHW.float(), labels_BHW, ignore_index=ignored)

    return loss


def linear_dice(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build Dice without squares, which prefers hard answers to soft targets."""

    def loss(logits_BKHW: Tensor, alpha_BHW: Tensor) -> Tensor:
        p_BHW = logits_BKHW.float().softmax(1)[:, 1]
        return 1 - 2 * (p_BHW * alpha_BHW).sum() / (p_BHW.sum() + alpha_BHW.sum()).clamp(min=1)

    return loss


def soft_focal(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build the focal loss on soft targets, where its weight moves the minimum away from them."""

    def loss(logits_BKHW: Tensor, alpha_BHW: Tensor) -> Tensor:
        log_BKHW = logits_BKHW.float().log_softmax(1)
        target_BKHW = torch.stack([1 - alpha_BHW, alpha_BHW], dim=1)
        return -((1 - log_BKHW.exp()) ** 2 * target_BKHW * log_BKHW).sum(1).mean()

    return loss


def remembers(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that weighs by how often it was called."""
    calls = []

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        calls.append(1)
        return entropy(logits_BKHW, labels_BHW, ignore_index) * len(calls)

    return loss


def detached_weight(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one whose weight by difficulty has no gradient."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        value = entropy(logits_BKHW, labels_BHW, ignore_index)
        return value * value.detach()

    return loss


def per_pixel(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that returns a value a pixel."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits_BKHW.float(), labels_BHW, ignore_index=ignore_index or -100, reduction="none"
        )

    return loss


def wrong_sign(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that is largest at the target."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        return -entropy(logits_BKHW, labels_BHW, ignore_index).tanh()

    return loss


def writes_target(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that changes its target in place."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        value = entropy(logits_BKHW, labels_BHW, ignore_index)
        labels_BHW[:, 0] = 0
        return value

    return loss


def needs_ignore(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one that compares labels with an ignore index there may not be."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        assert ignore_index is not None
        return entropy(logits_BKHW, labels_BHW, ignore_index)

    return loss


def no_gradient(*, classes: Sequence[str], ignore_index: int | None, options: Any) -> Loss:
    """Build one minus accuracy, which has no gradient."""

    def loss(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        return (logits_BKHW.argmax(1) != labels_BHW).float().mean()

    return loss


class Accuracy:
    """Pixel accuracy as it should be."""

    def __init__(self, *, classes: Sequence[str], ignore_index: int | None, options: Any) -> None:
        self.ignore_index = ignore_index
        self.hits = self.count = 0

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        known_BHW = labels_BHW != self.ignore_index
        self.hits += int(((logits_BKHW.argmax(1) == labels_BHW) & known_BHW).sum())
        self.count += int(known_BHW.sum())

    def compute(self) -> Any:
        """Return the share of hits."""
        return self.hits / max(self.count, 1)


wrong_direction_metric = Accuracy


class mean_of_batches_metric(Accuracy):  # noqa: N801
    """The mean of the batches' accuracies."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.values: list[float] = []

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        self.hits = self.count = 0
        super().update(logits_BKHW, labels_BHW)
        self.values.append(super().compute())

    def compute(self) -> Any:
        """Return the mean."""
        return sum(self.values) / max(len(self.values), 1)


class counts_ignored_metric(Accuracy):  # noqa: N801
    """Counts ignored pixels as class 0."""

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        super().update(logits_BKHW, torch.where(labels_BHW == self.ignore_index, 0, labels_BHW))


class fails_empty_metric(Accuracy):  # noqa: N801
    """Divides by zero without pictures."""

    def compute(self) -> Any:
        """Return the share of hits."""
        return self.hits / self.count


class last_batch_metric(Accuracy):  # noqa: N801
    """Weighs later pictures more."""

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        for logits, labels in zip(logits_BKHW, labels_BHW, strict=True):
            self.hits //= 2
            self.count //= 2
            super().update(logits[None], labels[None])


class some_names_metric(Accuracy):  # noqa: N801
    """Names only the classes that a picture holds."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.seen: set[int] = set()

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        super().update(logits_BKHW, labels_BHW)
        self.seen |= set(labels_BHW.unique().tolist())

    def compute(self) -> Any:
        """Return a score for each class that was seen."""
        return {f"class_{index}": super(some_names_metric, self).compute() for index in self.seen}


class called_loss_metric(Accuracy):  # noqa: N801
    """Takes the name of the loss."""

    def compute(self) -> Any:
        """Return the accuracy."""
        return {"loss": super().compute()}


class shared_counts_metric:  # noqa: N801
    """Keeps its counts in the class."""

    hits = count = 0

    def __init__(self, *, classes: Sequence[str], ignore_index: int | None, options: Any) -> None:
        self.ignore_index = ignore_index

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> None:
        """Take a batch."""
        known_BHW = labels_BHW != self.ignore_index
        hits_BHW = (logits_BKHW.argmax(1) == labels_BHW) & known_BHW
        shared_counts_metric.hits += int(hits_BHW.sum())
        shared_counts_metric.count += int(known_BHW.sum())

    def compute(self) -> Any:
        """Return the share of hits."""
        return self.hits / max(self.count, 1)


class off_by_one_metric(Accuracy):  # noqa: N801
    """Counts a pixel too many."""

    def compute(self) -> Any:
        """Return the share of hits."""
        return self.hits / (self.count + 1)


class sums_of_batches_metric(Accuracy):  # noqa: N801
    """Returns the sums of the batch, not those of each picture."""

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Any:
        """Take a batch."""
        super().update(logits_BKHW, labels_BHW)
        return torch.tensor([[self.hits, self.count]])

    def scores_of(self, sums_RS: Tensor) -> Tensor:
        """Return the share of hits."""
        return sums_RS[:, 0] / sums_RS[:, 1]


class other_pictures_metric(sums_of_batches_metric):  # noqa: N801
    """Gives every picture the same share."""

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Any:
        """Take a batch."""
        before = torch.tensor([[self.hits, self.count]])
        sums_1S = super().update(logits_BKHW, labels_BHW) - before
        return (sums_1S / len(labels_BHW)).expand(len(labels_BHW), 2)


class one_for_all_metric(sums_of_batches_metric):  # noqa: N801
    """Scores all the sums together."""

    def update(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Any:
        """Take a batch."""
        known_BHW = labels_BHW != self.ignore_index
        hits_BHW = (logits_BKHW.argmax(1) == labels_BHW) & known_BHW
        super().update(logits_BKHW, labels_BHW)
        return torch.stack([hits_BHW.sum((1, 2)), known_BHW.sum((1, 2))], dim=1)

    def scores_of(self, sums_RS: Tensor) -> Tensor:
        """Return the share of hits."""
        return sums_RS[:, 0].sum() / sums_RS[:, 1].sum()
