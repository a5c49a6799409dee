"""From whatever holds a picture to its pixel values."""

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from segzoo.data.arrays import BYTES, array_pixels, picture_pixels, tensor_pixels
from segzoo.data.images import read_image
from segzoo.data.pictures.value_range import Range
from segzoo.errors import SegzooError

TAKEN = (
    "give a path, a file's bytes, a file opened in binary mode, a PIL picture, an array or a tensor"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|data:")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How pixel values are read: the model's `value_range`, the range of pictures of more than 8
    bits (`stated` for the very picture, or that of the training), and the most pixels of a file.
    """

    value_range: Range = BYTES
    deep_range: Range | None = None
    stated: bool = False
    max_pixels: int | None = None

    def file(self, path: Path, data: bytes | None = None) -> Tensor:
        """Return the pixel values of a picture file."""
        return read_image(path, data, deep_range=self.deep_range, max_pixels=self.max_pixels)


PLAIN = Reading()


def as_pixels(image: Any, how: Reading = PLAIN) -> Tensor:
    """Turn a path, a file's content, an open file, a PIL picture, array or tensor to C x H x W.

    The same picture gives the same values however it comes, as far as its type tells. Raises
    SegzooError naming what came where it is none of them, or cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return how.file(_path(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return how.file(Path(f"<{len(image)} bytes>"), bytes(image))
    if callable(getattr(image, "read", None)):
        return how.file(Path(_name(image)), _content(image))
    if isinstance(image, Image.Image):
        return picture_pixels(image, how.deep_range, how.max_pixels)
    if isinstance(image, (np.ndarray, Tensor)):
        of_kind = tensor_pixels if isinstance(image, Tensor) else array_pixels
        ranges = {"value_range": how.value_range, "deep_range": how.deep_range}
        return of_kind(image, **ranges, stated=how.stated)  # type: ignore[arg-type]
    raise _no_picture(image)


def pixels_of_each(images: Iterable[Any], how: Reading = PLAIN) -> list[Tensor]:
    """Return the pixel values of several pictures, each as `as_pixels` takes it.

    Raises SegzooError for a single picture, whose rows or letters would else be taken for many.
    """
    is_array = isinstance(images, (np.ndarray, Tensor))
    if is_array and images.ndim > 3:
        return [as_pixels(image, how) for image in images]
    if not isinstance(images, Iterable) or is_array or _is_single(images):
        raise SegzooError(
            f"{_described(images)} is not a list of pictures",
            "give several, as in [first, second]; for one there is `predict`",
        )
    return [as_pixels(image, how) for image in images]


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
    return SegzooError(f"{_described(image)} is not a picture", TAKEN)


def _described(image: Any) -> str:
    if isinstance(image, (np.ndarray, Tensor)):
        kind = "a tensor" if isinstance(image, Tensor) else "an array"
        return f"{kind} {tuple(image.shape)}"
    if isinstance(image, (str, os.PathLike)):
        return f"`{str(image)[:200]}`"
    return "None" if image is None else f"an object of type {type(image).__name__}"
