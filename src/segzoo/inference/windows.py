"""Sliding windows: where they lie, and how what a network says of them becomes one picture.

Shapes: C channels, K classes, H x W the picture, h x w the window, N windows along one side.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.size import Size

SIGMA = 1 / 8  # Of the window's side, as in nnU-Net.


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along one side of `length` pixels, `window` or longer.

    As few as overlap by the share `overlap` of a window or more, evenly spread, the first one
    at 0 and the last one ending at the border (nnU-Net, Isensee et al. 2021).
    """
    span = length - window
    steps = math.ceil(span / max(1.0, window * (1 - overlap)))
    return [place * span // max(1, steps) for place in range(steps + 1)]


def shares(places: list[int], window: int, length: int) -> list[Tensor]:
    """Return the share that each window has in the pixels of a side: float64 vectors, above 0.

    They are nnU-Net's importance map along one side, a Gaussian about the window's centre,
    divided by their sum over all windows at each pixel. The map of an area is their product.
    """
    distance = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    bell = torch.exp(-0.5 * (distance / (SIGMA * window)) ** 2)  # exp(-8) or more
    total = torch.zeros(length, dtype=torch.float64)
    for place in places:
        total[place : place + window] += bell
    return [bell / total[place : place + window] for place in places]


def blend(
    probabilities: Callable[[Tensor], Tensor],
    pixels_CHW: Tensor,
    *,
    classes: int,
    window: Size,
    overlap: float,
    batch_size: int,
) -> Tensor:
    """Return probability_KHW, float32 on the CPU, of a picture seen in windows.

    `probabilities` takes images_BChw, `batch_size` at most, and gives probability_BKhw. A picture
    smaller than the window is seen whole. Only the windows are ever on the network's device.
    """
    height, width = pixels_CHW.shape[-2:]
    h, w = min(window[0], height), min(window[1], width)
    tops, lefts = starts(height, h, overlap), starts(width, w, overlap)
    down_Nh, across_Nw = shares(tops, h, height), shares(lefts, w, width)
    places = list(product(range(len(tops)), range(len(lefts))))
    corners = [(tops[row], lefts[column]) for row, column in places]
    blended_KHW = torch.empty((classes, height, width))
    # In float64, so that a constant is still that constant once rounded to float32; and only
    # the rows of pixels that windows yet to come may add to.
    band_KhW = torch.zeros((classes, h, width), dtype=torch.float64)
    seen = _seen(probabilities, pixels_CHW, corners, (h, w), batch_size)
    for (row, column), window_Khw in zip(places, seen, strict=True):
        top, left = tops[row], lefts[column]
        band_KhW[..., left : left + w] += down_Nh[row][:, None] * across_Nw[column] * window_Khw
        if column == len(lefts) - 1:
            done = (tops[row + 1] if row + 1 < len(tops) else height) - top
            blended_KHW[:, top : top + done] = band_KhW[:, :done]
            band_KhW = functional.pad(band_KhW[:, done:], (0, 0, 0, done))
    return blended_KHW


def _seen(
    probabilities: Callable[[Tensor], Tensor],
    pixels_CHW: Tensor,
    corners: list[tuple[int, int]],
    window: Size,
    batch_size: int,
) -> Iterator[Tensor]:
    """Yield probability_Khw of each window, on the CPU."""
    h, w = window
    for at in range(0, len(corners), batch_size):
        windows = [
            pixels_CHW[:, top : top + h, left : left + w]
            for top, left in corners[at : at + batch_size]
        ]
        yield from probabilities(torch.stack(windows)).cpu()
