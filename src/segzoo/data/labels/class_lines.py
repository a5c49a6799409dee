"""Lines of lists of classes: cut into cells at tabs, commas, spaces, but not in quotes; colours."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

Line = tuple[int, str]
"""The number of a line, and its text."""

INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
HEX = re.compile(r"#[0-9a-fA-F]{6}")
_BYTE = r"([0-9]{1,3})"
_BETWEEN = r"(?:\s*,\s*|\s+)"
TRIPLE = re.compile(rf"[(\[]?\s*{_BYTE}{_BETWEEN}{_BYTE}{_BETWEEN}{_BYTE}\s*[)\]]?")
_QUOTED = r"\"((?:[^\"]|\"\")*)\"|'([^']*)'"
LISTED = re.compile(
    r"[0-9]+\s*[^\w\s]+\s|(?=[^\x00-\x7f])\d+\s|[-*+\u2022\u00b7]\s|0x[0-9a-f]{6}\b", re.IGNORECASE
)
"""What begins a line with a number or a mark that is no part of a name: `1. name`, `2) name`,
`- name`, `0xff0000 name`, and digits of other scripts."""
_WORDS = re.compile(rf"(?:{_QUOTED})(?=\s|$)|(\S+)")
_WHOLE = re.compile(rf"(?:{_QUOTED})$|(.*)$")


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class of a list: its name, and its id and colour where the list has them."""

    name: str
    line: int
    id: int | None = None
    colour: RGB | None = None


@dataclass(frozen=True)
class Cell:
    """A piece of a line; what is quoted is text, whatever it looks like."""

    text: str
    quoted: bool = False

    @property
    def kind(self) -> str:
        """``I`` a whole number, ``C`` a colour, ``T`` a text."""
        if self.quoted and not TRIPLE.fullmatch(self.text):
            return "T"
        if INTEGER.fullmatch(self.text):
            return "I"
        return "C" if HEX.fullmatch(self.text) or TRIPLE.fullmatch(self.text) else "T"


Cut = Callable[[str], list[Cell]]


def kinds_of(cells: Sequence[Cell]) -> str:
    """Return the kinds of cells in a row, as `IT`."""
    return "".join(cell.kind for cell in cells)


def whole(text: str) -> Cell:
    """Return a line as one cell, without separators at its end and without its quotes."""
    match = _WHOLE.match(text.rstrip(",;\t "))
    assert match
    return _cell(match)


def _cell(match: re.Match[str]) -> Cell:
    double, single, bare = match.groups()
    if double is not None:
        return Cell(double.replace('""', '"').strip(), quoted=True)
    return Cell(single.strip(), quoted=True) if single is not None else Cell(bare.strip())


def _by(separator: str) -> Cut:
    """Return what cuts a line at each of a separator, such as a comma, but not within quotes.

    Several tabs are one: they align columns.
    """
    piece = re.compile(rf"\s*(?:(?:{_QUOTED})|([^{separator}]*?))[^\S\t]*(?:{separator}|$)")

    def cut(text: str) -> list[Cell]:
        text = text.rstrip(f"{separator} \t")
        if separator not in text:
            return [whole(text)]
        if separator == "\t":
            text = re.sub("\t+", "\t", text)
        cells: list[Cell] = []
        at = 0
        while at < len(text) and (match := piece.match(text, at)):
            cells.append(_cell(match))
            at = match.end()
        return cells

    return cut


def _spaced(*, leading: bool = True, trailing: bool = True) -> Cut:
    """Return what cuts a line at spaces, but leaves a name of several words whole: what is no
    number at the line's beginning or end. Words with a tab between them are no name.
    """

    def cut(text: str) -> list[Cell]:
        text = text.rstrip(",; \t")
        matches = list(_WORDS.finditer(text))
        cells = [_cell(match) for match in matches]
        first, last = 0, len(cells)
        while leading and first < last and cells[first].kind != "T":
            first += 1
        while trailing and last > first and cells[last - 1].kind != "T":
            last -= 1
        if last - first > 1:
            name = text[matches[first].start() : matches[last - 1].end()]
            if "\t" in name:
                return cells
            cells[first:last] = [Cell(" ".join(cell.text for cell in cells[first:last]))]
        return cells

    return cut


def _mixed(text: str) -> list[Cell]:
    """Cut at commas, semicolons and tabs as at spaces: `10, 20, 30 name`."""
    return _spaced()(re.sub(r"\s*[,;\t]+", "\t", text.rstrip(",; \t")))


def _colon(text: str) -> list[Cell]:
    """Cut at a colon or an equals sign: `0: name`."""
    match = re.fullmatch(r"([^:=]*?)\s*[:=]\s*(.+)", text)
    return [Cell(match[1]), Cell(match[2])] if match else [Cell(text)]


def colour_of(text: str, line: Line, where: str) -> RGB:
    """Return the colour of ``#rrggbb`` or three numbers; raises SegzooError naming the line."""
    if HEX.fullmatch(text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    match = TRIPLE.fullmatch(text)
    return rgb_of(match.groups() if match else (), line, where)


def rgb_of(values: Sequence[str], line: Line, where: str) -> RGB:
    """Return three numbers as a colour; raises SegzooError naming the line for other ones."""
    numbers = [int(value) for value in values]
    if len(numbers) != 3 or not all(0 <= number <= 255 for number in numbers):
        raise SegzooError(
            f"{where}, line {line[0]}: `{line[1]}` has no colour of three numbers 0..255",
            "a colour is red, green and blue, each 0 to 255",
        )
    return numbers[0], numbers[1], numbers[2]


BY_MARKS = (_by("\t"), _by(";"), _by(","))
BY_SPACES = (_spaced(), _spaced(trailing=False), _spaced(leading=False), _mixed)
CUTS = (*BY_MARKS, *BY_SPACES, _colon)
"""The ways to cut lines, in the order in which they are tried."""
