"""Using a trained model on pictures: `segzoo.load(path).predict(image)`.

Shapes: C channels, K classes, H x W the picture's own size, h x w the size of the network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from segzoo.config import parse_size
from segzoo.data.batches import resize_image
from segzoo.data.images import read_image
from segzoo.errors import SegzooError
from segzoo.model import Preprocess, SegmentationModel
from segzoo.train.device import autocast, pick_device, pick_precision
from segzoo.weights import WeightsInfo, load_model

BACKGROUND_NAMES = {"background", "bg"}


@dataclass(frozen=True)
class Prediction:
    """The outcome for one picture at its own size.

    `probability_KHW` is float32 on the CPU, 0..1, summing to 1 over the classes.
    """

    probability_KHW: Tensor
    info: WeightsInfo

    @property
    def mask(self) -> np.ndarray:
        """Class ids, H x W, uint8 (uint16 above 256 classes); an alpha counts from 0.5 on."""
        kind = np.uint8 if len(self.probability_KHW) <= 256 else np.uint16
        return self.probability_KHW.argmax(0).numpy().astype(kind)

    @property
    def alpha(self) -> np.ndarray:
        """How much of each pixel is foreground, float32 H x W, 0..1: all classes but the first."""
        return (1 - self.probability_KHW[0]).clamp(0, 1).numpy()

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

    def overlay(self, image: Image.Image, strength: float = 0.5) -> Image.Image:
        """Return the picture with the classes' colours laid over it; the first class stays clear.

        Where every pixel has a class of its own the first is coloured as well.
        """
        mask = self.mask
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        colours = np.array(self.info.palette, dtype=np.float32)
        if colours[1:].max(initial=0) == 0:
            colours[1:] = (255, 0, 0)
        weight = np.full(len(colours), strength, dtype=np.float32)
        if has_background(self.info):
            weight[0] = 0
        weight_HW1 = weight[mask][..., None]
        mixed = pixels * (1 - weight_HW1) + colours[mask] * weight_HW1
        return Image.fromarray(mixed.round().astype(np.uint8))

    def cutout(self, image: Image.Image) -> Image.Image:
        """Return the picture as RGBA, transparent where it is background."""
        cut = image.convert("RGB")
        cut.putalpha(Image.fromarray((self.alpha * 255).round().astype(np.uint8)))
        return cut


def has_background(info: WeightsInfo) -> bool:
    """Whether the first class means `everything else`: named so, or one of two."""
    return info.classes[0].lower() in BACKGROUND_NAMES or len(info.classes) == 2


class Segmenter:
    """A trained model ready for pictures; made by `segzoo.load`."""

    def __init__(
        self,
        model: SegmentationModel,
        info: WeightsInfo,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.info = info
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.eval().to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocess = Preprocess(info.mean, info.std, info.value_range).to(self.device)

    @torch.inference_mode()
    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return float32 logits_BKHW of pixel values as stored (uint8 0..255), at their size."""
        ready = self.preprocess(images_BCHW.to(self.device))
        with autocast(self.device, self.precision):
            output = self.model(ready.contiguous(memory_format=torch.channels_last))
        return (output["out"] if isinstance(output, dict) else output).float()

    @torch.inference_mode()
    def predict(self, image: Any, *, size: Any = None) -> Prediction:
        """Segment one picture of any size.

        `image` is a path, a PIL picture, a numpy array H x W x C or H x W (uint8), or a tensor
        C x H x W. The network sees it resized to `size` (by default the size it was trained at);
        the result comes back at the picture's own size. Raises SegzooError for unreadable files
        and for pictures with the wrong number of channels.
        """
        pixels_CHW = self._channels(as_pixels(image))
        height, width = pixels_CHW.shape[-2:]
        at = parse_size(size) if size is not None else self.info.size
        small_CHW = resize_image(pixels_CHW, at) if (height, width) != tuple(at) else pixels_CHW
        logits_BKhw = self.logits(small_CHW[None])
        logits_BKHW = functional.interpolate(logits_BKhw, (height, width), mode="bilinear")
        return Prediction(logits_BKHW[0].softmax(0).cpu(), self.info)

    def _channels(self, pixels_CHW: Tensor) -> Tensor:
        need, came = int(self.info.model["in_channels"]), pixels_CHW.shape[0]
        if need == came:
            return pixels_CHW
        if need == 1 and came == 3:
            weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601 luma
            return (pixels_CHW * weights).sum(0, keepdim=True).round().to(pixels_CHW.dtype)
        if need == 3 and came == 1:
            return pixels_CHW.expand(3, -1, -1)
        raise SegzooError(f"the model takes {need} channels, the picture has {came}")


def load(path: str | Path, *, device: str = "auto", precision: str = "auto") -> Segmenter:
    """Load a weights file for use: rebuilt offline from installed plugins, never unpickled.

    Raises SegzooError for a bad file or a plugin that is not installed.
    """
    model, info = load_model(path)
    return Segmenter(model, info, device=device, precision=precision)


def as_pixels(image: Any) -> Tensor:
    """Turn a path, PIL picture, array or tensor into pixel values C x H x W."""
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)
        image = np.array(upright if upright.mode == "L" else upright.convert("RGB"))
    if isinstance(image, np.ndarray):
        array = image[..., None] if image.ndim == 2 else image
        if array.ndim != 3 or array.shape[2] > 64:
            raise SegzooError(f"an array {image.shape} is no picture", "give H x W x C or H x W")
        image = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    if isinstance(image, Tensor) and image.ndim == 3:
        # torch cannot resize uint16
        return image.to(torch.float32) if image.dtype == torch.uint16 else image
    what = f"a tensor {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
    raise SegzooError(f"{what} is no picture", "give a path, a PIL picture, an array or C x H x W")
