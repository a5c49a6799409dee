"""Pictures turned by their EXIF orientation, or as they are stored.

A camera stores the pixels as its sensor lies and says how they are to be turned.
"""

from typing import Any

from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its orientation; 1 is upright."""

_BACK = {**TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_TAG = 0x0112


def stored_orientation(picture: Any) -> int:
    """Return a picture's EXIF orientation, 1 to 8."""
    orientation = picture.getexif().get(_TAG, 1)
    return orientation if orientation in TURNS else 1


def before_reading(picture: Any) -> int | None:
    """Return the orientation of a picture that Pillow turns in reading its pixels, else None."""
    return stored_orientation(picture) if picture.format == "TIFF" else None


def turned(picture: Any, upright: bool) -> Image.Image:
    """Return a picture whose pixels are not read yet upright, or as it is stored."""
    return turned_like(picture, picture, before_reading(picture), upright)


def turned_like(plain: Any, picture: Any, before: int | None, upright: bool) -> Image.Image:
    """Return `plain`, which was made of a picture's pixels as it has read them, turned as it is to
    be; `before` is what `before_reading` gave.
    """
    picture.load()
    now = stored_orientation(picture)
    orientation = now if before is None else before
    if orientation == 1 or (now == orientation) != upright:
        return plain
    return plain.transpose((TURNS if upright else _BACK)[orientation])
