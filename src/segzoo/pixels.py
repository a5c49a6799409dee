"""From whatever holds a picture to its pixel values."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from segzoo.data.images import read_image
from segzoo.errors import SegzooError


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
