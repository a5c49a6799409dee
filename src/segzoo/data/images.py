"""Reading pictures and masks from files, whatever their format, depth or orientation.

Photographs come back as uint8 3 x H x W, upright (EXIF applied); masks as class ids H x W;
mattes as uint8 H x W. Every failure is a SegzooError that names the file. Each takes the file's
content as well, `data`, for what lies in an archive; its name then only says what it is.
"""

import io
import os
import stat
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file

from segzoo.data.mask_files import ARRAY_SUFFIX, StoredMask, alpha_of, from_array, from_picture
from segzoo.errors import SegzooError
from segzoo.isolation import one_line

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
MASK_FILES = SUFFIXES | {ARRAY_SUFFIX}
"""The endings of the files that `read_mask` reads."""
# Formats that torchvision reads. Not PNG: there a damaged file ends the process, in libpng.
# What Pillow may take a file for, whatever its name says: for some formats it starts programs
# (EPS: ghostscript), and no picture needs them.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
_FAST = {ImageReadMode.RGB: {"JPEG", "MPO", "WEBP"}, ImageReadMode.GRAY: {"JPEG", "MPO"}}
_IRREGULAR = (
    *((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket")),
    *((stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device")),
)


def is_picture(path: Path) -> bool:
    """Whether a file's name says picture, and it is not hidden (`._a.png` of macOS is not one)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path: Path, data: bytes | None = None) -> Tensor:
    """Read a photograph as uint8 RGB, 3 x H x W: grey is repeated, alpha dropped, palettes and
    16 bits brought to 8, EXIF orientation applied. Raises SegzooError naming the file.
    """
    return _read(path, data, ImageReadMode.RGB)


def read_matte(path: Path, data: bytes | None = None) -> Tensor:
    """Read a matte as uint8 grey, H x W, 0 = background to 255 = foreground.

    Of a picture with an alpha that varies, such as a cut-out, it is the alpha, not the colours.
    """
    return _read(path, data, ImageReadMode.GRAY)[0]


def read_mask(path: Path, data: bytes | None = None) -> Tensor:
    """Read a mask as it is stored: class ids H x W (uint8, or int32 from 16 bits), or colours
    3 x H x W where it is a colour picture. A palette picture gives its indices, not its colours.

    Lossy formats are refused, and so are values that are no whole numbers: neither can hold ids.
    """
    return read_stored_mask(path, data).values


def read_stored_mask(path: Path, data: bytes | None = None) -> StoredMask:
    """Read a mask with what its file says of the values: the colours that indices show."""
    _refuse_irregular(path, data)
    if path.suffix.lower() == ARRAY_SUFFIX:
        return from_array(path, data)
    try:
        with _opened(path, data) as picture:
            return from_picture(picture, path, data)
    except SegzooError:
        raise
    except Exception as error:  # Pillow's readers raise whatever their formats make of damage.
        raise _unreadable(path, error) from error


def _refuse_irregular(path: Path, data: bytes | None) -> None:
    """Refuse what is no file by its name: opening a pipe would wait for somebody to write."""
    if data is not None:
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - half the time of Path.stat
    except (OSError, ValueError):
        return  # Opening it says what is wrong.
    if not stat.S_ISREG(mode):
        what = next((name for holds, name in _IRREGULAR if holds(mode)), "no regular file")
        raise SegzooError(f"{path} is {what}, not a picture", "replace it, or take it out")


def _opened(path: Path, data: bytes | None) -> Image.Image:
    """Open a picture, of which no pixels have been read then; a PNG's checksums have been compared.

    Pillow compares those of the pixels only when asked to. It refuses a picture of more than 179
    million pixels (twice PIL.Image.MAX_IMAGE_PIXELS): a file of a few bytes can claim to be one
    that fills the memory.
    """
    source = path if data is None else io.BytesIO(data)
    picture = Image.open(source, formats=_FORMATS)
    if picture.format == "PNG":
        with picture:
            picture.verify()  # After which it cannot be read.
        if isinstance(source, io.BytesIO):
            source = io.BytesIO(source.getvalue())
        picture = Image.open(source, formats=_FORMATS)
    return picture


def _read(path: Path, data: bytes | None, mode: ImageReadMode) -> Tensor:
    _refuse_irregular(path, data)
    try:
        with _opened(path, data) as picture:
            if picture.format in _FAST[mode]:
                try:
                    # Three times as fast as Pillow, and other threads run meanwhile.
                    stored = read_file(str(path)) if data is None else _as_tensor(data)
                    return decode_image(stored, mode, apply_exif_orientation=True)
                except RuntimeError:
                    pass  # Damaged: Pillow reads it or names the damage.
            ImageOps.exif_transpose(picture, in_place=True)
            return _from_pillow(picture, mode)
    except Exception as error:
        raise _unreadable(path, error) from error


def _as_tensor(data: bytes) -> Tensor:
    if not data:
        raise RuntimeError("empty")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _from_pillow(picture: Image.Image, mode: ImageReadMode) -> Tensor:
    if mode == ImageReadMode.GRAY and (alpha := alpha_of(picture)) is not None:
        return torch.from_numpy(alpha)[None]
    if picture.mode.startswith(("I", "F")):
        array = np.array(picture)
        if array.dtype.kind == "f" or array.min() < 0 or array.max() > 65535:
            raise ValueError(f"pixel values {array.min():g}..{array.max():g} need a stated range")
        grey = _to_uint8(torch.from_numpy(array.astype(np.int32)), deep=True)[None]
        return grey.expand(3, -1, -1) if mode == ImageReadMode.RGB else grey
    wanted = "RGB" if mode == ImageReadMode.RGB else "L"
    pixels = torch.from_numpy(
        np.array(picture if picture.mode == wanted else picture.convert(wanted))
    )
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _to_uint8(pixels: Tensor, deep: bool = False) -> Tensor:
    """Bring 16-bit values to 8 bits, rounding: 65535 = 257 * 255."""
    if pixels.dtype == torch.uint16 or deep:
        return ((pixels.to(torch.int32) + 128) // 257).to(torch.uint8)
    return pixels


def _unreadable(path: Path, error: Exception) -> SegzooError:
    if isinstance(error, FileNotFoundError):
        return SegzooError(f"{path}: no such file")
    if isinstance(error, UnidentifiedImageError):
        return SegzooError(
            f"{path} is not a picture", f"readable are {', '.join(sorted(SUFFIXES))}"
        )
    return SegzooError(
        f"{path} cannot be read: {one_line(error)}", "replace it, or take it out of the set"
    )
