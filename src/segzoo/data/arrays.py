"""Pictures that come as arrays, tensors or Pillow's pictures: the same pixels as from their files.

What an array holds is told by its type: uint8 is 0..255, uint16 is what a 16-bit file holds. Other
types say nothing, and are taken where their values leave no doubt, or refused with what to give.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from segzoo.data.finish import OVERSHOOT
from segzoo.data.images import in_colours, read_image
from segzoo.data.pictures.decoding import opened, refuse_bands, refuse_pages, unreadable
from segzoo.data.pictures.depth import Deep, Range, deep_values, is_deep, to_uint8
from segzoo.data.pictures.orientation import before_reading, turned_like
from segzoo.errors import SegzooError

BYTES: Range = (0.0, 255.0)
MOST_CHANNELS = 64


def picture_pixels(
    picture: Image.Image, deep_range: Range | None = None, max_pixels: int | None = None
) -> Tensor:
    """Return the pixel values, uint8 1 or 3 x H x W, of Pillow's picture as of its file, upright.

    Raises SegzooError for bands and pages that would be lost, and for damage.
    """
    file = str(getattr(picture, "filename", "") or "")
    name = Path(file) if file else Path("the picture")
    if not getattr(picture, "tell", lambda: 0)():  # else a page was chosen
        _refuse_more(picture, name)
    if hasattr(picture, "tag_v2"):
        refuse_bands(picture, name)
    # Pillow keeps 8 bits of 16-bit colours, and maps a TIFF to be turned with its sides exchanged.
    if (picture.format == "TIFF" or is_deep(picture)) and _is_unread(picture, name):
        return read_image(name, deep_range=deep_range, max_pixels=max_pixels)
    try:
        before = before_reading(picture)
        deep = deep_values(picture, lambda: opened(Path(file)))
        if deep is not None:
            plain = Image.fromarray(to_uint8(deep, deep_range, name))
        else:
            grey = picture.mode in ("1", "L")
            plain = in_colours(picture, "L" if grey else "RGB")
        array = np.array(turned_like(plain, picture, before, upright=True))
    except SegzooError:
        raise
    except Exception as error:  # Pillow's readers raise whatever their formats make of damage.
        raise unreadable(name, error) from error
    return torch.from_numpy(_channels_first(array))


def _is_unread(picture: Any, name: Path) -> bool:
    """Whether a picture is the first page of a file of which no pixels have been read."""
    return bool(getattr(picture, "tile", None)) and not picture.tell() and name.is_file()


def _refuse_more(picture: Any, name: Path) -> None:
    if picture.format != "TIFF" or getattr(picture, "n_frames", 1) == 1:
        refuse_pages(picture, name)
    elif name.is_file():
        with name.open("rb") as file:
            refuse_pages(picture, name, file)
    else:
        raise SegzooError(
            f"{name} is a TIFF of {picture.n_frames} pages; only the first would be read",
            "give one page: picture.seek(2), then picture.copy()",
        )


def array_pixels(
    array: npt.NDArray[Any],
    *,
    value_range: Range = BYTES,
    deep_range: Range | None = None,
    stated: bool = False,
) -> Tensor:
    """Return the pixel values C x H x W of an array H x W x C or H x W.

    They are uint8 0..255, for a model of another `value_range` as they are. `deep_range` is that of
    pictures of more than 8 bits, `stated` whether for this very one. Raises SegzooError for what is
    no picture, and for values that can be read in two ways.
    """
    shown = f"an array {array.shape} of {array.dtype}"
    if array.ndim == 3 and array.shape[2] > MOST_CHANNELS and array.shape[0] in (1, 3, 4):
        raise SegzooError(
            f"{shown} is not a picture H x W x C",
            "its channels come first: give array.transpose(1, 2, 0), or a tensor C x H x W",
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] > MOST_CHANNELS):
        raise SegzooError(f"{shown} is not a picture", "give H x W x C or H x W")
    values = _values(array, shown, value_range, deep_range, stated)
    return torch.from_numpy(_channels_first(values))


def tensor_pixels(
    tensor: Tensor,
    *,
    value_range: Range = BYTES,
    deep_range: Range | None = None,
    stated: bool = False,
) -> Tensor:
    """Return the pixel values C x H x W of a tensor C x H x W, as `array_pixels` does."""
    shown = f"a tensor {tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.ndim == 4:
        raise SegzooError(
            f"{shown} is not a picture C x H x W", "give one: images[0], or all to predict_batch"
        )
    if tensor.ndim != 3:
        raise SegzooError(f"{shown} is not a picture", "give C x H x W")
    if tensor.dtype == torch.uint8 and tensor.numel():
        return tensor.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    array = tensor.detach().cpu().numpy()
    return torch.from_numpy(_values(array, shown, value_range, deep_range, stated))


def _channels_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = array[..., None] if array.ndim == 2 else array
    first = np.ascontiguousarray(array.transpose(2, 0, 1))
    return first if first.flags.writeable else first.copy()


def _values(
    array: npt.NDArray[Any], shown: str, value_range: Range, deep_range: Range | None, stated: bool
) -> npt.NDArray[Any]:
    kind = array.dtype.kind
    if not array.size:
        raise SegzooError(f"{shown} is not a picture", "it has no pixels")
    if kind == "b":
        raise SegzooError(
            f"{shown} is a mask, not a picture", "give the picture itself, uint8 0..255"
        )
    if kind not in "uif":
        raise SegzooError(f"{shown} is not a picture", "give numbers: uint8 0..255")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if value_range != BYTES:
        return _in_range(array, shown, value_range)
    if array.dtype == np.uint8:
        return array
    bits = 16 if array.dtype == np.uint16 else None
    if bits is None and not stated:
        _refuse_doubtful(array, shown, deep_range)
    return to_uint8(Deep(values=array, bits=bits), deep_range, shown)


def _refuse_doubtful(array: npt.NDArray[Any], shown: str, deep_range: Range | None) -> None:
    """Refuse values of a type that says nothing which can be read in two ways."""
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and 0 <= low <= high <= 1 and deep_range is None and high > 0:
        raise SegzooError(
            f"{shown} holds values {low:g}..{high:g}; the model takes 0..255",
            "multiply by 255 and give uint8: (image * 255).round().astype('uint8'), or say "
            "range=(0, 1)",
        )
    if deep_range not in (None, BYTES) and 1 < high <= 255 and deep_range[1] > 255:
        raise SegzooError(
            f"{shown} holds values {low:g}..{high:g}; the model was trained on pictures of "
            f"{deep_range[0]:g}..{deep_range[1]:g}",
            "give uint8 where they are 0..255, uint16 where they are not, or say range=(0, ...)",
        )


def _in_range(array: npt.NDArray[Any], shown: str, value_range: Range) -> npt.NDArray[Any]:
    """Return values for a model of another range than 0..255, which are to be in it."""
    low, high = value_range
    least, most = float(array.min()), float(array.max())
    over = OVERSHOOT * (high - low)
    if not low - over <= least <= most <= high + over:  # so if any is NaN
        raise SegzooError(
            f"{shown} holds values {least:g}..{most:g}",
            f"the model takes pictures with values {low:g}..{high:g}",
        )
    return array if array.dtype == np.uint8 else array.astype(np.float32)
