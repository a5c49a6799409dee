"""Opening picture files safely: what may be opened, how large, of which bands and pages.

`opened` gives Pillow's picture of a file of which no pixels have been read. What a reader would
lose in silence, bands beyond the colours and pages beyond the first, is refused by name.
"""

import contextlib
import importlib
import io
import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from segzoo.data.pictures import tiff
from segzoo.data.pictures.formats import (
    FORMATS,
    SUFFIXES,
    content,
    heif_library,
    unread_format,
    way_to_read,
    what_it_is,
)
from segzoo.data.pictures.jpeg import check_scans
from segzoo.errors import SegzooError
from segzoo.host import regular
from segzoo.plugins.isolation import one_line

MOST_PIXELS = 178_956_970
"""Pixels of the largest picture that is read: as many as Pillow takes. A file of a few bytes can
claim to be one that fills the memory."""

LIMIT_VARIABLE = "SEGZOO_MAX_PIXELS"
"""The environment variable that says another limit."""

HEAD = 4096

_ANIMATED = {"GIF": "pictures", "PNG": "pictures", "WEBP": "pictures", "AVIF": "pictures"}
"""Formats that hold films. A phone's MPO and HEIC hold other views or depth beside the photograph,
which is the first: it is read."""
_J2K_COLOURS = {1: 1, 2: 1, 3: 3, 4: 3}


def most_pixels(given: int | None = None) -> int:
    """Return the limit on a picture's pixels: `given`, $SEGZOO_MAX_PIXELS, or the default."""
    if given is not None:
        return given
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return MOST_PIXELS
    try:
        limit = int(float(text))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise SegzooError(f"{LIMIT_VARIABLE}={text}", "give a number of pixels, such as 500000000")
    return limit


def allow_pixels(most: int | None) -> None:
    """Set the limit for this process and those that it starts to read pictures; None leaves it."""
    if most is not None:
        os.environ[LIMIT_VARIABLE] = str(most)


def check_pixels(width: int, height: int, what: object, limit: int | None = None) -> None:
    """Raise SegzooError for a picture of too many pixels, naming the flag and the variable."""
    most = most_pixels(limit)
    if width * height > most:
        raise SegzooError(
            f"{what} is {width}x{height}, {width * height / 1e6:.3g} million pixels; up to "
            f"{most / 1e6:.3g} million are read",
            "if it is meant to be that large, `predict`, `evaluate` and `data` take it with "
            f"--max-pixels {width * height}, every command with {LIMIT_VARIABLE}={width * height} "
            "in the environment; it takes 3 bytes of memory a pixel, and more to predict",
        )


@contextlib.contextmanager
def opened(
    path: Path, data: bytes | None = None, limit: int | None = None, *, pages: bool = True
) -> Iterator[Any]:
    """Open a picture, of which no pixels have been read then; a PNG's checksums have been compared.

    `data` is the file's content where it lies in an archive; `limit` is the most pixels it may
    have; with `pages` False the caller looks after pages beyond the first. Raises SegzooError
    naming the file for what is not a picture, is too large, or of bands or pages that would be
    lost, and for whatever reading its pixels raises in the block.
    """
    refuse_irregular(path, data)
    try:
        with _source(path, data) as file, _pillow_unlimited():
            picture = _identified(file, path)
            with picture:
                check_pixels(picture.width, picture.height, path, limit)
                if pages:
                    refuse_pages(picture, path, file)
                refuse_bands(picture, path, file)
                if picture.format in ("JPEG", "MPO"):
                    check_scans(file, path, picture.width * picture.height)
                if picture.format != "PNG":
                    yield picture
                    return
                picture.verify()  # Pillow compares them only when asked to; it cannot be read then.
            file.seek(0)
            with Image.open(file, formats=["PNG"]) as picture:
                yield picture
    except SegzooError:
        raise
    except Exception as error:  # Pillow's readers raise whatever their formats make of damage.
        raise unreadable(path, error, data) from error


def _source(path: Path, data: bytes | None) -> BinaryIO:
    return path.open("rb") if data is None else io.BytesIO(data)


def _identified(file: BinaryIO, path: Path) -> Image.Image:
    """Return what Pillow, or the library for HEIC, takes a file for."""
    head = file.read(HEAD)
    file.seek(0)
    if head[4:8] == b"ftyp" and (library := heif_library()):
        plugin = importlib.import_module(f"{library}.as_plugin")
        if head[8:12] not in (b"avif", b"avis"):
            return plugin.HeifImageFile(file, str(path))
    formats = FORMATS if path.suffix.lower() == ".tga" else FORMATS[:-1]
    return Image.open(file, formats=formats)


class _Unlimited:
    """Counts those who are reading, while Pillow's own limit, that of a process, is off."""

    lock = threading.Lock()
    readers = 0
    before: int | None = None


@contextlib.contextmanager
def _pillow_unlimited() -> Iterator[None]:
    """Switch off Pillow's limit, which warns from 89 million pixels and cannot be stated a file.

    `check_pixels` takes its place before any memory is taken.
    """
    with _Unlimited.lock:
        if not _Unlimited.readers:
            _Unlimited.before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _Unlimited.readers += 1
    try:
        yield
    finally:
        with _Unlimited.lock:
            _Unlimited.readers -= 1
            if not _Unlimited.readers:
                Image.MAX_IMAGE_PIXELS = _Unlimited.before


def refuse_pages(picture: Any, name: object, file: BinaryIO | None = None) -> None:
    """Raise SegzooError for a film, or a TIFF of several pages, of which all but one were lost."""
    if picture.format in _ANIMATED:
        count = getattr(picture, "n_frames", 1)
        what = f"an animation of {count} pictures"
    elif picture.format == "TIFF" and file is not None:
        at = file.tell()
        found = list(islice(tiff.pages(file), tiff.MOST_PAGES))
        file.seek(at)
        count = sum(not page.is_side for page in found[1:]) + 1
        what = f"a TIFF of {count} pages"
    else:
        return
    if count > 1:
        raise SegzooError(
            f"{name} is {what}; only the first would be read",
            "save each as a file of its own, and leave out those that are not meant",
        )


def refuse_bands(picture: Any, name: object, file: BinaryIO | None = None) -> None:
    """Raise SegzooError for bands beyond grey, colours and a declared alpha: they would be lost."""
    if picture.format == "TIFF":
        page = _page(picture)
        if page.extras > 0 and not page.has_alpha:
            raise _bands(name, page.bands, f"a TIFF of {page}", _TIFF_ALPHA)
        if page.planar == 2 and page.bands > 1 and max(page.bits) > 8:
            raise _bands(name, page.bands, f"a TIFF of {page}, stored one after the other", "")
        pieces = picture.tag_v2.get(273) or picture.tag_v2.get(324) or ()
        if page.planar == 2 and 0 < len(pieces) < page.bands:
            raise SegzooError(
                f"{name} is a TIFF of {page}, stored one after the other in one piece, which "
                "would be read wrongly",
                "write it anew with its bands together, such as with `tiffcp -p contig`",
            )
        if page.numbers == 2 and max(page.bits) <= 8:
            raise SegzooError(
                f"{name} is a TIFF of {page}: signed numbers",
                "add 128 and save it as unsigned 8 bits",
            )
    elif picture.format == "JPEG2000" and file is not None:
        at = file.tell()
        file.seek(0)
        bands, alpha = jpeg2000_bands(file.read(16 * HEAD))
        file.seek(at)
        extra = bands - _J2K_COLOURS.get(bands, 3)
        if extra and not alpha and picture.mode != "CMYK":
            raise _bands(name, bands, f"a JPEG 2000 picture of {bands} bands", _J2K_ALPHA)


_TIFF_ALPHA = " (ExtraSamples)"
_J2K_ALPHA = " (a cdef box)"


def _bands(name: object, count: int, what: str, where: str) -> SegzooError:
    return SegzooError(
        f"{name} is {what}; read are 1 band (grey), 3 (red, green, blue), and an alpha beside them "
        f"that the file declares{where}",
        "write the bands to use to files of their own, such as with `gdal_translate -b 1 -b 2 -b 3`"
        if count > 2
        else "write the band to use to a file of its own, such as with `gdal_translate -b 1`",
    )


def _page(picture: Any) -> tiff.Page:
    """Return the tags of the page that Pillow has opened."""
    tags = picture.tag_v2
    bits = tags.get(258, (1,))
    numbers = tags.get(339, (1,))
    return tiff.Page(
        bits=bits if isinstance(bits, tuple) else (bits,),
        photometric=tags.get(262, 0),
        bands=tags.get(277, 3 if tags.get(259) in (6, 7) and tags.get(262) in (2, 6) else 1),
        extra=tuple(tags.get(338, ())),
        numbers=numbers[0] if isinstance(numbers, tuple) else numbers,
        planar=tags.get(284, 1),
    )


def jpeg2000_bands(head: bytes) -> tuple[int, bool]:
    """Return how many bands a JPEG 2000 file has, and whether one is declared to be opacity."""
    at = head.find(b"\xff\x4f\xff\x51")  # the codestream: SOC and SIZ
    boxes = head[: at if at >= 0 else len(head)]
    bands = 0
    if (ihdr := boxes.find(b"ihdr")) >= 0:
        bands = int.from_bytes(boxes[ihdr + 12 : ihdr + 14], "big")
    elif at >= 0:
        bands = int.from_bytes(head[at + 40 : at + 42], "big")
    cdef = boxes.find(b"cdef")
    if cdef < 0:
        return bands, False
    count = int.from_bytes(boxes[cdef + 4 : cdef + 6], "big")
    kinds = [
        int.from_bytes(boxes[cdef + 8 + 6 * k : cdef + 10 + 6 * k], "big") for k in range(count)
    ]
    return bands, any(kind in (1, 2) for kind in kinds)


def refuse_irregular(path: Path, data: bytes | None, wanted: str = "a picture") -> None:
    """Refuse what is no file by its name: opening a pipe would wait for somebody to write."""
    if data is None:
        regular.refuse_irregular(path, wanted)


def unreadable(path: Path, error: Exception, data: bytes | None = None) -> SegzooError:
    """Return what to say of a picture that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return SegzooError(f"{path}: no such file")
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(path, data)
    return SegzooError(
        f"{path} cannot be read: {one_line(error)}", "replace it, or take it out of the set"
    )


def _unidentified(path: Path, data: bytes | None) -> SegzooError:
    """Say what a file is that is not a picture that is read, as far as its first bytes tell."""
    readable = f"readable are {', '.join(sorted(SUFFIXES))}"
    kind = ""
    with contextlib.suppress(OSError), _source(path, data) as file:
        if page := next(tiff.pages(file), None):
            return SegzooError(
                f"{path} is a TIFF of {page}, which is not read; read are grey ones (1 band) of up "
                "to 32 bits and colours (3 bands) of 8 or 16",
                "convert it, such as with `gdal_translate -b 1 -b 2 -b 3 -ot UInt16`",
            )
        file.seek(0)
        head = file.read(HEAD)
        if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
            bands, _ = jpeg2000_bands(head)
            if bands > 4:
                return _bands(path, bands, f"a JPEG 2000 picture of {bands} bands", "")
        if not head:
            return SegzooError(f"{path} is empty, not a picture", "replace it, or take it out")
        kind = what_it_is(path, head)
        if what := content(head):
            return SegzooError(f"{path} is {what}, which is not read", way_to_read(path))
    if what := unread_format(path):
        return SegzooError(
            f"{path} is a file of the kind {what}, which is not read", way_to_read(path)
        )
    if data is None and path.suffix.lower() in SUFFIXES:
        shown = f"{kind}, damaged" if kind.endswith("picture") else kind or "no image"
        readable = f"its content is {shown}; replace it, or take it out"
    return SegzooError(f"{path} is not a picture", readable)
