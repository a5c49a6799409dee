"""Scores from integer counts of pixels, summed over the whole data set. K classes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.metrics.resampling import class_mean, defined


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
    return _matrices(prediction.reshape(1, -1), target.reshape(1, -1), num_classes, ignore_index)[0]


def pixel_counts(
    prediction_BHW: Tensor, target_BHW: Tensor, num_classes: int, ignore_index: int | None
) -> Tensor:
    """Count the hits, the pixels of the truth and those of the prediction: int64 B x 3 x K.

    These are the diagonal and the sums of each picture's confusion matrix, all that the scores
    need of it.
    """
    matrix_BKK = _matrices(
        prediction_BHW.flatten(1), target_BHW.flatten(1), num_classes, ignore_index
    )
    hits_BK = matrix_BKK.diagonal(dim1=1, dim2=2)
    return torch.stack([hits_BK, matrix_BKK.sum(2), matrix_BKK.sum(1)], dim=1)


def _matrices(
    prediction_BN: Tensor, target_BN: Tensor, num_classes: int, ignore_index: int | None
) -> Tensor:
    """Return each picture's confusion matrix, B x K x K, from one histogram for all of them."""
    pictures = len(target_BN)
    bins = pictures * num_classes * num_classes
    valid = (target_BN >= 0) & (target_BN < num_classes)
    if ignore_index is not None:
        valid &= target_BN != ignore_index
    rows_BN = target_BN
    if pictures > 1:
        step, end = num_classes, pictures * num_classes
        rows_BN = target_BN + torch.arange(0, end, step, device=target_BN.device)[:, None]
    index = torch.where(valid, rows_BN * num_classes + prediction_BN, bins).flatten()
    if index.is_cuda:
        # bincount reads the largest value back to the host on CUDA, and so waits for the device.
        counts = torch.zeros(bins + 1, dtype=torch.int64, device=index.device)
        counts.scatter_add_(0, index, torch.ones_like(index))
    else:
        counts = torch.bincount(index, minlength=bins + 1)
    return counts[:bins].reshape(pictures, num_classes, num_classes)


class Confusion:
    """Pixel accuracy, mean IoU and IoU per class; an alpha counts as foreground from 0.5 on.

    IoU = TP / (TP + FP + FN) from the sums over the whole data set (PASCAL VOC). A class that
    neither the truth nor the prediction holds has no IoU and is left out of the mean.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int | None) -> None:
        self.classes, self.ignore_index = tuple(classes), ignore_index
        self.counts_3K: Tensor | None = None

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Take one batch; return each picture's hits, truth and prediction: int64 B x 3K."""
        counts_B3K = pixel_counts(
            logits_BKHW.argmax(1), class_ids(target_BHW), len(self.classes), self.ignore_index
        )
        sums_3K = counts_B3K.sum(0)
        self.counts_3K = sums_3K if self.counts_3K is None else self.counts_3K + sums_3K
        return counts_B3K.flatten(1)

    def compute(self) -> dict[str, float]:
        """Return `pixel_accuracy`, `mean_iou` and `iou/CLASS`, each in 0..1."""
        return {"pixel_accuracy": 0.0, "mean_iou": 0.0} | defined(self.scores_of(self.so_far()))

    def so_far(self) -> Tensor:
        """Return the counts so far: int64 1 x 3K, on the CPU."""
        none_3K = torch.zeros(3, len(self.classes), dtype=torch.int64)
        return (none_3K if self.counts_3K is None else self.counts_3K.cpu()).reshape(1, -1)

    def scores_of(self, sums_RS: Tensor) -> dict[str, Tensor]:
        """Return the scores of R sums of what `update` returns, nan where there is none."""
        hits_RK, truth_RK, predicted_RK = _parts(sums_RS)
        iou_RK = hits_RK / (truth_RK + predicted_RK - hits_RK)  # 0 / 0 is nan
        return {
            "pixel_accuracy": hits_RK.sum(1) / truth_RK.sum(1),
            "mean_iou": class_mean(iou_RK),
            **_per_class("iou", self.classes, iou_RK),
        }


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
        none = {"mean_dice": 0.0, "mean_accuracy": 0.0, "fw_iou": 0.0}
        return none | defined(self.scores_of(self.so_far()))

    def scores_of(self, sums_RS: Tensor) -> dict[str, Tensor]:
        """Return the scores of R sums of what `update` returns, nan where there is none."""
        hits_RK, truth_RK, predicted_RK = _parts(sums_RS)
        either_RK = truth_RK + predicted_RK
        dice_RK = 2 * hits_RK / either_RK
        nowhere_RK = either_RK == 0
        precision_RK = (hits_RK / predicted_RK.clamp(min=1)).masked_fill(nowhere_RK, torch.nan)
        recall_RK = (hits_RK / truth_RK.clamp(min=1)).masked_fill(nowhere_RK, torch.nan)
        iou_RK = hits_RK / (either_RK - hits_RK).clamp(min=1)
        return {
            "mean_dice": class_mean(dice_RK),
            "mean_accuracy": class_mean(hits_RK / truth_RK),
            "fw_iou": (truth_RK * iou_RK).sum(1) / truth_RK.sum(1),
            **_per_class("dice", self.classes, dice_RK),
            **_per_class("precision", self.classes, precision_RK),
            **_per_class("recall", self.classes, recall_RK),
        }


def _parts(sums_RS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hits_RK, truth_RK, predicted_RK = sums_RS.double().chunk(3, dim=1)
    return hits_RK, truth_RK, predicted_RK


def _per_class(score: str, classes: Sequence[str], values_RK: Tensor) -> dict[str, Tensor]:
    return {f"{score}/{name}": values_RK[:, k] for k, name in enumerate(classes)}


def build_confusion(
    *, classes: Sequence[str], ignore_index: int | None, options: None
) -> Confusion:
    """Build `confusion`."""
    return Confusion(classes, ignore_index)


def build_overlap(*, classes: Sequence[str], ignore_index: int | None, options: None) -> Overlap:
    """Build `overlap`."""
    return Overlap(classes, ignore_index)
