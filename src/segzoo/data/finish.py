"""Bringing a sample to the size of the training, as labels or alpha, and checking it."""

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError


def finish_sample(sample: Sample, info: DataInfo, size: tuple[int, int] | None) -> Sample:
    """Check a sample and bring it to `size` (None: its own); a matte with a threshold to labels.

    Images and mattes are resized bilinearly with antialiasing, labels to the nearest; uint16
    images become float32 in their own range, numpy arrays tensors. Raises SegzooError naming the
    picture for wrong shapes, types or labels.
    """
    image, target, key = torch.as_tensor(sample.image), torch.as_tensor(sample.target), sample.key
    if image.dtype == torch.uint16:
        image = image.to(torch.float32)  # torch cannot resize, stack or index uint16
    if image.ndim != 3 or target.ndim != 2 or image.shape[1:] != target.shape:
        raise SegzooError(
            f"{info.identity}, `{key}`: image {tuple(image.shape)} and target "
            f"{tuple(target.shape)}",
            "a sample is an image C x H x W and a target H x W of the same size",
        )
    matte = info.target == "alpha" or info.threshold is not None
    if not matte:  # Before a few wrong pixels are lost by making the mask smaller.
        _check_labels(target, key, info)
    if size is not None and tuple(target.shape) != tuple(size):
        image = resize_image(image, size)
        target = _resize_bilinear(target[None], size)[0] if matte else _nearest(target, size)
    if info.threshold is not None:
        target = (target > info.threshold).to(torch.uint8)
    return Sample(image, target, key)


def resize_image(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly with antialiasing, in the image's own type and range."""
    return _resize_bilinear(image_CHW, size)


def _resize_bilinear(pixels_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(pixels_CHW[None], size, mode="bilinear", antialias=True)[0]


def _nearest(labels_HW: Tensor, size: tuple[int, int]) -> Tensor:
    kind = labels_HW.dtype
    pixels = labels_HW[None, None]
    if kind != torch.uint8:
        pixels = pixels.to(torch.float64)
    return functional.interpolate(pixels, size, mode="nearest-exact")[0, 0].to(kind)


def _check_labels(labels_HW: Tensor, key: str, info: DataInfo) -> None:
    wrong = labels_HW >= len(info.classes)
    if info.ignore_index is not None:
        wrong &= labels_HW != info.ignore_index
    if wrong.any() or (labels_HW.dtype.is_signed and (labels_HW < 0).any()):
        value = int(labels_HW[wrong].max()) if wrong.any() else int(labels_HW.min())
        count = len(info.classes)
        ignored = "" if info.ignore_index is None else f", {info.ignore_index} is ignored"
        raise SegzooError(
            f"{info.identity}, `{key}`: label {value} with {count} classes (0..{count - 1}"
            f"{ignored})",
            "correct the mask, or the data set's classes",
        )
