"""Reading pictures and masks from files, whatever their format, depth or orientation.

Photographs come back as uint8 3 x H x W, upright (EXIF applied); masks as class ids H x W;
mattes as uint8 H x W. Every failure is a SegzooError that names the file. Each takes the file's
content as well, `data`, for what lies in an archive; its name then only says what it is.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from segzoo.data.pictures.decoding import opened, refuse_irregular
from segzoo.data.pictures.depth import Range, deep_values, is_deep, is_unit, to_uint8
from segzoo.data.pictures.formats import SUFFIXES as SUFFIXES
from segzoo.data.pictures.formats import kind_of as kind_of
from segzoo.data.pictures.mask_files import (
    ARRAY_SUFFIX,
    StoredMask,
    alpha_of,
    from_array,
    from_picture,
)
from segzoo.data.pictures.orientation import before_reading, stored_orientation, turned_like

MASK_FILES = SUFFIXES | {ARRAY_SUFFIX}
"""The endings of the files that `read_mask` reads."""
# Formats that torchvision reads. Not PNG: there a damaged file ends the process, in libpng.
_FAST = {"RGB": {"JPEG", "MPO", "WEBP"}, "GRAY": {"JPEG", "MPO"}}
_Mode = Literal["RGB", "GRAY"]


def is_picture(path: Path) -> bool:
    """Whether a file's name says picture, and it is not hidden (`._a.png` of macOS is not one)."""
    return kind_of(path) == "picture"


def read_image(
    path: Path,
    data: bytes | None = None,
    *,
    deep_range: Range | None = None,
    upright: bool = True,
    max_pixels: int | None = None,
) -> Tensor:
    """Read a photograph as uint8 RGB, 3 x H x W: grey is repeated, a declared alpha dropped,
    palettes brought to colours, EXIF orientation applied unless `upright` is False.

    `deep_range` is the lowest and highest value of pictures of more than 8 bits, by default those
    of their type, 0..65535; a picture that uses a sliver of them is warned of. Raises SegzooError
    naming the file, for one of other bands, of several pages, and of more pixels than `max_pixels`
    (by default $SEGZOO_MAX_PIXELS, or 179 million) as well.
    """
    return _read(path, data, "RGB", deep_range, upright, max_pixels)


def read_matte(path: Path, data: bytes | None = None, *, upright: bool = True) -> Tensor:
    """Read a matte as uint8 grey, H x W, 0 = background to 255 = foreground.

    Of a picture with an alpha that varies, such as a cut-out, it is the alpha, not the colours.
    """
    return _read(path, data, "GRAY", None, upright)[0]


def read_mask(path: Path, data: bytes | None = None, *, upright: bool = True) -> Tensor:
    """Read a mask as it is stored: class ids H x W (uint8, or int32 from 16 bits), or colours
    3 x H x W where it is a colour picture. A palette picture gives its indices, not its colours.

    Lossy formats are refused, and so are values that are no whole numbers: neither can hold ids.
    """
    return read_stored_mask(path, data, upright=upright).values


def read_stored_mask(path: Path, data: bytes | None = None, *, upright: bool = True) -> StoredMask:
    """Read a mask with what its file says of the values: the colours that indices show."""
    if path.suffix.lower() == ARRAY_SUFFIX:
        refuse_irregular(path, data)
        return from_array(path, data)
    with opened(path, data, pages=False) as picture:
        return from_picture(picture, path, data, upright=upright)


def _read(
    path: Path,
    data: bytes | None,
    mode: _Mode,
    deep_range: Range | None,
    upright: bool,
    max_pixels: int | None = None,
) -> Tensor:
    with opened(path, data, max_pixels) as picture:
        if picture.format in _FAST[mode] and not _turned_webp(picture):
            # Not above: it takes as long to import as torch, and a message needs no pictures.
            from torchvision.io import ImageReadMode, decode_image, read_file

            try:
                # Three times as fast as Pillow, and other threads run meanwhile.
                stored = read_file(str(path)) if data is None else _as_tensor(data)
                rgb_or_grey = ImageReadMode[mode]
                return decode_image(stored, rgb_or_grey, apply_exif_orientation=upright)
            except RuntimeError:
                pass  # Damaged: Pillow reads it or names the damage.
        before = before_reading(picture)

        def again() -> AbstractContextManager[Any]:
            return opened(path, data, max_pixels)

        alpha = _varying_alpha(picture, again) if mode == "GRAY" else None
        deep = deep_values(picture, again) if alpha is None else None
        if alpha is not None:
            plain = Image.fromarray(alpha)
        elif deep is not None:
            if mode == "GRAY" and is_unit(deep):
                deep_range = (0.0, 1.0)  # An alpha is 0..1 wherever it is a float.
            plain = Image.fromarray(to_uint8(deep, deep_range, path))
        else:
            grey = mode == "GRAY" or picture.mode in ("1", "L")
            plain = in_colours(picture, "L" if grey else "RGB")
        return _as_pixels(turned_like(plain, picture, before, upright), mode)


def _turned_webp(picture: Any) -> bool:
    """Whether a picture is a WebP with an orientation, which torchvision does not apply."""
    return picture.format == "WEBP" and stored_orientation(picture) != 1


def _varying_alpha(
    picture: Any, again: Callable[[], AbstractContextManager[Any]]
) -> npt.NDArray[np.uint8] | None:
    """Return an alpha that varies; of a deep picture without reading its pixels."""
    if not is_deep(picture):
        return alpha_of(picture)
    if picture.mode not in ("RGBA", "LA"):
        return None
    with again() as second:
        return alpha_of(second)


def in_colours(picture: Image.Image, mode: str) -> Image.Image:
    """Return a picture of 8 bits as RGB or L; alpha is dropped, the colours below it kept.

    Raises ValueError for modes that have no conversion, such as LAB.
    """
    if picture.mode in ("La", "RGBa"):  # multiplied by their alpha
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if picture.mode == "PA":
        picture = picture.convert("RGBA")
    return picture if picture.mode == mode else picture.convert(mode)


def _as_tensor(data: bytes) -> Tensor:
    if not data:
        raise RuntimeError("empty")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _as_pixels(picture: Image.Image, mode: _Mode) -> Tensor:
    if mode == "GRAY" and picture.mode == "RGB":
        picture = picture.convert("L")
    pixels = torch.from_numpy(np.array(picture))
    if pixels.ndim == 3:
        return pixels.permute(2, 0, 1).contiguous()
    # Repeated here, grey takes 5 bytes of memory a pixel; by Pillow 11.
    return pixels.expand(3, -1, -1).contiguous() if mode == "RGB" else pixels[None]
