"""Pictures turned by their EXIF orientation, or as they are stored.

A camera stores the pixels as its sensor lies and says how they are to be turned. Call
`stored_orientation` before a picture's pixels are read: Pillow turns a TIFF in reading it.
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


def turned(picture: Any, upright: bool) -> Image.Image:
    """Return a picture whose pixels are not read yet upright, or as it is stored."""
    orientation = stored_orientation(picture)
    return turned_like(picture, picture, orientation, upright)


def turned_like(plain: Any, picture: Any, orientation: int, upright: bool) -> Image.Image:
    """Return `plain`, which was made of a picture's pixels as it has read them, turned as it is to
    be; `orientation` was the picture's before it was read.
    """
    if orientation == 1:
        return plain
    picture.load()
    as_stored = stored_orientation(picture) == orientation
    if as_stored != upright:
        return plain
    return plain.transpose((TURNS if upright else _BACK)[orientation])
