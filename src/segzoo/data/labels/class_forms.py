"""The forms in which tools list classes: names, ids, colours, in lines or in JSON.

One form is decided for a whole file; a line that does not fit it is refused by its number, so that
no name moves to another id. A name that would be taken for something else can be put in quotes.
"""

import re
from collections.abc import Sequence

from segzoo.data.labels.class_json import classes_of_json
from segzoo.data.labels.class_lines import (
    BY_MARKS,
    BY_SPACES,
    CUTS,
    HEX,
    LISTED,
    Cell,
    ClassRow,
    Line,
    colour_of,
    kinds_of,
    rgb_of,
    whole,
)
from segzoo.errors import SegzooError
from segzoo.plugins.specs import RGB

Row = tuple[int, list[Cell]]

IGNORED_FIRST = "__ignore__"
"""As the first of LabelMe's names it has the id -1, and the name after it the id 0."""


_LABELMAP = re.compile(r"([^:]*):\s*([0-9]+)\s*,\s*([0-9]+)\s*,\s*([0-9]+)\s*(?::.*)?")
_NO_NAME = re.compile(
    r"[:{}\[\]<>=|#;,\t\x00-\x1f\x7f\x85\u2028\u2029]|\.(?:png|jpe?g|tiff?|bmp|gif|webp|npy|txt|csv|json)\b",
    re.I,
)
_FRACTION = re.compile(r"(?:^|\s)[0-9]*\.[0-9]+(?:\s|$)")

# What the columns are, by the kinds of their cells, where no header says so.
_COLUMNS = {
    "IT": "id name",
    "TI": "name id",
    "CT": "colour name",
    "TC": "name colour",
    "IIIT": "red green blue name",
    "TIII": "name red green blue",
    "ICT": "id colour name",
    "ITC": "id name colour",
    "TIC": "name id colour",
    "TCI": "name colour id",
    "ITIII": "id name red green blue",
    "ITIIII": "id name red green blue alpha",
}
_WORDS_OF = {
    "name": "name names classname labelname categoryname title",
    "class": "class classes label labels category categories",
    "id": "id ids index idx value values pixel pixelvalue maskvalue classid labelid categoryid "
    "classindex labelindex grey gray code key number no",
    "red": "r red",
    "green": "g green",
    "blue": "b blue",
    "alpha": "a alpha",
    "colour": "color colour rgb hex colorrgb colourrgb hexcolor palette",
}
_HEADERS = {word: role for role, words in _WORDS_OF.items() for word in words.split()}
_TITLES = {word for word, role in _HEADERS.items() if role in ("name", "class")} | {"classnames"}


def parse_classes(text: str, where: str) -> tuple[list[ClassRow], str]:
    """Return the classes that a text lists, in its order, and its form in words.

    `where` names the text in messages. Raises SegzooError naming the line that does not fit.
    """
    if text.lstrip()[:1] in ("{", "["):
        return classes_of_json(text, where), "JSON"
    lines = _lines(text, where)
    if not lines:
        raise SegzooError(f"{where} lists no classes", "it has one on a line: its name")
    matches = [(line, _LABELMAP.fullmatch(line[1])) for line in lines]
    if all(match for _, match in matches):
        rows = [_labelmap_row(line, match, where) for line, match in matches if match]
        return rows, "lines `name:red,green,blue::`"
    return _of_table(lines, where) or _of_names(lines, where)


def commented_names(text: str) -> list[Line]:
    """Return the lines that are left out as comments and may be names: `#cat`, no title."""
    if text.lstrip()[:1] in ("{", "["):
        return []
    every = [(n, line.strip()) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)]
    return [
        (number, line)
        for number, line in every
        if re.fullmatch(r"#\w[\w-]*", line)
        and not HEX.fullmatch(line)
        and _plain(line[1:]) not in _HEADERS
    ]


def _lines(text: str, where: str) -> list[Line]:
    """Return the lines that are neither empty nor comments, each with its number."""
    every = [(n, line.strip()) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)]
    every = [(n, line) for n, line in every if line]
    coloured = [line for line in every if re.match(r"#[0-9a-fA-F]{6}[\s,;:]", line[1])]
    plain = [line for line in every if not line[1].startswith(("#", "//"))]
    if coloured and plain:
        raise SegzooError(
            f"{where}, line {coloured[0][0]}: `{coloured[0][1]}` begins like a comment and reads "
            "like a colour, and other lines have none",
            "give each class a line of one form: `#rrggbb name`",
        )
    return coloured or plain


def _labelmap_row(line: Line, match: re.Match[str], where: str) -> ClassRow:
    name, *colour = match.groups()
    return ClassRow(name=name.strip(), line=line[0], colour=rgb_of(colour, line, where))


def _of_table(lines: list[Line], where: str) -> tuple[list[ClassRow], str] | None:
    """Read lines with ids or colours beside the names; None where no line has any."""
    partly: list[tuple[int, list[Row], str]] = []
    unclear: list[Row] = []
    for cut in CUTS:
        rows = [(number, cut(text)) for number, text in lines]
        header = _header(rows)
        body = rows[1:] if header else rows
        kinds = [kinds_of(cells) for _, cells in body]
        if len(set(kinds)) > 1:
            fitting = [kind for kind in kinds if kind in _COLUMNS]
            best = max(set(fitting), key=fitting.count, default="")
            partly += [(fitting.count(best), rows, best)] * bool(best)
            continue
        columns = _roles(header, kinds[0], rows[0], where) if header else _columns(body, kinds[0])
        if columns:
            _refuse_bare_hex(body, columns, where)
            made = [_row(row, columns, where) for row in body]
            if cut in BY_SPACES and columns == ["name", "id"] and _repeats(made):
                continue  # `lane 1`, `lane 2`: names
            return made, f"lines `{' '.join(columns)}`"
        if len(kinds[0]) > 1 and set(kinds[0]) - {"T"}:
            unclear = unclear or rows
    if unclear:
        raise SegzooError(
            f"{where}, line {unclear[0][0]}: it is not clear which columns of "
            f"`{_line(unclear[0])}` are the name, the id and the colour",
            "give titles in the first line, of: name, id (or value), red, green, blue, color",
        )
    if not partly:
        return None
    _, rows, best = max(partly, key=lambda one: one[0])
    raise _misfit(rows, best, where)


def _misfit(rows: list[Row], best: str, where: str) -> SegzooError:
    """Say which line does not fit, with what was understood of the lines before it."""
    first = next(i for i, (_, cells) in enumerate(rows) if kinds_of(cells) != best)
    number, cells = rows[first]
    form = _COLUMNS[best]
    line = " ".join(cell.text for cell in cells)
    before = f"; understood before it: {'; '.join(_line(row) for row in rows[:first][-3:])}"
    return SegzooError(
        f"{where}, line {number}: `{line}` does not fit the other lines, which are `{form}`"
        f"{before if first else ''}",
        f"give each class a line `{form}`; a name with digits at its ends is put in quotes",
    )


def _line(row: Row) -> str:
    return " ".join(cell.text for cell in row[1])


def _repeats(rows: Sequence[ClassRow]) -> bool:
    return len({row.name for row in rows}) < len(rows)


def _header(rows: list[Row]) -> list[str]:
    """Return the roles of the columns by the first line's words, [] where it is no header."""
    words = [word for cell in rows[0][1] for word in _title_words(cell, rows)]
    roles = [_HEADERS.get(word, "") for word in words]
    numbered = len(rows) > 1 and any(kind in "IC" for kind in kinds_of(rows[1][1]))
    return (
        roles if numbered and all(roles) and "T" * len(rows[0][1]) == kinds_of(rows[0][1]) else []
    )


def _title_words(cell: Cell, rows: list[Row]) -> list[str]:
    """Return a title without spaces and signs; words of a line that is cut at spaces are many."""
    spaced = len(rows[0][1]) == 1 and len(rows) > 1 and len(rows[1][1]) > 1
    return [_plain(word) for word in (cell.text.split() if spaced else [cell.text])]


def _plain(word: str) -> str:
    """Return a title in lower case without spaces and underscores, "" where it is none."""
    plain = re.sub("[ _-]", "", word.lower())
    return plain if plain.isalpha() else ""


def _roles(header: list[str], kinds: str, row: Row, where: str) -> list[str]:
    """Return what each column is by its title; `class` and `label` are a name, or a number's."""
    numeric = [kind == "I" for kind in kinds]
    if len(header) == len(kinds):
        columns = [
            ("id" if number else "name") if role == "class" else role
            for role, number in zip(header, numeric, strict=True)
        ]
        wanted = {"name": "T", "colour": "C"}
        fits = all(kind == wanted.get(role, "I") for role, kind in zip(columns, kinds, strict=True))
        whole = {"red", "green", "blue"} & set(columns) in ({"red", "green", "blue"}, set())
        if fits and whole and columns.count("name") == 1 and len(set(columns)) == len(columns):
            return columns
    raise SegzooError(
        f"{where}, line {row[0]}: the titles `{_line(row)}` do not fit the columns below them",
        "titles may be name, id (or value), red, green, blue, color",
    )


def _columns(rows: list[Row], kinds: str) -> list[str]:
    """Return what the columns are without a header; [] where it is not clear.

    Four numbers before a name are an id and a colour where the first differs everywhere, a colour
    and its alpha where the last is always the same; both may hold.
    """
    if kinds != "IIIIT":
        return _COLUMNS.get(kinds, "").split()
    firsts = [cells[0].text for _, cells in rows]
    fourths = {cells[3].text for _, cells in rows}
    numbered, constant = len(set(firsts)) == len(firsts), len(fourths) == 1
    if numbered and not constant:
        return ["id", "red", "green", "blue", "name"]
    return ["red", "green", "blue", "alpha", "name"] if constant and not numbered else []


def _refuse_bare_hex(rows: list[Row], columns: list[str], where: str) -> None:
    """Refuse `000000 a`, `800000 b`: colours without their sign look like ids."""
    if "id" not in columns:
        return
    texts = [cells[columns.index("id")].text for _, cells in rows]
    if all(len(text) == 6 for text in texts) and any(text[0] == "0" for text in texts):
        raise SegzooError(
            f"{where}, line {rows[0][0]}: `{_line(rows[0])}` may be an id or a colour",
            "a colour is written #rrggbb, an id without zeros before it",
        )


def _row(row: Row, columns: list[str], where: str) -> ClassRow:
    number, cells = row
    given = {role: cell.text for role, cell in zip(columns, cells, strict=True)}
    line = (number, _line(row))
    if not cells[columns.index("name")].quoted:
        given["name"] = given["name"].rstrip(": ")
        if _NO_NAME.search(given["name"]):
            raise _no_name(line, where)
    colour: RGB | None = None
    if "red" in given:
        colour = rgb_of([given["red"], given["green"], given["blue"]], line, where)
    elif "colour" in given:
        colour = colour_of(given["colour"], line, where)
    identity = int(given["id"]) if "id" in given else None
    return ClassRow(name=given["name"], line=number, id=identity, colour=colour)


def _of_names(lines: list[Line], where: str) -> tuple[list[ClassRow], str]:
    """Read a name a line, or names in one line with commas."""
    if len(lines) == 1:
        for cut in BY_MARKS:
            if len(cells := cut(lines[0][1])) > 1:
                _refuse_titles(cells, lines[0], where)
                return [_named(cell, 1, n, where) for n, cell in enumerate(cells)], "names"
    cells = [whole(text) for _, text in lines]
    numbers = [number for number, _ in lines]
    first = cells[0]
    if not first.quoted and _plain(first.text) in _TITLES:
        raise SegzooError(
            f"{where}, line {numbers[0]}: `{first.text}` may be a title or a class",
            "take it out if it is a title, put it in quotes if it is a class",
        )
    rows = [
        _named(cell, number, place, where)
        for place, (cell, number) in enumerate(zip(cells, numbers, strict=True))
    ]
    if rows[0].name == IGNORED_FIRST:
        rows = [ClassRow(name=row.name, line=row.line, id=n - 1) for n, row in enumerate(rows)]
        return rows, f"a name a line, `{IGNORED_FIRST}` before the first id"
    return rows, "a name a line"


def _refuse_titles(cells: list[Cell], line: Line, where: str) -> None:
    if all(not cell.quoted and _plain(cell.text) in _HEADERS for cell in cells):
        raise SegzooError(
            f"{where}, line {line[0]}: `{line[1]}` is titles, and no class follows",
            "put names that are meant as classes in quotes",
        )


def _named(cell: Cell, number: int, place: int, where: str) -> ClassRow:
    parts = kinds_of(BY_SPACES[0](cell.text))
    numbers = parts not in ("T", "TI") and cell.text != str(place)
    doubtful = numbers or any(
        (_NO_NAME.search(cell.text), _FRACTION.search(cell.text), LISTED.match(cell.text))
    )
    if not cell.quoted and doubtful:
        raise _no_name((number, cell.text), where)
    return ClassRow(name=cell.text, line=number)


def _no_name(line: Line, where: str) -> SegzooError:
    return SegzooError(
        f"{where}, line {line[0]}: `{line[1]}` does not look like the name of a class",
        "a list has one class a line: `name`, `id name`, `red green blue name`, or "
        "`name:red,green,blue::`; a name with other signs is put in quotes",
    )
