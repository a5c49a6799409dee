"""Bringing a sample to the size of the training, as labels or alpha, and checking it."""

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError

IMAGE_TYPES = {torch.uint8, torch.uint16, torch.float16, torch.float32, torch.float64}
TARGET_TYPES = {torch.uint8, torch.int32, torch.int64}
"""Those that are taken as they are; other whole numbers, whatever they are stored as, become int32.
"""

OVERSHOOT = 1e-3
"""How far a picture may go over its value_range, as a share of it: rounding, and no more."""


def finish_sample(sample: Sample, info: DataInfo, size: tuple[int, int] | None) -> Sample:
    """Check a sample and bring it to `size` (None: its own); a matte with a threshold to labels.

    Images and mattes are resized bilinearly with antialiasing, labels to the nearest; images that
    are not uint8 become float32 in their own range, numpy arrays tensors. Raises SegzooError naming
    the picture for wrong shapes, types, labels, and values outside the value_range.
    """
    key = sample.key
    if not isinstance(key, str):
        raise SegzooError(f"{info.identity}: a sample with the key {key!r}", "a key is a text")
    image = _as_tensor(sample.image, "image", key, info)
    target = _as_tensor(sample.target, "target", key, info)
    if image.ndim != 3 or target.ndim != 2 or image.shape[1:] != target.shape:
        raise SegzooError(
            f"{info.identity}, `{key}`: image {tuple(image.shape)} and target "
            f"{tuple(target.shape)}",
            "a sample is an image C x H x W and a target H x W of the same size",
        )
    if not image.numel():
        raise SegzooError(
            f"{info.identity}, `{key}`: an image {tuple(image.shape)} without pixels",
            "leave it out of the set",
        )
    if image.dtype != torch.uint8 or info.value_range != (0.0, 255.0):
        image = _checked_image(image, key, info)
    matte = info.target == "alpha" or info.threshold is not None
    if target.dtype not in TARGET_TYPES:
        target = _whole_numbers(target, key, info, matte)
    if matte and target.dtype != torch.uint8:
        target = _checked_matte(target, key, info)
    if not matte:  # Before a few wrong pixels are lost by making the mask smaller.
        _check_labels(target, key, info)
    if size is not None and tuple(target.shape) != tuple(size):
        image = resize_image(image, size)
        target = _resize_bilinear(target[None], size)[0] if matte else _nearest(target, size)
    if info.threshold is not None:
        target = (target > info.threshold).to(torch.uint8)
    return Sample(image, target, key)


def _as_tensor(values: object, what: str, key: str, info: DataInfo) -> Tensor:
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        tensor = None
    # PIL's pictures pass for arrays, H x W x C.
    if tensor is None or tensor.layout != torch.strided or hasattr(values, "getbands"):
        kind = "sparse tensor" if isinstance(values, Tensor) else type(values).__name__
        raise SegzooError(
            f"{info.identity}, `{key}`: the {what} is a {kind}",
            "a sample is a Sample(image, target, key) with tensors C x H x W and H x W",
        )
    return tensor.detach() if tensor.requires_grad else tensor


def _checked_image(image_CHW: Tensor, key: str, info: DataInfo) -> Tensor:
    """Return a picture that is in its stated range, as float32 unless it is uint8."""
    if image_CHW.dtype not in IMAGE_TYPES:
        raise SegzooError(
            f"{info.identity}, `{key}`: an image of {image_CHW.dtype}",
            "images are uint8 0..255, or uint16 or float32 with the data set's `value_range`",
        )
    if image_CHW.dtype != torch.uint8:
        image_CHW = image_CHW.to(torch.float32)  # torch cannot resize, stack or index uint16
    low, high = info.value_range
    least, most = (float(value) for value in image_CHW.aminmax())
    over = OVERSHOOT * (high - low)
    if not low - over <= least <= most <= high + over:  # so if any is NaN
        raise SegzooError(
            f"{info.identity}, `{key}`: an image with values {least:g}..{most:g}",
            f"the data set's `value_range` is {low:g}..{high:g}; all are to be numbers in it",
        )
    return image_CHW


def _whole_numbers(target_HW: Tensor, key: str, info: DataInfo, matte: bool) -> Tensor:
    if target_HW.dtype == torch.bool:
        return target_HW.to(torch.uint8) * (255 if matte else 1)
    whole_HW = target_HW.to(torch.int32)
    if target_HW.is_complex() or (whole_HW.to(torch.float64) != target_HW.to(torch.float64)).any():
        what = "a matte 0..255" if matte else "ids of classes"
        raise SegzooError(
            f"{info.identity}, `{key}`: a target of {target_HW.dtype} whose values are not whole",
            f"a target is {what}, uint8 (or int32 for over 255 classes)",
        )
    return whole_HW


def _checked_matte(matte_HW: Tensor, key: str, info: DataInfo) -> Tensor:
    least, most = (int(value) for value in matte_HW.aminmax())
    if least < 0 or most > 255:
        raise SegzooError(
            f"{info.identity}, `{key}`: a matte with values {least}..{most}", "a matte is 0..255"
        )
    return matte_HW.to(torch.uint8)


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
        count, pixels = len(info.classes), int((labels_HW == value).sum())
        ignored = "" if info.ignore_index is None else f", {info.ignore_index} is ignored"
        raise SegzooError(
            f"{info.identity}, `{key}`: label {value} with {count} classes (0..{count - 1}"
            f"{ignored}), in {pixels} pixel{'s' * (pixels > 1)}",
            "correct the mask, or the data set's classes",
        )
