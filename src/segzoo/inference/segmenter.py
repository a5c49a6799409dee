"""Using a trained model on pictures: `segzoo.load(path).predict(image)`.

Shapes: C channels, K classes, H x W the picture's own size.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from segzoo.compute.device import InPieces, autocast, pick_device, pick_precision
from segzoo.compute.grouped import better_in_fp32, keep_grouped_fp32
from segzoo.data.finish import resize_image
from segzoo.data.pictures.value_range import Range, parse_range
from segzoo.errors import SegzooError
from segzoo.host.memory import check_memory, least_memory
from segzoo.inference.averaging import Averager
from segzoo.inference.keywords import InferenceSettings, takes_settings
from segzoo.inference.pixels import Reading, as_pixels, pixels_of_each
from segzoo.inference.prediction import Prediction, has_background
from segzoo.inference.refine import refine
from segzoo.inference.scale import ScaleWatch, fitting, trained_scale
from segzoo.inference.settings import AS_TRAINED, AUTO, Inference, with_settings
from segzoo.inference.views import View, WholeView
from segzoo.model.description import WeightsInfo
from segzoo.model.network import SegmentationModel
from segzoo.model.pixels import Preprocess
from segzoo.model.weights import load_model, weights_file
from segzoo.size import Size
from segzoo.words import counted, sized

__all__ = ["AS_TRAINED", "Prediction", "Segmenter", "as_pixels", "has_background", "load"]


log = logging.getLogger("segzoo")

MUCH = 1 << 22
"""Pixels of the size that a weights file names, above which it is said what that takes."""


def _much(info: WeightsInfo) -> str:
    least = least_memory(info.size, info.model["in_channels"], len(info.classes))
    return (
        f"the weights say that pictures are shown to the network at {sized(info.size)}, "
        f"{math.prod(info.size) / 1e6:.0f} million pixels at once: that takes {least / 1e9:.1f} GB "
        "of memory at least, and several times as much in most networks; --size 512 shows them "
        "smaller"
    )


class Segmenter:
    """A trained model ready for pictures; made by `segzoo.load`."""

    def __init__(
        self,
        model: SegmentationModel,
        info: WeightsInfo,
        *,
        device: str = "auto",
        precision: str = "auto",
        path: Path | None = None,
    ) -> None:
        self.info = info
        self.path = path
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = model.eval().to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        spare = better_in_fp32(self.model, self.device, self.precision)
        keep_grouped_fp32(self.model, spare)
        self._in_pieces = InPieces(self.device)
        self._watch: ScaleWatch | None = None
        self.preprocess = Preprocess(info.mean, info.std, info.value_range).to(self.device)

    def __repr__(self) -> str:
        info = self.info
        return (
            f"Segmenter({info.model['identity']}, {counted(info.classes)}; trained at "
            f"{sized(info.size)} on {info.data['identity']}; {self.device}, {self.precision})"
        )

    def check_size(self, size: Size) -> None:
        """Raise SegzooError where a CPU has no memory for a picture of (height, width) at once."""
        if self.device.type == "cpu":
            check_memory(size, self.model.in_channels, len(self.info.classes))

    def tell_of_size(self, how: Inference) -> None:
        """Say what a large size takes that nobody but the weights file asks for."""
        if how.size is None and how.window is None and math.prod(self.info.size) > MUCH:
            log.warning("%s", _much(self.info))

    @torch.inference_mode()
    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return float32 logits_BKHW of pixel values as stored (uint8 0..255), at their size."""
        height, width = images_BCHW.shape[-2:]
        self.check_size((height, width))
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

    @takes_settings(InferenceSettings, Inference)
    def predict(
        self, image: Any, how: Inference | None = None, **settings: Unpack[InferenceSettings]
    ) -> Prediction:
        """Segment one picture of any size.

        `image` is a path, a file's content as bytes, a file opened in binary mode, a PIL picture,
        a numpy array H x W x C or H x W (uint8), or a tensor C x H x W. The network sees it resized
        to the size it was trained at, or as `how` and `settings`, the fields of `Inference`, say:
        ``predict(image, size=512, flip=True)``. The result comes back at the picture's own size.
        Raises SegzooError for unreadable files, for pictures with the wrong number of channels, and
        for settings out of their range.
        """
        how = with_settings(how, settings)
        return next(self.predictions([as_pixels(image, self.reading(how))], how))

    @takes_settings(InferenceSettings, Inference)
    def predict_batch(
        self,
        images: Iterable[Any],
        how: Inference | None = None,
        **settings: Unpack[InferenceSettings],
    ) -> list[Prediction]:
        """Segment pictures of any sizes, `batch_size` of them through the network at once.

        They, `how` and `settings` are as for `predict`, and so are the results, up to rounding.
        """
        how = with_settings(how, settings)
        return list(self.predictions(pixels_of_each(images, self.reading(how)), how))

    def reading(self, how: Inference) -> Reading:
        """Return how pictures are read: those of more than 8 bits as in the training, unless `how`
        says otherwise.
        """
        return Reading(
            value_range=self.info.value_range,
            deep_range=how.range or _trained_range(self.info),
            stated=how.range is not None,
            max_pixels=how.max_pixels,
        )

    def predictions(self, pictures: Sequence[Tensor], how: Inference) -> Iterator[Prediction]:
        """Yield the prediction of each of some pixel values C x H x W, one at a time."""
        seen = [self._channels(pixels_CHW) for pixels_CHW in pictures]
        sizes = [(pixels.shape[-2], pixels.shape[-1]) for pixels in pictures]
        edges = "guided" if how.refine == AUTO else "none"
        for pixels_CHW, view in zip(pictures, self.views(seen, sizes, how), strict=True):
            yield Prediction(view, self.info, pixels_CHW, edges)

    @torch.inference_mode()
    def views(
        self, pictures: Sequence[Tensor], sizes: Sequence[Size], how: Inference
    ) -> Iterator[View]:
        """Yield what the network says of each picture C x H x W at its size in `sizes`.

        It is on the model's device, of windows on the CPU. Raises SegzooError for pictures with
        the wrong number of channels.
        """
        how = fitting(how, self.info)
        if self._watch is None or self._watch.how != how:
            self._watch = ScaleWatch(how, self.info)
            self.tell_of_size(how)
        averager = Averager(
            network=self.logits,
            how=how,
            classes=len(self.info.classes),
            trained=self.info.size,
            stride=self.model.stride,
            shown=trained_scale(self.info),
            watch=self._watch.look,
        )
        need = self.model.in_channels
        for pixels_CHW in pictures:
            if len(pixels_CHW) != need:
                raise SegzooError(
                    f"the model takes {need} channels, the picture has {len(pixels_CHW)}",
                    "channels come last in an array, first in a tensor; of four with an alpha, "
                    "image[..., :3] leaves it out",
                )
        found = averager.views(pictures, sizes)
        if not how.refines_all:
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


def _trained_range(info: WeightsInfo) -> Range | None:
    """Return the range of the training's pictures of more than 8 bits, the data option `range`."""
    try:
        return parse_range(info.data["options"].get("range"), "range")
    except SegzooError:
        return None  # a data set's option of another meaning


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

    `path` may be the folder of a run, whose best weights are taken. Raises SegzooError for a bad
    file or a plugin that is not installed.
    """
    file = weights_file(path)
    model, info = load_model(file)
    return Segmenter(model, info, device=device, precision=precision, path=file)
