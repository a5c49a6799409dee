"""What a network says of a picture: at the picture's size, or as small as it comes out.

A mask of 12 million pixels out of 256 x 256 logits needs no probability of every class at every
pixel: bands of rows are enlarged, decided, and forgotten. That takes a fraction of the time and of
the memory. Shapes: K classes, H x W the picture, h x w what the network gives.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.size import Size

BAND_VALUES = 2**20  # Of a band, at least: 4 MB stay in the processor's cache.
BAND_ROWS = 8  # At least, for one band reads the source rows at its border again.


class View(Protocol):
    """What a network says of one picture, in any of the ways it is asked for."""

    @property
    def size(self) -> Size:
        """Height and width of the picture."""
        ...

    def probability(self) -> Tensor:
        """Return float32 probability_KHW, summing to 1 over the classes."""
        ...

    def classes(self) -> Tensor:
        """Return the likeliest class of each pixel, H x W, uint8 or above 256 classes int32."""
        ...

    def foreground(self) -> Tensor:
        """Return how likely each pixel is not of the first class, float32 H x W, 0..1."""
        ...


@dataclass(frozen=True, eq=False)
class WholeView:
    """Probabilities at the picture's size, as averaging and refining make them."""

    probability_KHW: Tensor

    @property
    def size(self) -> Size:
        """Height and width of the picture."""
        return self.probability_KHW.shape[1], self.probability_KHW.shape[2]

    def probability(self) -> Tensor:
        """Return them."""
        return self.probability_KHW

    def classes(self) -> Tensor:
        """Return the likeliest class of each pixel."""
        classes, height, width = self.probability_KHW.shape
        out_HW = self.probability_KHW.new_empty((height, width), dtype=_id_type(classes))
        step = max(BAND_ROWS, BAND_VALUES // width)  # argmax's own ids take 8 bytes a pixel
        for top in range(0, height, step):
            rows = slice(top, top + step)
            out_HW[rows] = self.probability_KHW[:, rows].argmax(0).to(out_HW.dtype)
        return out_HW

    def foreground(self) -> Tensor:
        """Return what the first class leaves."""
        return (1 - self.probability_KHW[0]).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class SmallView:
    """Logits as the network gives them, and the picture's size.

    The picture's are these, resized bilinearly; what is derived from them agrees with
    `probability` up to the rounding of float32.
    """

    logits_Khw: Tensor
    size: Size

    def probability(self) -> Tensor:
        """Return the softmax of the logits at the picture's size."""
        return enlarged(self.logits_Khw, self.size)

    def classes(self) -> Tensor:
        """Return the likeliest class of each pixel."""
        classes = len(self.logits_Khw)
        out_HW = self.logits_Khw.new_empty(self.size, dtype=_id_type(classes))
        if classes == 2:
            for rows, margin_1HW in self._bands(self._margin()):
                out_HW[rows] = margin_1HW[0] > 0
        else:
            for rows, logits_KHW in self._bands(self.logits_Khw):
                out_HW[rows] = logits_KHW.argmax(0).to(out_HW.dtype)
        return out_HW

    def foreground(self) -> Tensor:
        """Return the sum of the softmax over all classes but the first."""
        out_HW = self.logits_Khw.new_empty(self.size)
        if len(self.logits_Khw) == 2:
            for rows, margin_1HW in self._bands(self._margin()):
                torch.sigmoid(margin_1HW[0], out=out_HW[rows])
        else:
            for rows, logits_KHW in self._bands(self.logits_Khw):
                out_HW[rows] = (1 - logits_KHW.softmax(0)[0]).clamp(0, 1)
        return out_HW

    def _margin(self) -> Tensor:
        """Return by how much the second of two classes leads, 1 x h x w."""
        return self.logits_Khw[1:] - self.logits_Khw[:1]

    def _bands(self, values_Khw: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield bands of rows of the values at the picture's size, as `interpolate` has them."""
        (height, width), h = self.size, values_Khw.shape[1]
        step = max(BAND_ROWS, BAND_VALUES // (len(values_Khw) * width))
        place_H = torch.arange(height, device=values_Khw.device, dtype=torch.float64)
        place_H = ((place_H + 0.5) * (h / height) - 0.5).clamp(min=0)
        above_H = place_H.long().clamp(max=h - 1)
        below_H = (above_H + 1).clamp(max=h - 1)
        share_H = (place_H - above_H).float()[:, None]
        edges = [(top, min(top + step, height)) for top in range(0, height, step)]
        for top, bottom in edges:
            rows = slice(top, bottom)
            first, last = int(above_H[top]), int(below_H[bottom - 1])
            strip_KhW = functional.interpolate(
                values_Khw[None, :, first : last + 1], (last + 1 - first, width), mode="bilinear"
            )[0]
            above_KHW = strip_KhW[:, above_H[rows] - first]
            yield rows, above_KHW.lerp_(strip_KhW[:, below_H[rows] - first], share_H[rows])


def enlarged(logits_Khw: Tensor, size: Size) -> Tensor:
    """Return probability_KHW at a size: the logits are resized bilinearly, then softmax."""
    return functional.interpolate(logits_Khw[None], size, mode="bilinear")[0].softmax(0)


def _id_type(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 256 else torch.int32
