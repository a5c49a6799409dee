"""What every loss needs of its target. B batch, K classes, H height, W width.

The target is labels_BHW (int64, ignore_index where unlabelled) or alpha_BHW (float 0..1), which
stands for the two-class distribution (1 - alpha, alpha).
"""

import torch
from torch import Tensor

from segzoo.compute.ranks import total


def distribution(target_BHW: Tensor, count: int) -> Tensor:
    """Return the target as target_BKHW, float32; all zeros where a label is none of the classes."""
    if target_BHW.is_floating_point():
        alpha_BHW = target_BHW.float()
        return torch.stack([1 - alpha_BHW, alpha_BHW], dim=1)
    classes_K = torch.arange(count, device=target_BHW.device)
    return (target_BHW[:, None] == classes_K[:, None, None]).float()


def counted(target_BHW: Tensor, ignore_index: int | None) -> Tensor:
    """Return counted_BHW (bool): the pixels that a loss looks at. An alpha has no ignored ones."""
    if ignore_index is None or target_BHW.is_floating_point():
        return torch.ones_like(target_BHW, dtype=torch.bool)
    return target_BHW != ignore_index


def mean_over(cost_BHW: Tensor, counted_BHW: Tensor) -> Tensor:
    """Return the mean of the counted pixels; 0, with a gradient of zeros, where there are none.

    The pixels are those of the batch, that of all ranks where there are several.
    """
    cost = cost_BHW.where(counted_BHW, 0.0).sum()
    return total(cost) / total(counted_BHW.sum()).clamp(min=1)
