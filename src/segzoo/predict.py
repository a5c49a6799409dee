"""Using a trained model on pictures: `segzoo.load(path).predict(image)`.

Shapes: C channels, K classes, H x W the picture's own size.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from segzoo.averaging import Averager
from segzoo.compose import Background, cutout, replace_background
from segzoo.config import Size
from segzoo.data.finish import resize_image
from segzoo.data.images import read_image
from segzoo.errors import SegzooError
from segzoo.inference import Inference
from segzoo.model import Preprocess, SegmentationModel
from segzoo.refine import refine
from segzoo.train.device import InPieces, autocast, pick_device, pick_precision
from segzoo.train.grouped import better_in_fp32, keep_grouped_fp32
from segzoo.views import View, WholeView
from segzoo.weights import load_model
from segzoo.weights_info import WeightsInfo

BACKGROUND_NAMES = {"background", "bg"}
AS_TRAINED = Inference()
ROWS_AT_ONCE = 1024  # Of an overlay: its float32 colours take 12 times a picture's memory.


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outcome for one picture at its own size, each part worked out when it is asked for."""

    view: View
    info: WeightsInfo

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

    def overlay(self, image: Image.Image, strength: float = 0.5) -> Image.Image:
        """Return the picture with the classes' colours laid over it; the first class stays clear.

        Where every pixel has a class of its own the first is coloured as well.
        """
        mask = self.mask
        pixels = np.asarray(image.convert("RGB"))
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
            mixed[rows] = (
                pixels[rows].astype(np.float32) * (1 - weight_HW1)
                + colours[mask[rows]] * weight_HW1
            ).round()
        return Image.fromarray(mixed)

    def cutout(self, image: Image.Image) -> Image.Image:
        """Return the foreground as RGBA, in its own colours, free of the old background's."""
        return cutout(np.asarray(image.convert("RGB")), self.alpha)

    def before(self, image: Image.Image, background: Background) -> Image.Image:
        """Return the foreground before another background, a colour or a picture, as RGB."""
        return replace_background(np.asarray(image.convert("RGB")), self.alpha, background)

    def alpha_image(self) -> Image.Image:
        """Return the alpha as an 8-bit grey picture, 0 = background to 255 = foreground."""
        return Image.fromarray((self.alpha * 255).round().astype(np.uint8))


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
        spare = better_in_fp32(self.model, self.device, self.precision)
        keep_grouped_fp32(self.model, spare)
        self._in_pieces = InPieces(self.device)
        self.preprocess = Preprocess(info.mean, info.std, info.value_range).to(self.device)

    @torch.inference_mode()
    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return float32 logits_BKHW of pixel values as stored (uint8 0..255), at their size."""
        logits_BKHW = self._in_pieces(self._forward, images_BCHW)
        if not bool(torch.isfinite(logits_BKHW).all()):
            raise SegzooError(
                f"the network gives no finite numbers for this picture, in {self.precision}",
                "with --precision fp32 it may; else the weights are damaged",
            )
        return logits_BKHW

    def _forward(self, images_BCHW: Tensor) -> Tensor:
        ready = self.preprocess(images_BCHW.to(self.device))
        with autocast(self.device, self.precision):
            output = self.model(ready.contiguous(memory_format=torch.channels_last))
        return (output["out"] if isinstance(output, dict) else output).float()

    def predict(self, image: Any, how: Inference = AS_TRAINED, **settings: Any) -> Prediction:
        """Segment one picture of any size.

        `image` is a path, a PIL picture, a numpy array H x W x C or H x W (uint8), or a tensor
        C x H x W. The network sees it resized to the size it was trained at, or as `how` and
        `settings`, the fields of `Inference`, say: ``predict(image, size=512, flip=True)``. The
        result comes back at the picture's own size. Raises SegzooError for unreadable files, for
        pictures with the wrong number of channels, and for settings out of their range.
        """
        return self.predict_batch([image], how, **settings)[0]

    def predict_batch(
        self, images: Sequence[Any], how: Inference = AS_TRAINED, **settings: Any
    ) -> list[Prediction]:
        """Segment pictures of any sizes, `batch_size` of them through the network at once.

        They, `how` and `settings` are as for `predict`, and so are the results, up to rounding.
        """
        pixels = [as_pixels(image) for image in images]
        return list(self.predictions(pixels, dataclasses.replace(how, **settings)))

    def predictions(self, pictures: Sequence[Tensor], how: Inference) -> Iterator[Prediction]:
        """Yield the prediction of each of some pixel values C x H x W, one at a time."""
        pictures = [self._channels(pixels_CHW) for pixels_CHW in pictures]
        sizes = [(pixels.shape[-2], pixels.shape[-1]) for pixels in pictures]
        for view in self.views(pictures, sizes, how):
            yield Prediction(view, self.info)

    @torch.inference_mode()
    def views(
        self, pictures: Sequence[Tensor], sizes: Sequence[Size], how: Inference
    ) -> Iterator[View]:
        """Yield what the network says of each picture C x H x W at its size in `sizes`.

        It is on the model's device, of windows on the CPU. Raises SegzooError for pictures with
        the wrong number of channels.
        """
        averager = Averager(
            network=self.logits,
            how=how,
            classes=len(self.info.classes),
            trained=self.info.size,
            stride=self.model.stride,
        )
        need = self.model.in_channels
        for pixels_CHW in pictures:
            if len(pixels_CHW) != need:
                raise SegzooError(
                    f"the model takes {need} channels, the picture has {len(pixels_CHW)}"
                )
        found = averager.views(pictures, sizes)
        if how.refine == "none":
            yield from found
            return
        if not has_background(self.info):
            raise SegzooError(
                f"--refine {how.refine}: the model has no background, its classes are "
                f"{', '.join(self.info.classes)}",
                "it sharpens the edge between the background and everything else",
            )
        for pixels_CHW, view in zip(pictures, found, strict=True):
            yield WholeView(refined(view.probability(), pixels_CHW, how.refine))

    def _channels(self, pixels_CHW: Tensor) -> Tensor:
        need, came = int(self.info.model["in_channels"]), pixels_CHW.shape[0]
        if need == came:
            return pixels_CHW
        if need == 1 and came == 3:
            weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601 luma
            return (pixels_CHW * weights).sum(0, keepdim=True).round().to(pixels_CHW.dtype)
        if need == 3 and came == 1:
            return pixels_CHW.expand(3, -1, -1)
        return pixels_CHW


def refined(probability_KHW: Tensor, pixels_CHW: Tensor, how: str) -> Tensor:
    """Return probability_KHW with the first class's brought to the photograph's edges.

    The other classes keep their shares in what is not the first one. Raises SegzooError for
    pictures that are no uint8 photographs of 1 or 3 channels.
    """
    size = (probability_KHW.shape[1], probability_KHW.shape[2])
    if tuple(pixels_CHW.shape[-2:]) != size:
        pixels_CHW = resize_image(pixels_CHW, size)
    first_HW, others_KHW = probability_KHW[0], probability_KHW[1:]
    alpha = refine(pixels_CHW.permute(1, 2, 0).numpy(), (1 - first_HW).cpu().numpy(), how)
    alpha_HW = torch.from_numpy(alpha).to(first_HW.device)
    total_HW = others_KHW.sum(0)
    even = 1 / len(others_KHW)
    shares_KHW = torch.where(total_HW > 0, others_KHW / total_HW.clamp(min=1e-30), even)
    return torch.cat([1 - alpha_HW[None], shares_KHW * alpha_HW])


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
