"""How well boundaries are met: boundary IoU and boundary F, on the device. K classes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.metrics.confusion import class_ids, pixel_counts
from segzoo.metrics.plugin import BoundaryOptions
from segzoo.metrics.resampling import class_mean, defined, sum_type

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
        self.areas_2K: Tensor | None = None
        self.f_sums_2K: list[Tensor] = []

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Take one batch; distances follow the size of its pictures.

        Returns each picture's intersections, unions, F and outlines: float32 B x 4K.
        """
        count, target_BHW = len(self.classes), class_ids(target_BHW)
        valid_BHW = (target_BHW >= 0) & (target_BHW < count)
        if self.ignore_index is not None:
            valid_BHW &= target_BHW != self.ignore_index
        truth_BHW = target_BHW.where(valid_BHW, VOID)
        prediction_BHW = logits_BKHW.argmax(1).where(valid_BHW, VOID)
        diagonal = math.hypot(*target_BHW.shape[1:])
        width = max(1, round(self.options.width * diagonal))
        # Pixels outside the bands form a class of their own, which is dropped.
        counts_B3K = pixel_counts(
            prediction_BHW.where(band(prediction_BHW, width), count),
            truth_BHW.where(band(truth_BHW, width), count),
            count + 1,
            None,
        )[:, :, :count]
        hits_BK, truth_BK, predicted_BK = counts_B3K.unbind(1)
        areas_B2K = torch.stack([hits_BK, truth_BK + predicted_BK - hits_BK], dim=1)
        sums_2K = areas_B2K.sum(0)
        self.areas_2K = sums_2K if self.areas_2K is None else self.areas_2K + sums_2K
        reach = math.ceil(self.options.tolerance * diagonal)
        f_K = [boundary_f(prediction_BHW == k, truth_BHW == k, reach) for k in range(count)]
        f_B2K = torch.stack(f_K, dim=2)
        self.f_sums_2K.append(f_B2K.sum(0, dtype=sum_type(f_B2K.device)))
        return torch.cat([areas_B2K.float(), f_B2K], dim=1).flatten(1)

    def compute(self) -> dict[str, float]:
        """Return `mean_boundary_iou`, `mean_boundary_f`, and both per class, each in 0..1.

        `boundary_iou/CLASS` and `boundary_f/CLASS` are left out for a class without any
        boundary in truth and prediction.
        """
        sums_4K = torch.zeros(4, len(self.classes), dtype=torch.float64)
        if self.areas_2K is not None:
            sums_4K[:2] = self.areas_2K.cpu()
        for sums_2K in self.f_sums_2K:
            sums_4K[2:] += sums_2K.cpu()
        means = ("mean_boundary_iou", "mean_boundary_f")
        scores = self.scores_of(sums_4K.reshape(1, -1))
        none = {name: torch.zeros(1) for name in means if bool(scores[name].isnan())}
        return defined(scores | none)

    def scores_of(self, sums_RS: Tensor) -> dict[str, Tensor]:
        """Return the scores of R sums of what `update` returns, nan where there is none."""
        hits_RK, union_RK, f_RK, outlines_RK = sums_RS.double().chunk(4, dim=1)
        return {
            **_named("boundary_iou", self.classes, hits_RK / union_RK),
            **_named("boundary_f", self.classes, f_RK / outlines_RK),
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
    """Return one class's boundary F in each picture, and 1 where it has one: float32 B x 2.

    Both are 0 for a picture in which neither mask has an outline. `reach` is in pixels.
    """
    outlines_2BHW = torch.stack([outline(predicted_BHW), outline(truth_BHW)]).float()
    swapped_2BHW = outlines_2BHW.flip(0)
    pixels_2B = outlines_2BHW.sum((2, 3))
    met_2B = (outlines_2BHW * dilate(swapped_2BHW, reach)).sum((2, 3))
    share_2B = met_2B / pixels_2B.clamp(min=1)
    f_B = 2 * share_2B.prod(0) / share_2B.sum(0).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.stack([f_B, (pixels_2B.sum(0) > 0).float()], dim=1)


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


def _named(score: str, classes: Sequence[str], values_RK: Tensor) -> dict[str, Tensor]:
    per_class = {f"{score}/{name}": values_RK[:, k] for k, name in enumerate(classes)}
    return {f"mean_{score}": class_mean(values_RK), **per_class}


def build_boundary(
    *, classes: Sequence[str], ignore_index: int | None, options: BoundaryOptions
) -> Boundary:
    """Build `boundary`."""
    return Boundary(classes, ignore_index, options)
