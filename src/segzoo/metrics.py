"""The core's metrics: scores from one integer confusion matrix, and the errors of a matte.

Metrics add up over a whole data set; nothing is averaged over batches. K is the class count.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.options import make_options
from segzoo.plugins import get_registry
from segzoo.specs import MetricSpec, target_kinds
from segzoo.terms import parse_terms


class Metric(Protocol):
    """What a metric's builder returns."""

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch."""
        ...

    def compute(self) -> float | Mapping[str, float]:
        """Return the score of all batches so far."""
        ...


def confusion_matrix(
    prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int | None
) -> Tensor:
    """Count pixels by (true class, predicted class): int64 K x K, on the inputs' device.

    `prediction` and `target` are int64 of one shape; pixels whose target is `ignore_index` or no
    class are left out.
    """
    bins = num_classes * num_classes
    valid = (target >= 0) & (target < num_classes)
    if ignore_index is not None:
        valid &= target != ignore_index
    index = torch.where(valid, target * num_classes + prediction, bins).flatten()
    if index.is_cuda:
        # bincount reads the largest value back to the host on CUDA, and so waits for the device.
        counts = torch.zeros(bins + 1, dtype=torch.int64, device=index.device)
        counts.scatter_add_(0, index, torch.ones_like(index))
    else:
        counts = torch.bincount(index, minlength=bins + 1)
    return counts[:bins].reshape(num_classes, num_classes)


class Confusion:
    """Pixel accuracy, mean IoU and IoU per class; an alpha counts as foreground from 0.5 on.

    IoU = TP / (TP + FP + FN) from the sums over the whole data set (PASCAL VOC). A class that
    neither the truth nor the prediction holds has no IoU and is left out of the mean.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int | None) -> None:
        self.classes, self.ignore_index = tuple(classes), ignore_index
        self.matrix: Tensor | None = None

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch."""
        if target_BHW.is_floating_point():
            target_BHW = (target_BHW >= 0.5).long()
        prediction_BHW = logits_BKHW.argmax(1)
        counts = confusion_matrix(prediction_BHW, target_BHW, len(self.classes), self.ignore_index)
        self.matrix = counts if self.matrix is None else self.matrix + counts

    def compute(self) -> dict[str, float]:
        """Return `pixel_accuracy`, `mean_iou` and `iou/CLASS`, each in 0..1."""
        count = len(self.classes)
        matrix = torch.zeros(count, count) if self.matrix is None else self.matrix.cpu()
        matrix = matrix.double()
        hits, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        union = truth + predicted - hits
        iou = hits / union  # nan where a class is nowhere
        scores = {
            "pixel_accuracy": float(hits.sum() / truth.sum().clamp(min=1)),
            "mean_iou": float(iou[union > 0].mean()) if (union > 0).any() else 0.0,
        }
        for name, value, area in zip(self.classes, iou.tolist(), union.tolist(), strict=True):
            if area > 0:
                scores[f"iou/{name}"] = value
        return scores


class MatteErrors:
    """Mean absolute and mean squared error of the alpha, per pixel, in 0..1."""

    def __init__(self) -> None:
        self.absolute: Tensor | None = None
        self.squared: Tensor | None = None
        self.pixels = 0

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch; the predicted alpha is the probability of class 1."""
        error = logits_BKHW.float().softmax(1)[:, 1] - target_BHW
        absolute, squared = error.abs().double().sum(), error.square().double().sum()
        self.absolute = absolute if self.absolute is None else self.absolute + absolute
        self.squared = squared if self.squared is None else self.squared + squared
        self.pixels += target_BHW.numel()

    def compute(self) -> dict[str, float]:
        """Return `mad` and `mse`."""
        if self.absolute is None or self.squared is None:
            return {"mad": 0.0, "mse": 0.0}
        return {
            "mad": float(self.absolute) / self.pixels,
            "mse": float(self.squared) / self.pixels,
        }


def build_confusion(
    *, classes: Sequence[str], ignore_index: int | None, options: None
) -> Confusion:
    """Build `confusion`."""
    return Confusion(classes, ignore_index)


def build_matte(*, classes: Sequence[str], ignore_index: int | None, options: None) -> MatteErrors:
    """Build `matte`."""
    return MatteErrors()


class MetricSet:
    """The metrics of one run: the core's that take the target kind, and further ones by name."""

    def __init__(
        self, further: str, *, classes: Sequence[str], ignore_index: int | None, target: str
    ) -> None:
        registry = get_registry()
        terms = parse_terms(further, ",", "metrics") if further.strip() else []
        entries = [registry.get_for(target, "metrics", term.name) for term in terms]
        own = [
            entry
            for entry in registry.all("metrics")
            if entry.distribution == "segzoo" and target in target_kinds(entry.spec.targets)
        ]
        self.entries = {entry.identity: entry for entry in own + entries}
        self._options: dict[str, dict[str, str]] = {
            entry.identity: term.options for entry, term in zip(entries, terms, strict=True)
        }
        self._how: dict[str, Any] = {"classes": tuple(classes), "ignore_index": ignore_index}
        self.higher_is_better: dict[str, bool] = {"loss": False}
        self._metrics: dict[str, Metric] = {}

    def start(self) -> None:
        """Begin a new pass over a data set."""
        self._metrics = {
            identity: entry.resolve("build")(
                **self._how,
                options=make_options(entry.spec.options, self._options.get(identity), entry.owner),
            )
            for identity, entry in self.entries.items()
        }

    def names(self, num_classes: int, target: str) -> list[str]:
        """List the names of the scores, from a made-up picture that holds every class."""
        labels_HW = torch.arange(64 * 64).reshape(64, 64) % num_classes
        logits_BKHW = torch.nn.functional.one_hot(labels_HW, num_classes).permute(2, 0, 1)[None]
        self.start()
        if target == "alpha":
            self.update(logits_BKHW.float(), labels_HW[None].clamp(max=1).float())
        else:
            self.update(logits_BKHW.float(), labels_HW[None])
        return list(self.compute())

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch in every metric."""
        for metric in self._metrics.values():
            metric.update(logits_BKHW, target_BHW)

    def compute(self) -> dict[str, float]:
        """Return all scores by name; a metric that gives one number has its spec's name."""
        scores: dict[str, float] = {}
        for identity, metric in self._metrics.items():
            spec: MetricSpec = self.entries[identity].spec
            value = metric.compute()
            named = dict(value) if isinstance(value, Mapping) else {spec.name: float(value)}
            twice = sorted(scores.keys() & named.keys() | named.keys() & {"loss"})
            if twice:
                raise SegzooError(
                    f"metric `{identity}` gives a score `{twice[0]}`, which another one has",
                    "leave it out of --metrics, or ask its authors for another name",
                )
            scores.update(named)
            self.higher_is_better |= dict.fromkeys(named, spec.higher_is_better)
        return scores
