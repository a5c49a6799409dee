"""The boundary loss: probabilities weighed by their distance to the true boundary; labels only.

B batch, K classes, H height, W width; distances in pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo.losses.plugin import BoundaryOptions
from segzoo.losses.targets import counted, distribution, mean_over


class Boundary(nn.Module):
    """Mean over the labelled pixels of sum_k phi_k p_k, phi_k the signed distance to class k.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019,
    https://arxiv.org/abs/1812.07032. Outside class k phi_k is the distance to its nearest pixel;
    inside, 1 less the distance to the nearest pixel of another, as in the authors' code, so that
    the loss is negative where the prediction is good. Distances end at `reach`, which bounds the
    work and what a far pixel can cost; the paper's do not. A class that an image has not is at
    `reach` everywhere. Ignored pixels belong to no class.
    """

    of_all_ranks = True

    def __init__(self, ignore_index: int | None, reach: int) -> None:
        super().__init__()
        self.ignore_index, self.reach = ignore_index, reach

    def forward(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        counted_BHW = counted(target_BHW, self.ignore_index)
        inside_BKHW = distribution(target_BHW, logits_BKHW.shape[1]).bool()
        inside_BKHW = inside_BKHW & counted_BHW[:, None]
        phi_BKHW = signed_distance(inside_BKHW, self.reach)
        cost_BHW = (phi_BKHW * logits_BKHW.float().softmax(1)).sum(1)
        return mean_over(cost_BHW, counted_BHW)


@torch.no_grad()
def signed_distance(inside_BKHW: Tensor, reach: int) -> Tensor:
    """Return phi_BKHW (float32, -(reach - 1)..reach) of the regions inside_BKHW (bool).

    The regions of an image do not overlap; pixels of none have only distances outside.
    """
    outside_BKHW = distance(inside_BKHW, reach)
    # The nearest pixel of another class is the nearest of all the other classes' regions.
    others_BKHW = outside_BKHW.masked_fill(inside_BKHW, reach).amin(1, keepdim=True)
    return torch.where(inside_BKHW, 1 - others_BKHW, outside_BKHW)


def distance(inside_BKHW: Tensor, reach: int) -> Tensor:
    """Return the Euclidean distance of each pixel to the nearest one inside, at most `reach`."""
    far = float(reach * reach)
    squared_BKHW = torch.where(inside_BKHW, 0.0, far)
    for dim in (2, 3):  # exact: the least over the rows of the least over the columns
        squared_BKHW = _nearest_along(squared_BKHW, dim, reach, far)
    return squared_BKHW.sqrt()


def _nearest_along(squared_BKHW: Tensor, dim: int, reach: int, far: float) -> Tensor:
    size = squared_BKHW.shape[dim]
    margin = min(reach, size)
    edges = (0, 0, margin, margin) if dim == 2 else (margin, margin, 0, 0)
    padded = functional.pad(squared_BKHW, edges, value=far)
    least_BKHW = squared_BKHW
    for step in range(1, margin):
        for start in (margin - step, margin + step):
            moved_BKHW = padded.narrow(dim, start, size) + step * step
            least_BKHW = torch.minimum(least_BKHW, moved_BKHW)
    return least_BKHW


def build_boundary(
    *, classes: Sequence[str], ignore_index: int | None, options: BoundaryOptions
) -> nn.Module:
    """Build `boundary`."""
    return Boundary(ignore_index, options.reach)
