"""Dense evaluation of classifiers: the two results that the FCN paper opens with.

A classifier's fully connected layers are convolutions over its whole feature map, so the same
weights score every position of a larger picture at once (`convolutionalize`, section 3.1); and
the coarse map that its poolings leave can be refined to stride 1 without touching the network
(`shift_and_stitch`, section 3.2). Paper: https://arxiv.org/abs/1411.4038.

Letters of the shapes: B batch, C channels, K classes, H W height and width in pixels, h w those
of the coarse map, s the network's stride.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What works on one activation at a time, and so alike on vectors and on maps.
ELEMENTWISE = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Dropout,
    nn.Identity,
)


def convolutionalize(
    linear: nn.Linear, in_channels: int, kernel_size: int | tuple[int, int] = 1
) -> nn.Conv2d:
    """Turn a fully connected layer on flattened C x kh x kw features into the equal convolution.

    Weights (copied), bias, dtype, device, `requires_grad` and training mode are kept. On exactly
    kh x kw the convolution returns B x out x 1 x 1; on larger maps one vector per position.
    ValueError unless linear.in_features is in_channels * kh * kw. Source: section 3.1.
    """
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    if in_channels < 1 or height < 1 or width < 1:
        raise ValueError(f"no features of {in_channels} x {height} x {width}: each must be >= 1")
    if linear.in_features != in_channels * height * width:
        raise ValueError(
            f"the layer takes {linear.in_features} features, but {in_channels} channels of "
            f"{height}x{width} are {in_channels * height * width}; "
            + _fitting(linear.in_features, in_channels, height, width)
        )
    convolution = nn.Conv2d(
        in_channels,
        linear.out_features,
        (height, width),
        bias=linear.bias is not None,
        device=linear.weight.device,
        dtype=linear.weight.dtype,
    )
    with torch.no_grad():
        # nn.Flatten is channel-major, as the convolution's weight is: out, C, kh, kw.
        convolution.weight.copy_(linear.weight.view_as(convolution.weight))
        convolution.weight.requires_grad_(linear.weight.requires_grad)
        if convolution.bias is not None:
            convolution.bias.copy_(linear.bias)
            convolution.bias.requires_grad_(linear.bias.requires_grad)
    return convolution.train(linear.training)


def convolutionalize_head(
    head: nn.Sequential, in_channels: int, kernel_size: int | tuple[int, int] = 1
) -> nn.Sequential:
    """Turn a classifier's head (Flatten, Linear, ReLU, Dropout, Linear, ...) into convolutions.

    The first Linear becomes a convolution of `kernel_size` on in_channels, the later ones 1x1;
    elementwise layers are copied, Flatten is dropped. Maps features_BChw to
    scores_B x K x (h - kh + 1) x (w - kw + 1). TypeError names a layer of another kind;
    ValueError as in `convolutionalize`, or without any Linear. Source: section 3.1, figure 2.

    After a network without padding the scores equal those of the crops at the network's stride,
    up to rounding. With padding they do not: the border of each crop saw zeros where the whole
    picture has pixels. In VGG16 at 224 that reaches all of an inner crop's 7x7 features but the
    centre, and the scores differ by 29 % of their root mean square (random weights, a 384x384
    photograph).
    """
    layers: list[nn.Module] = []
    channels, kernel = in_channels, kernel_size
    linears = 0
    for index, layer in enumerate(head):
        if isinstance(layer, nn.Linear):
            layers.append(convolutionalize(layer, channels, kernel))
            channels, kernel = layer.out_features, 1
            linears += 1
        elif isinstance(layer, nn.Flatten) and linears == 0:
            continue
        elif isinstance(layer, ELEMENTWISE):
            layers.append(copy.deepcopy(layer))
        else:
            known = ", ".join(kind.__name__ for kind in ELEMENTWISE)
            raise TypeError(
                f"layer {index} of the head is {type(layer).__name__}; a head is a Flatten, then "
                f"Linear layers with any of {known}"
            )
    if linears == 0:
        raise ValueError("the head has no Linear layer, so there is nothing to convolutionalize")
    return nn.Sequential(*layers).train(head.training)


def shift_and_stitch(net: nn.Module, images_BCHW: Tensor, stride: int) -> Tensor:
    """Refine a network of stride s to stride 1: run it on all shifts, interlace what comes out.

    `net` maps B x C x H x W to B x K x h x w; the result is B x K x (s h) x (s w), of net's
    dtype. Each of the s^2 inputs is images_BCHW moved down and right by 0 to s - 1 pixels, zeros
    coming in, cropped to H x W. Position (i, j) so holds the score that net gives to the window
    whose top left pixel is (i - s + 1, j - s + 1): the first s - 1 rows and columns see zeros
    beyond the picture, and on a network without padding the rest is what it gives to the crops.
    The same values come from the network with its strides taken out and its layers dilated.

    Put `net` in eval mode. One shift runs at a time: memory is that of one forward pass and the
    result, under `torch.no_grad()`; with gradients all s^2 passes are kept. ValueError for a
    stride that is no whole number >= 1 or not net's own (tried on a picture 2s larger), and for
    shapes that are not 4-dimensional. Source: section 3.2; OverFeat, https://arxiv.org/abs/1312.6229.
    """
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride is a whole number >= 1, not {stride!r}")
    if images_BCHW.ndim != 4:
        raise ValueError(f"images are B x C x H x W, not of shape {tuple(images_BCHW.shape)}")
    height, width = images_BCHW.shape[-2:]
    padded = F.pad(images_BCHW, (stride - 1, 0, stride - 1, 0))
    fine = None
    for down in range(stride):
        for right in range(stride):
            top, left = stride - 1 - down, stride - 1 - right
            coarse_BKhw = net(padded[..., top : top + height, left : left + width])
            if fine is None:
                _check_stride(net, images_BCHW, coarse_BKhw, stride)
                batch, classes, rows, columns = coarse_BKhw.shape
                fine = coarse_BKhw.new_empty(batch, classes, rows, stride, columns, stride)
            fine[:, :, :, top, :, left] = coarse_BKhw
    assert fine is not None
    return fine.flatten(4, 5).flatten(2, 3)


def _check_stride(net: nn.Module, images_BCHW: Tensor, coarse: Tensor, stride: int) -> None:
    """Raise ValueError unless 2 strides more of picture give 2 more rows and columns."""
    if not isinstance(coarse, Tensor) or coarse.ndim != 4:
        found = tuple(coarse.shape) if isinstance(coarse, Tensor) else type(coarse).__name__
        raise ValueError(f"the network must return B x K x h x w, not {found}")
    with torch.no_grad():
        larger = net(F.pad(images_BCHW[:1], (0, 2 * stride, 0, 2 * stride)))
    rows, columns = (b - a for a, b in zip(coarse.shape[-2:], larger.shape[-2:], strict=True))
    if (rows, columns) != (2, 2):
        raise ValueError(
            f"stride {stride} is not this network's: a picture larger by {2 * stride} pixels "
            f"gives {rows} more rows and {columns} more columns of scores, not 2 and 2"
        )


def _fitting(features: int, channels: int, height: int, width: int) -> str:
    """Say which channels or kernel would fit a layer of so many features."""
    fits = []
    if features % (height * width) == 0:
        fits.append(f"in_channels={features // (height * width)} with this kernel")
    if features % channels == 0:
        area = features // channels
        side = round(area**0.5)
        kernel = f"{side}x{side}" if side * side == area else f"any of {area} positions"
        fits.append(f"a kernel of {kernel} with these channels")
    if not fits:
        return f"neither {channels} channels nor a {height}x{width} kernel divides that"
    return "what fits: " + ", or ".join(fits)
