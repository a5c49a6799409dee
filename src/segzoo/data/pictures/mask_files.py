"""What a mask file stores: ids, indices with the colours that they show, or colours.

Nothing is decided here about what the values mean (`data/labels` does); but what cannot be
told from the file, or was changed by its format, is refused by name.
"""

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from segzoo.data.pictures.decoding import check_pixels
from segzoo.data.pictures.orientation import turned
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

ARRAY_SUFFIX = ".npy"
BLACK_AND_WHITE: Mapping[int, RGB] = {0: (0, 0, 0), 1: (255, 255, 255)}
_SAVE = "save masks as 8-bit ids or palette PNG"
_LOSSY = {
    **dict.fromkeys(("JPEG", "MPO"), "a JPEG"),
    **dict.fromkeys(("AVIF", "HEIF"), "an {format} picture"),
    "JPEG2000": "a JPEG 2000 picture",
}
_LOSSY_TIFF = {"jpeg": "a JPEG within a TIFF", "tiff_jpeg": "a JPEG within a TIFF"}
_LOSSY_TIFF |= {"webp": "a WebP within a TIFF"}
_FEW_BITS = {"L;2": 85, "L;4": 17}  # Pillow scales them to 0..255, by these.


# NumPy parses a header with `ast`, which up to Python 3.11 may fail in two threads at once
# ("AST constructor recursion depth mismatch", cpython 106905).
_one_header_at_a_time = threading.Lock()


@dataclass(frozen=True)
class StoredMask:
    """A mask as its file has it.

    `values` are ids or indices H x W (uint8 or int32), or colours 3 x H x W (uint8). `shown` has
    the colour of each index in use of a palette picture, and so of 1 bit (black and white) and of
    2 or 4 bits (greys); it is empty where the values are plain numbers. `alpha` has the indices
    that are transparent. `grey_triples` says that plain values were stored as equal red, green and
    blue, `spare` that a palette has colours besides those in use.
    """

    values: Tensor
    shown: Mapping[int, RGB] = field(default_factory=dict)
    alpha: Mapping[int, int] = field(default_factory=dict)
    grey_triples: bool = False
    spare: bool = False

    @property
    def in_colour(self) -> bool:
        """Whether the values are colours, 3 x H x W."""
        return self.values.ndim == 3


def from_picture(
    picture: Image.Image, path: Path, stored: bytes | None, *, upright: bool = True
) -> StoredMask:
    """Return what a mask holds that Pillow has opened; `stored` is its content if it is no file.

    It is turned by its EXIF orientation unless `upright` is False.

    Raises SegzooError naming the file for formats that change values, several frames or pages,
    values that are no whole numbers, and an alpha that says more than the colours.
    """
    if lossy := _lossy(picture, path, stored):
        raise _lossy_mask(path, lossy)
    _refuse_frames(picture, path)
    _refuse_misread_bmp(picture, path, stored)
    raw = _raw_mode(picture)
    if picture.mode not in ("1", "L", "P") and picture.mode[:1] not in "IF" and ";16" in raw:
        raise SegzooError(f"{path}: a mask of 16-bit colours, of which 8 bits would be read", _SAVE)
    turned_mask = turned(picture, upright)
    if turned_mask.mode == "1":
        return _one_bit(turned_mask)
    if turned_mask.mode == "P":
        indexed = _indexed(turned_mask)
        return _as_shown(indexed) if picture.format == "GIF" else indexed
    if turned_mask.mode in ("RGBA", "LA", "PA"):
        return _without_alpha(turned_mask, path)
    array = np.array(turned_mask)
    if turned_mask.mode == "L" and raw[:3] in _FEW_BITS:
        return _few_bits(array, _FEW_BITS[raw[:3]])
    return _plain(array, path)


def from_array(path: Path, stored: bytes | None) -> StoredMask:
    """Return what a mask in NumPy's .npy format holds: whole numbers or bools, H x W or H x W x 1.

    Objects, which would have to be unpickled, are refused as is what claims to be larger than the
    largest picture that Pillow reads. Raises SegzooError naming the file.
    """
    try:
        with (
            io.BytesIO(stored) if stored is not None else path.open("rb") as file,
            _one_header_at_a_time,
        ):
            shape, kind = _array_header(file)
            _check_array(shape, kind, path)
            file.seek(0)
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise SegzooError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise SegzooError(
            f"{path} cannot be read as a NumPy array: {error}",
            "write it anew with numpy.save(file, ids), or take it out of the set",
        ) from error
    array = array[..., 0] if array.ndim == 3 else array
    if array.dtype == bool:
        ids = array.astype(np.uint8)
        return _with_shown(ids, {k: BLACK_AND_WHITE[k] for k in np.unique(ids).tolist()})
    return _plain(np.ascontiguousarray(array), path)


def alpha_of(picture: Image.Image) -> npt.NDArray[np.uint8] | None:
    """Return a picture's alpha, H x W, where it is not the same everywhere; else None."""
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return None
    alpha = np.array(picture.convert("RGBA").getchannel("A"))
    return alpha if (alpha != alpha.flat[0]).any() else None


def _array_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    shape, _, kind = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    return shape, kind


def _check_array(shape: tuple[int, ...], kind: np.dtype[Any], path: Path) -> None:
    what = f"{path}: an array of {' x '.join(map(str, shape)) or 'no size'}, {kind}"
    if kind.kind not in "biuf":
        raise SegzooError(f"{what}, is not a mask", "masks hold whole numbers (or bools), H x W")
    if 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)):
        hint = "masks are H x W (or H x W x 1) ids"
        if len(shape) == 3:
            hint += "; of one layer a class numpy.argmax(layers, axis) makes them"
        raise SegzooError(f"{what}, is not a mask", hint)
    check_pixels(shape[1], shape[0], path)


def _one_bit(picture: Image.Image) -> StoredMask:
    ids = np.array(picture).astype(np.uint8)
    return _with_shown(ids, {k: BLACK_AND_WHITE[k] for k in np.unique(ids).tolist()})


def _few_bits(array: npt.NDArray[np.uint8], step: int) -> StoredMask:
    ids = array // np.uint8(step)
    return _with_shown(ids, {k: (k * step,) * 3 for k in np.unique(ids).tolist()})


def _indexed(picture: Image.Image) -> StoredMask:
    used = [index for index, count in enumerate(picture.histogram()) if count]
    palette = picture.getpalette("RGBA") or []
    if isinstance(clear := picture.info.get("transparency"), int):
        palette[4 * clear + 3 : 4 * clear + 4] = [0]
    quads = {k: palette[4 * k : 4 * k + 4] for k in used if len(palette) >= 4 * k + 4}
    if isinstance(clear, bytes):
        for k, quad in quads.items():
            quad[3] = clear[k] if k < len(clear) else 255
    alpha = {k: quad[3] for k, quad in quads.items() if quad[3] < 255}
    shown: dict[int, RGB] = {k: (quad[0], quad[1], quad[2]) for k, quad in quads.items()}
    stored = _with_shown(np.array(picture), shown, alpha)
    return replace(stored, spare=_has_spare(palette, shown))


def _has_spare(palette: list[int], shown: Mapping[int, RGB]) -> bool:
    """Whether a palette has other colours than those in use; black and greys may fill it up."""
    used = set(shown.values())
    every = enumerate(zip(palette[::4], palette[1::4], palette[2::4], strict=False))
    return any(colour not in (*used, (0, 0, 0), (k, k, k)) for k, colour in every)


def _as_shown(mask: StoredMask) -> StoredMask:
    """Return what a GIF shows, greys as plain values, in the place of its indices.

    Its writers number the colours in use anew, and it has no greys of its own: of the ids 0, 2 and
    5 they make the indices 0, 1 and 2, whose colours are those of 0, 2 and 5.
    """
    if set(mask.shown.values()) <= set(BLACK_AND_WHITE.values()) or mask.alpha:
        return mask
    table = np.zeros((256, 3), np.uint8)
    for index, colour in mask.shown.items():
        table[index] = colour
    colours = table[mask.values.numpy()]
    if (colours[..., :1] == colours).all():
        return StoredMask(torch.from_numpy(colours[..., 0].copy()))
    return StoredMask(torch.from_numpy(colours.transpose(2, 0, 1).copy()))


def _with_shown(
    ids: npt.NDArray[np.uint8], shown: dict[int, RGB], alpha: dict[int, int] | None = None
) -> StoredMask:
    return StoredMask(torch.from_numpy(ids), shown, alpha or {})


def _without_alpha(picture: Image.Image, path: Path) -> StoredMask:
    """Leave out an alpha that follows from the colours; refuse one that says something itself."""
    array = np.array(picture)  # H x W x (bands, of which alpha is the last)
    alpha, rest = array[..., -1], array[..., :-1]
    if (alpha != alpha.flat[0]).any():
        packed = np.zeros(alpha.shape, np.int64)
        for band in range(rest.shape[2]):
            packed = packed << 8 | rest[..., band]
        if (packed == packed.flat[0]).all():
            raise SegzooError(
                f"{path}: all that this mask holds is its alpha; its colour is the same everywhere",
                "-O target=alpha reads the alpha, -O threshold=127 two classes by it",
            )
        both = len(np.unique(packed << 8 | alpha))
        if both != len(np.unique(packed)):
            raise SegzooError(
                f"{path}: a mask in which one colour is transparent at some pixels and not at "
                "others; it is not clear what that means",
                f"{_SAVE}, without transparency; -O target=alpha reads the alpha alone",
            )
    if picture.mode == "PA":
        return _indexed(picture.convert("P"))
    return _plain(rest[..., 0] if picture.mode == "LA" else rest, path)


def _plain(array: npt.NDArray[Any], path: Path) -> StoredMask:
    if array.dtype != np.uint8:
        array = _whole_numbers(array, path)
    if array.ndim == 2:
        return StoredMask(torch.from_numpy(array.copy() if not array.flags.writeable else array))
    if array.shape[2] == 3 and array.dtype == np.uint8:
        if (array[..., :1] == array).all():
            return StoredMask(torch.from_numpy(array[..., 0].copy()), grey_triples=True)
        return StoredMask(torch.from_numpy(array.transpose(2, 0, 1).copy()))
    raise SegzooError(f"{path}: a mask with {array.shape[2]} channels", _SAVE)


def _whole_numbers(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.int32]:
    with np.errstate(invalid="ignore"):  # What does not fit, or is NaN, is found by comparing.
        whole = array.astype(np.int32)
    if (wrong := whole != array).any():
        shown = ", ".join(f"{value:g}" for value in np.unique(array[wrong])[:5])
        raise SegzooError(f"{path}: a mask with the values {shown}, which are not class ids", _SAVE)
    return whole


def _lossy(picture: Image.Image, path: Path, stored: bytes | None) -> str:
    """Return what a picture is if its format may have changed values, else ""."""
    kind = str(picture.format)
    if kind in _LOSSY:
        return _LOSSY[kind].format(format=kind)
    if kind == "TIFF":
        return _LOSSY_TIFF.get(str(picture.info.get("compression")), "")
    if kind == "WEBP" and _is_lossy_webp(path.read_bytes() if stored is None else stored):
        return "a lossy WebP"
    return ""


def _is_lossy_webp(stored: bytes) -> bool:
    """Whether a WebP has a chunk `VP8 ` (lossy) rather than `VP8L`, at the top or in a frame."""
    at = 12
    while at + 8 <= len(stored):
        name, size = stored[at : at + 4], int.from_bytes(stored[at + 4 : at + 8], "little")
        if name == b"VP8 ":
            return True
        at += 8 + 16 if name == b"ANMF" else 8 + size + size % 2
    return False


def _lossy_mask(path: Path, what: str) -> SegzooError:
    # Of the masks of `segzoo.data.standin.shapes` JPEG of quality 75 changes 5 % of the pixels, 95
    # 1 %. AVIF and JPEG 2000 can be without loss, which their headers do not say for certain.
    may = "may change" if what.startswith("an ") or "2000" in what else "changes"
    return SegzooError(
        f"{path} is {what}, which {may} the ids in a mask",
        "save masks as PNG, from what they were made of; a `folder` of two classes is read all the "
        "same, as mattes, with -O threshold=127",
    )


def _refuse_frames(picture: Image.Image, path: Path) -> None:
    """Refuse what holds several pictures: which one is the mask? Smaller copies are none."""
    if not getattr(picture, "is_animated", False):
        return
    count = int(getattr(picture, "n_frames", 1))
    if picture.format == "TIFF":
        tags: Any = picture
        side = 0
        for page in range(1, count):
            picture.seek(page)
            side += bool(tags.tag_v2.get(254, 0) & 5)
        picture.seek(0)
        count -= side
    if count > 1:
        what = "pages" if picture.format == "TIFF" else "frames"
        raise SegzooError(
            f"{path}: a mask of {count} {what}, of which one could be read",
            "save each as a mask of its own",
        )


def _refuse_misread_bmp(picture: Image.Image, path: Path, stored: bytes | None) -> None:
    """Refuse a BMP of 8 bits with black and white alone: Pillow takes its bytes for single bits."""
    if picture.format not in ("BMP", "DIB") or picture.mode != "1":
        return
    with io.BytesIO(stored) if stored is not None else path.open("rb") as file:
        head = file.read(30)
    at = 14 if head[:2] == b"BM" else 0
    old = int.from_bytes(head[at : at + 4], "little") == 12
    bits = int.from_bytes(head[at + (10 if old else 14) :][:2], "little")
    if bits != 1:
        raise SegzooError(
            f"{path}: a BMP of {bits} bits with two colours, which cannot be read right", _SAVE
        )


def _raw_mode(picture: Image.Image) -> str:
    """Return how a picture's file stores its pixels, in Pillow's words: `L;4`, `RGB;16B`."""
    tiles: list[Any] = getattr(picture, "tile", [])
    for tile in tiles[:1]:
        arguments = tile[3]
        return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
    return ""
