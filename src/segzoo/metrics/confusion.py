"""Scores from one integer confusion matrix, summed over the whole data set. K classes."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_ids(target_BHW: Tensor) -> Tensor:
    """Return a target as int64 class ids; an alpha counts as foreground from 0.5 on."""
    return (target_BHW >= 0.5).long() if target_BHW.is_floating_point() else target_BHW


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
        counts = confusion_matrix(
            logits_BKHW.argmax(1), class_ids(target_BHW), len(self.classes), self.ignore_index
        )
        self.matrix = counts if self.matrix is None else self.matrix + counts

    def sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pixels that hit, of the truth and of the prediction: float64 K, on the CPU."""
        count = len(self.classes)
        matrix = torch.zeros(count, count) if self.matrix is None else self.matrix.cpu()
        matrix = matrix.double()
        return matrix.diagonal(), matrix.sum(1), matrix.sum(0)

    def compute(self) -> dict[str, float]:
        """Return `pixel_accuracy`, `mean_iou` and `iou/CLASS`, each in 0..1."""
        hits, truth, predicted = self.sums()
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


class Overlap(Confusion):
    """Dice, precision and recall per class, mean accuracy and frequency-weighted IoU.

    With the hits, misses and false pixels of a class summed over the whole data set:
    Dice = 2 TP / (2 TP + FP + FN), the F1 score; precision = TP / (TP + FP); recall =
    TP / (TP + FN). Mean accuracy is the mean recall of the classes that the truth holds, and
    frequency-weighted IoU weighs the IoU of each class with its share of the labelled pixels
    (both Long et al., Fully Convolutional Networks, 2015, section 5).
    """

    def compute(self) -> dict[str, float]:
        """Return `mean_dice`, `mean_accuracy`, `fw_iou` and three scores a class, in 0..1.

        `dice/CLASS`, `precision/CLASS` and `recall/CLASS` are left out for a class that neither
        the truth nor the prediction holds; one that only one of them holds has 0 in all three.
        """
        hits, truth, predicted = self.sums()
        either = truth + predicted
        dice = 2 * hits / either.clamp(min=1)
        recall = hits / truth.clamp(min=1)
        iou = hits / (either - hits).clamp(min=1)
        scores = {
            "mean_dice": _mean(dice[either > 0]),
            "mean_accuracy": _mean(recall[truth > 0]),
            "fw_iou": float((truth * iou).sum() / truth.sum().clamp(min=1)),
        }
        per_class = {"dice": dice, "precision": hits / predicted.clamp(min=1), "recall": recall}
        for score, values in per_class.items():
            for name, value, area in zip(
                self.classes, values.tolist(), either.tolist(), strict=True
            ):
                if area > 0:
                    scores[f"{score}/{name}"] = value
        return scores


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0


def build_confusion(
    *, classes: Sequence[str], ignore_index: int | None, options: None
) -> Confusion:
    """Build `confusion`."""
    return Confusion(classes, ignore_index)


def build_overlap(*, classes: Sequence[str], ignore_index: int | None, options: None) -> Overlap:
    """Build `overlap`."""
    return Overlap(classes, ignore_index)
