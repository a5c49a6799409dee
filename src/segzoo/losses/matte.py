"""Losses of alpha mattes: alpha_BHW (float, 0..1) against the foreground's probability.

The foreground is the second of two classes. B batch, H height, W width.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo.losses.plugin import LaplacianOptions


class MatteLoss(nn.Module):
    """A function of difference_BHW, the foreground's probability less the alpha, float32."""

    def __init__(self, cost: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cost = cost

    def forward(self, logits_BKHW: Tensor, alpha_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        return self.cost(logits_BKHW.float().softmax(1)[:, 1] - alpha_BHW.float())


class MatteCrossEntropy(nn.Module):
    """Mean binary cross-entropy of the foreground; for two classes what `ce` is."""

    def forward(self, logits_BKHW: Tensor, alpha_BHW: Tensor) -> Tensor:
        """Return the scalar loss, in float32 whatever the logits' precision."""
        background_BHW, foreground_BHW = logits_BKHW.float().unbind(1)
        odds_BHW = foreground_BHW - background_BHW
        return functional.binary_cross_entropy_with_logits(odds_BHW, alpha_BHW.float())


def absolute(difference_BHW: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return difference_BHW.abs().mean()


def gradient(difference_BHW: Tensor) -> Tensor:
    """Return the mean of |d/dx| + |d/dy| of the difference, as steps between neighbours.

    The gradient matching term of Li and Snavely, "MegaDepth", CVPR 2018,
    https://arxiv.org/abs/1804.00607, at one scale.
    """
    steps = difference_BHW.diff(dim=1).abs().sum() + difference_BHW.diff(dim=2).abs().sum()
    return steps / difference_BHW.numel()


def laplacian(difference_BHW: Tensor, levels: int = 5) -> Tensor:
    """Return the sum over levels i = 1.. of 2^(i-1) |L_i|, per pixel of the full size.

    Hou and Liu, "Context-Aware Image Matting for Simultaneous Foreground and Alpha Estimation",
    ICCV 2019, https://arxiv.org/abs/1909.09725, there with 5 levels. The pyramid is that of Burt
    and Adelson, 1983: its last level is the small picture itself, so that the loss is 0 only where
    the difference is. It is linear: that of the difference is the difference of two.
    """
    image_B1HW, total = difference_BHW[:, None], difference_BHW.new_zeros(())
    for level in range(levels - 1):
        smaller_B1HW = _reduced(image_B1HW)
        total = total + 2**level * (image_B1HW - _expanded(smaller_B1HW, image_B1HW)).abs().sum()
        image_B1HW = smaller_B1HW
    return (total + 2 ** (levels - 1) * image_B1HW.abs().sum()) / difference_BHW.numel()


def _reduced(image_B1HW: Tensor) -> Tensor:
    """Return the picture smoothed, every other row and column."""
    weight_B1HW = _smoothed(torch.ones_like(image_B1HW))
    return (_smoothed(image_B1HW) / weight_B1HW)[..., ::2, ::2]


def _expanded(small_B1HW: Tensor, like_B1HW: Tensor) -> Tensor:
    """Return the picture at the size of `like_B1HW`, new pixels between the old ones."""
    spread_B1HW, weight_B1HW = torch.zeros_like(like_B1HW), torch.zeros_like(like_B1HW)
    spread_B1HW[..., ::2, ::2] = small_B1HW
    weight_B1HW[..., ::2, ::2] = 1
    return _smoothed(spread_B1HW) / _smoothed(weight_B1HW)


def _smoothed(image_B1HW: Tensor) -> Tensor:
    # Divided by the same of ones, zeros beyond the border do not count.
    taps = image_B1HW.new_tensor([1, 4, 6, 4, 1]) / 16
    image_B1HW = functional.conv2d(image_B1HW, taps.reshape(1, 1, 5, 1), padding=(2, 0))
    return functional.conv2d(image_B1HW, taps.reshape(1, 1, 1, 5), padding=(0, 2))


def build_l1(*, classes: Sequence[str], ignore_index: int | None, options: None) -> nn.Module:
    """Build `l1`."""
    return MatteLoss(absolute)


def build_bce(*, classes: Sequence[str], ignore_index: int | None, options: None) -> nn.Module:
    """Build `bce`."""
    return MatteCrossEntropy()


def build_laplacian(
    *, classes: Sequence[str], ignore_index: int | None, options: LaplacianOptions
) -> nn.Module:
    """Build `laplacian`."""
    return MatteLoss(partial(laplacian, levels=options.levels))


def build_gradient(*, classes: Sequence[str], ignore_index: int | None, options: None) -> nn.Module:
    """Build `gradient`."""
    return MatteLoss(gradient)
