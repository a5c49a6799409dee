"""How well boundaries are met: boundary IoU and boundary F, on the device. K classes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.builtin import BoundaryOptions
from segzoo.metrics.confusion import class_ids, confusion_matrix

VOID = -1


class Boundary:
    """Boundary IoU (Cheng et al. 2021) and boundary F (Perazzi et al., DAVIS, 2016).

    Boundary IoU is the IoU of the pixels of each mask that lie within `width` of its outline or
    of the picture's edge; intersections and unions are summed over the data set, as for mean IoU
    (the paper defines it for one pair of masks). Boundary F is the harmonic mean of precision
    and recall of outline pixels with an outline pixel of the other side within `tolerance`; as
    in DAVIS and Csurka et al. 2013 it is taken per picture and class, then averaged over the
    pictures in which the class has an outline on either side. Pixels that are ignored belong to
    no class on both sides, as in the code of DAVIS 2017.
    """

    def __init__(
        self, classes: Sequence[str], ignore_index: int | None, options: BoundaryOptions
    ) -> None:
        self.classes, self.ignore_index, self.options = tuple(classes), ignore_index, options
        self.matrix: Tensor | None = None
        self.f_sums_2K: list[Tensor] = []

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch; distances follow the size of its pictures."""
        count, target_BHW = len(self.classes), class_ids(target_BHW)
        valid_BHW = (target_BHW >= 0) & (target_BHW < count)
        if self.ignore_index is not None:
            valid_BHW &= target_BHW != self.ignore_index
        truth_BHW = target_BHW.where(valid_BHW, VOID)
        prediction_BHW = logits_BKHW.argmax(1).where(valid_BHW, VOID)
        diagonal = math.hypot(*target_BHW.shape[1:])
        width = max(1, round(self.options.width * diagonal))
        # Pixels outside the bands form a class of their own, which is dropped in compute().
        counts = confusion_matrix(
            prediction_BHW.where(band(prediction_BHW, width), count),
            truth_BHW.where(band(truth_BHW, width), count),
            count + 1,
            None,
        )
        self.matrix = counts if self.matrix is None else self.matrix + counts
        reach = math.ceil(self.options.tolerance * diagonal)
        f_K = [boundary_f(prediction_BHW == k, truth_BHW == k, reach) for k in range(count)]
        self.f_sums_2K.append(torch.stack(f_K, dim=1))

    def compute(self) -> dict[str, float]:
        """Return `mean_boundary_iou`, `mean_boundary_f`, and both per class, each in 0..1.

        `boundary_iou/CLASS` and `boundary_f/CLASS` are left out for a class without any
        boundary in truth and prediction.
        """
        count = len(self.classes)
        matrix = torch.zeros(count + 1, count + 1) if self.matrix is None else self.matrix.cpu()
        matrix = matrix.double()
        hits = matrix.diagonal()[:count]
        union = matrix.sum(0)[:count] + matrix.sum(1)[:count] - hits
        f_2K = torch.zeros(2, count).double()
        for sums_2K in self.f_sums_2K:
            f_2K += sums_2K.cpu()
        return {
            **_named("boundary_iou", self.classes, hits, union),
            **_named("boundary_f", self.classes, f_2K[0], f_2K[1]),
        }


def band(labels_BHW: Tensor, width: int) -> Tensor:
    """Mark the pixels less than `width` + 1 rows and columns from another label or the edge.

    bool B x H x W. Equals eroding the mask of every class `width` times with a 3 x 3 square and
    taking the rest, as the published code does, in one go: a square holds one label alone where
    its maximum is its minimum. Label ids are exact in float32.
    """
    padded_B1HW = functional.pad(labels_BHW[:, None].float(), (width,) * 4, value=VOID)
    inner = _largest_near(padded_B1HW, width) == -_largest_near(-padded_B1HW, width)
    return ~inner[:, 0] & (labels_BHW != VOID)


def _largest_near(values_B1HW: Tensor, width: int) -> Tensor:
    side = 2 * width + 1  # Rows first, then columns: a square's maximum in 2n steps, not n^2.
    rows = functional.max_pool2d(values_B1HW, (1, side), stride=1)
    return functional.max_pool2d(rows, (side, 1), stride=1)


def boundary_f(predicted_BHW: Tensor, truth_BHW: Tensor, reach: int) -> Tensor:
    """Return the sum over pictures of one class's boundary F, and their number: float32, 2.

    Pictures in which neither mask has an outline count in neither. `reach` is in pixels.
    """
    outlines_2BHW = torch.stack([outline(predicted_BHW), outline(truth_BHW)]).float()
    swapped_2BHW = outlines_2BHW.flip(0)
    pixels_2B = outlines_2BHW.sum((2, 3))
    met_2B = (outlines_2BHW * dilate(swapped_2BHW, reach)).sum((2, 3))
    share_2B = met_2B / pixels_2B.clamp(min=1)
    f_B = 2 * share_2B.prod(0) / share_2B.sum(0).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.stack([f_B.sum(), (pixels_2B.sum(0) > 0).sum().float()])


def outline(mask_BHW: Tensor) -> Tensor:
    """Mark where a mask differs from its right, lower or lower right neighbour: bool B x H x W.

    The picture's edge is no outline (`seg2bmap` of the Berkeley benchmark, as DAVIS uses it).
    """
    grown = functional.pad(mask_BHW[:, None].float(), (0, 1, 0, 1), mode="replicate")[:, 0].bool()
    right, below, across = grown[:, :-1, 1:], grown[:, 1:, :-1], grown[:, 1:, 1:]
    return (mask_BHW ^ right) | (mask_BHW ^ below) | (mask_BHW ^ across)


def dilate(marks_2BHW: Tensor, reach: int) -> Tensor:
    """Grow 0/1 marks by a disk of `reach` pixels: bool, of the same shape."""
    steps = torch.arange(-reach, reach + 1, device=marks_2BHW.device).square()
    disk = (steps[:, None] + steps <= reach**2).to(marks_2BHW.dtype)
    # Max-pooling knows no disks; counts of 0/1 are exact, also in TF32, but an FFT may round.
    marks_N1HW = marks_2BHW.flatten(0, 1)[:, None]
    met_N1HW = functional.conv2d(marks_N1HW, disk[None, None], padding=reach)
    return (met_N1HW > 0.5).reshape(marks_2BHW.shape)


def _named(
    score: str, classes: Sequence[str], sums_K: Tensor, weights_K: Tensor
) -> dict[str, float]:
    there = weights_K > 0
    values_K = sums_K / weights_K.clamp(min=1)
    scores = {f"mean_{score}": float(values_K[there].mean()) if there.any() else 0.0}
    for name, value, kept in zip(classes, values_K.tolist(), there.tolist(), strict=True):
        if kept:
            scores[f"{score}/{name}"] = value
    return scores


def build_boundary(
    *, classes: Sequence[str], ignore_index: int | None, options: BoundaryOptions
) -> Boundary:
    """Build `boundary`."""
    return Boundary(classes, ignore_index, options)
