"""What a network says of one picture, at its own size: masks, alphas, overlays, cut-outs.

Shapes: C channels, K classes, H x W the picture's own size.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.inference.compose import Background, cutout, parse_background, replace_background
from segzoo.inference.pixels import as_pixels
from segzoo.inference.refine import refine
from segzoo.inference.views import View
from segzoo.model.description import WeightsInfo
from segzoo.size import Size
from segzoo.words import counted, sized

BACKGROUND_NAMES = {"background", "bg"}
NOTEBOOK_SIDE = 800
ROWS_AT_ONCE = 1024  # Of an overlay: its float32 colours take 12 times a picture's memory.


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outcome for one picture at its own size, each part worked out when it is asked for."""

    view: View
    info: WeightsInfo
    pixels_CHW: Tensor | None = None  # what was predicted, not a copy of it
    edges: str = "none"  # how what is cut out is brought to the photograph's edges

    @property
    def size(self) -> Size:
        """Height and width, those of the picture."""
        return self.view.size

    def __repr__(self) -> str:
        return f"Prediction({sized(self.size)} pixels, {counted(self.info.classes)})"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: the overlay, or the mask where the picture is not known.

        The longer side has at most 800 pixels.
        """
        height, width = self.size
        scale = min(1.0, NOTEBOOK_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        try:
            photograph = Image.fromarray(self._photograph(None))
        except SegzooError:
            picture = self.mask_image().resize(size, Image.Resampling.NEAREST)
        else:
            mask = Image.fromarray(self.mask).resize(size, Image.Resampling.NEAREST)
            pixels = np.asarray(photograph.resize(size, Image.Resampling.BOX))
            picture = Image.fromarray(self._coloured(pixels, np.asarray(mask), 0.5))
        written = io.BytesIO()
        picture.save(written, "PNG")
        return written.getvalue()

    @cached_property
    def probability_KHW(self) -> Tensor:
        """Float32 on the CPU, 0..1, summing to 1 over the classes: 4 bytes a class and pixel."""
        return self.view.probability().cpu()

    @cached_property
    def mask(self) -> np.ndarray:
        """Class ids, H x W, uint8 (uint16 above 256 classes); an alpha counts from 0.5 on."""
        classes = self.view.classes().cpu().numpy()
        return classes if classes.dtype == np.uint8 else classes.astype(np.uint16)

    @cached_property
    def alpha(self) -> np.ndarray:
        """How much of each pixel is foreground, float32 H x W, 0..1: all classes but the first."""
        return self.view.foreground().cpu().numpy()

    def mask_image(self) -> Image.Image:
        """Return the mask as a palette picture: ids for programs, colours for people.

        Above 256 classes, more than a palette holds, it is a 16-bit grey picture of the ids.
        """
        mask = self.mask
        if mask.dtype != np.uint8:
            return Image.fromarray(mask)
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette([value for colour in self.info.palette for value in colour])
        return picture

    def overlay(self, image: Any = None, strength: float = 0.5) -> Image.Image:
        """Return the picture with the classes' colours laid over it; the first class stays clear.

        Where every pixel has a class of its own the first is coloured as well. `image` is the
        picture that was predicted, unless another of its size is given: whatever `predict` takes.
        """
        return Image.fromarray(self._coloured(self._photograph(image), self.mask, strength))

    def cutout(self, image: Any = None) -> Image.Image:
        """Return the foreground as RGBA, in its own colours, free of the old background's.

        `image` is as for `overlay`.
        """
        pixels = self._photograph(image)
        return cutout(pixels, self._cut(pixels, image))

    def before(self, image: Any = None, background: Any = (255, 255, 255)) -> Image.Image:
        """Return the foreground before another background, as RGB.

        That is a colour, as three numbers 0..255 or ``"white"``, or a picture, as a file or as
        whatever `predict` takes; it is scaled to cover. `image` is as for `overlay`.
        """
        pixels = self._photograph(image)
        return replace_background(pixels, self._cut(pixels, image), _background(background))

    def _cut(self, pixels: np.ndarray, image: Any) -> np.ndarray:
        """Return the alpha to cut a photograph out by: the network's own is half opaque in a wide
        band along the edge, which lets the old background through.
        """
        if self.edges == "none" or not has_background(self.info):
            return self.alpha
        return self._own_cut if image is None else refine(pixels, self.alpha, self.edges)

    @cached_property
    def _own_cut(self) -> np.ndarray:
        return refine(self._photograph(None), self.alpha, self.edges)

    def _photograph(self, image: Any) -> np.ndarray:
        """Return the picture, by default the one that was predicted, as uint8 H x W x 3."""
        pixels_CHW = self.pixels_CHW if image is None else as_pixels(image)
        if pixels_CHW is None:
            raise SegzooError("the prediction does not know its picture", "give the picture")
        if (size := tuple(pixels_CHW.shape[-2:])) != self.size:
            raise SegzooError(
                f"the picture is {sized(size)} pixels (height x width), the prediction "
                f"{sized(self.size)}",
                "give the picture that was predicted, or nothing",
            )
        return _colours_of(pixels_CHW, self.info.value_range)

    def _coloured(self, pixels: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
        colours = np.array(self.info.palette, dtype=np.float32)
        if colours[1:].max(initial=0) == 0:
            colours[1:] = (255, 0, 0)
        weight = np.full(len(colours), strength, dtype=np.float32)
        if has_background(self.info):
            weight[0] = 0
        mixed = np.empty((*mask.shape, 3), dtype=np.uint8)
        for top in range(0, len(mask), ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            weight_HW1 = weight[mask[rows]][..., None]
            own_HW3 = np.ascontiguousarray(pixels[rows], dtype=np.float32)
            mixed[rows] = (own_HW3 * (1 - weight_HW1) + colours[mask[rows]] * weight_HW1).round()
        return mixed

    def alpha_image(self) -> Image.Image:
        """Return the alpha as an 8-bit grey picture, 0 = background to 255 = foreground."""
        return Image.fromarray((self.alpha * 255).round().astype(np.uint8))


def has_background(info: WeightsInfo) -> bool:
    """Whether the first class means `everything else`: named so, or one of two."""
    return info.classes[0].lower() in BACKGROUND_NAMES or len(info.classes) == 2


def _colours_of(pixels_CHW: Tensor, value_range: tuple[float, float]) -> np.ndarray:
    """Return pixel values as uint8 H x W x 3, for people to look at."""
    if len(pixels_CHW) not in (1, 3):
        raise SegzooError(
            f"a picture of {len(pixels_CHW)} channels has no colours to show",
            "give one of 3 channels, or of 1",
        )
    if pixels_CHW.dtype != torch.uint8:
        low, high = value_range
        share_CHW = (pixels_CHW.float() - low) / (high - low)
        pixels_CHW = (share_CHW * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels_CHW.cpu().expand(3, -1, -1).permute(1, 2, 0).numpy()


def _background(given: Any) -> Background:
    if isinstance(given, (str, PurePath)):
        return parse_background(str(given))
    if isinstance(given, (tuple, list)) and len(given) == 3:
        return parse_background(",".join(map(str, given)))
    if isinstance(given, Image.Image):
        return given
    return Image.fromarray(_colours_of(as_pixels(given), (0.0, 255.0)))
