"""Cutting a line of a list of classes into cells: at tabs, commas, spaces, but not in quotes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
HEX = re.compile(r"#[0-9a-fA-F]{6}")
_BYTE = r"([0-9]{1,3})"
_BETWEEN = r"(?:\s*,\s*|\s+)"
TRIPLE = re.compile(rf"[(\[]?\s*{_BYTE}{_BETWEEN}{_BYTE}{_BETWEEN}{_BYTE}\s*[)\]]?")
_QUOTED = r"\"((?:[^\"]|\"\")*)\"|'([^']*)'"
_WORDS = re.compile(rf"(?:{_QUOTED})(?=\s|$)|(\S+)")
_WHOLE = re.compile(rf"(?:{_QUOTED})$|(.*)$")


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


BY_MARKS = (_by("\t"), _by(";"), _by(","))
BY_SPACES = (_spaced(), _spaced(trailing=False), _spaced(leading=False), _mixed)
CUTS = (*BY_MARKS, *BY_SPACES, _colon)
"""The ways to cut lines, in the order in which they are tried."""
