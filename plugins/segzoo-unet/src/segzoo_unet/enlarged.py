"""A 3 x 3 convolution of enlarged features, without enlarging them.

Features that are enlarged f times by repeating each pixel have the same f x f values in every
block. Of the 9 taps of a convolution at a pixel most then meet equal values, and their weights can
be added up beforehand: a transposed convolution with stride f of the small features, with the
kernel that is the convolution's own one convolved with f x f ones, has the same result from 4
products a channel and pixel instead of 9 (for f = 2), and with no enlarged features in memory.
The same holds for what is enlarged and for a skip beside it, one after the other, because a
convolution adds its channels up. It is the inverse of Shi et al., "Is the deconvolution layer the
same as a convolutional layer?", 2016, https://arxiv.org/abs/1609.07009.

Shapes: B batch, C channels, O channels of the result, H x W the size of the result.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolved(conv: nn.Conv2d, coarse_BChw: Tensor, skip_BCHW: Tensor | None, by: int) -> Tensor:
    """Return `conv` (3 x 3, padded by 1) of the skip and the coarse features, enlarged `by` times.

    The skip's channels come first. On CPUs the features are not enlarged; elsewhere, and in a
    network that is being exported, they are: what a GPU's libraries are fast at, and what a graph
    is expected to look like, is the plain way. Both agree up to rounding.
    """
    is_plain = coarse_BChw.device.type != "cpu" or torch.compiler.is_exporting()
    if is_plain or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        enlarged_BCHW = functional.interpolate(coarse_BChw, scale_factor=by, mode="nearest")
        parts = [enlarged_BCHW] if skip_BCHW is None else [skip_BCHW, enlarged_BCHW]
        return conv(torch.cat(parts, dim=1))
    skips = 0 if skip_BCHW is None else skip_BCHW.shape[1]
    weight_CO = enlarging(conv.weight[:, skips:], by)
    out_BOHW = functional.conv_transpose2d(coarse_BChw, weight_CO, conv.bias, by, padding=1)
    if skip_BCHW is None:
        return out_BOHW
    return out_BOHW + functional.conv2d(skip_BCHW, conv.weight[:, :skips], padding=1)


def enlarging(weight_OC33: Tensor, by: int) -> Tensor:
    """Return the weight, C x O x (by + 2) x (by + 2), of the transposed convolution."""
    for padding in ((1, 0), (0, 1)):
        shifted = []
        for before in range(by):
            rows, columns = ((before, by - 1 - before) if axis else (0, 0) for axis in padding)
            shifted.append(functional.pad(weight_OC33, (*columns, *rows)))
        weight_OC33 = torch.stack(shifted).sum(0)
    return weight_OC33.flip(2, 3).transpose(0, 1)
