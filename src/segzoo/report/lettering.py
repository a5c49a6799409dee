"""Texts in pictures: names of files and classes of any script, with the fonts that there are.

Neither matplotlib nor Pillow looks for another font where the first one lacks a character.
"""

import functools
import re
import unicodedata
from pathlib import Path
from typing import Any

WIDE = re.compile(
    r"cjk|notosans(sc|tc|jp|kr|hk)|sourcehan|wqy|wenquanyi|msyh|msjh|simhei|simsun|pingfang|hiragino"
    r"|stheiti|songti|droidsansfallback|malgun|nanum|applegothic|meiryo|yugoth|msgothic|ipaex?g"
    r"|takao|arial.?unicode|unifont",
    re.IGNORECASE,
)
"""File names of fonts that have Chinese, Japanese or Korean characters, as systems bring them."""


def drawable(text: str) -> str:
    """Return a text as it can be drawn: composed, and escaped where no font has a character."""
    text = unicodedata.normalize("NFC", text)
    if font_of(text) is not None:
        return text
    known = _characters(_usual())
    return "".join(
        c
        if ord(c) in known and c.isprintable()
        else c.encode("unicode_escape").decode()
        if ord(c) < 0xD800 or ord(c) > 0xDFFF
        else f"\\x{ord(c) & 0xFF:02x}"
        for c in text
    )


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters, with its beginning and its end."""
    text = unicodedata.normalize("NFC", text)
    if len(text) <= most:
        return text
    tail = (most - 1) * 3 // 5  # Names differ at their ends, which have the numbers.
    return f"{text[: most - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - tail :]}"


def font_of(text: str) -> str | None:
    """Return the file of a font that has all characters of a text; None where there is none."""
    needed = {ord(c) for c in text}
    if not all(c.isprintable() for c in text):
        return None
    if needed <= _characters(_usual()):
        return _usual()
    return next((path for path in _wide() if needed <= _characters(path)), None)


def with_font(label: Any) -> None:
    """Give a text of matplotlib a font that has its characters."""
    from matplotlib.font_manager import FontProperties

    path = font_of(label.get_text())
    if path is not None and path != _usual():
        size = label.get_size()
        label.set_fontproperties(FontProperties(fname=path))
        label.set_size(size)


@functools.cache
def pillow_font(path: str | None, size: int) -> Any:
    """Return Pillow's font of a file; the usual one for None."""
    from PIL import ImageFont

    return ImageFont.truetype(path or _usual(), size)


@functools.cache
def _usual() -> str:
    """Return DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, and some others."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@functools.cache
def _wide() -> tuple[str, ...]:
    from matplotlib.font_manager import findSystemFonts

    return tuple(sorted(path for path in findSystemFonts() if WIDE.search(Path(path).name)))


@functools.cache
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
