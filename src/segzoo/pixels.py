"""From whatever holds a picture to its pixel values."""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from segzoo.data.images import read_image
from segzoo.errors import SegzooError

TAKEN = (
    "give a path, a file's bytes, a file opened in binary mode, a PIL picture, an array or a tensor"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|data:")


def as_pixels(image: Any) -> Tensor:
    """Turn a path, a file's content, an open file, a PIL picture, array or tensor to C x H x W.

    Raises SegzooError naming what came where it is none of them, or cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(_path(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return read_image(Path(f"<{len(image)} bytes>"), bytes(image))
    if callable(getattr(image, "read", None)):
        return read_image(Path(_name(image)), _content(image))
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)
        image = np.array(upright if upright.mode == "L" else upright.convert("RGB"))
    if isinstance(image, np.ndarray):
        array = image[..., None] if image.ndim == 2 else image
        if array.ndim != 3 or array.shape[2] > 64:
            raise SegzooError(f"{_described(image)} is no picture", "give H x W x C or H x W")
        image = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    if isinstance(image, Tensor) and image.ndim == 3:
        # torch cannot resize uint16
        return image.to(torch.float32) if image.dtype == torch.uint16 else image
    raise _no_picture(image)


def pixels_of_each(images: Iterable[Any]) -> list[Tensor]:
    """Return the pixel values of several pictures, each as `as_pixels` takes it.

    Raises SegzooError for a single picture, whose rows or letters would else be taken for many.
    """
    is_array = isinstance(images, (np.ndarray, Tensor))
    if is_array and images.ndim > 3:
        return [as_pixels(image) for image in images]
    if not isinstance(images, Iterable) or is_array or _is_single(images):
        raise SegzooError(
            f"{_described(images)} is no list of pictures",
            "give several, as in [first, second]; for one there is `predict`",
        )
    return [as_pixels(image) for image in images]


def _is_single(image: object) -> bool:
    single = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
    return isinstance(image, single) or hasattr(image, "read")


def _path(given: Any) -> Path:
    path = Path(os.fsdecode(given))
    if _URL.match(str(given)) and not os.path.lexists(path):
        raise SegzooError(
            f"{str(given)[:200]} is a URL; pictures are not downloaded",
            "give a file, or its content: predict(urllib.request.urlopen(url).read())",
        )
    if path.is_dir():
        raise SegzooError(
            f"{path} is a folder, not a picture",
            "`segzoo predict` takes folders; in Python predict_batch(sorted(folder.glob('*.jpg')))",
        )
    return path


def _name(file: Any) -> str:
    """Return what an open file is called in messages."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else f"<{type(file).__name__}>"


def _content(file: Any) -> bytes:
    """Return what is left to read of an open file, of which nothing need be able to go back."""
    name = _name(file)
    if isinstance(file, io.TextIOBase):
        raise SegzooError(
            f"{name} is opened as text", "open pictures in binary mode: open(f, 'rb')"
        )
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise SegzooError(f"{name} cannot be read: {error}", "open it for reading, 'rb'") from error
    if not isinstance(content, (bytes, bytearray, memoryview)):
        if hasattr(content, "close"):
            content.close()  # Else a coroutine warns that nobody waited for it.
        raise SegzooError(
            f"{name}: read() gives {type(content).__name__}, not bytes",
            "give the content itself: predict(await file.read()) of an asynchronous file",
        )
    if not content:
        raise SegzooError(
            f"{name}: nothing is left to read",
            "after writing or reading it, go back to its start: file.seek(0)",
        )
    return bytes(content)


def _no_picture(image: Any) -> SegzooError:
    if isinstance(image, Iterable) and not isinstance(image, (np.ndarray, Tensor)):
        return SegzooError(
            f"{_described(image)} is not one picture",
            "`predict_batch` takes several; numbers go into an array, np.array(rows, np.uint8)",
        )
    return SegzooError(f"{_described(image)} is no picture", TAKEN)


def _described(image: Any) -> str:
    if isinstance(image, (np.ndarray, Tensor)):
        kind = "a tensor" if isinstance(image, Tensor) else "an array"
        return f"{kind} {tuple(image.shape)}"
    if isinstance(image, (str, os.PathLike)):
        return f"`{str(image)[:200]}`"
    return type(image).__name__
