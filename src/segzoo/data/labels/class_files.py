"""Class names, ids and colours: from ``-O classes=a,b,c`` or from a file that lists them."""

import codecs
import difflib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from segzoo.data.labels.class_forms import commented_names, parse_classes
from segzoo.data.labels.class_lines import ClassRow, Line
from segzoo.data.sample import name_fault
from segzoo.errors import SegzooError
from segzoo.host.regular import refuse_irregular
from segzoo.plugins.specs import RGB

KNOWN_FILES = (
    *("_classes.csv", "labelmap.txt", "class_dict.csv", "classes.txt", "class_names.txt"),
    *("labels.txt", "label_colors.txt", "label_colours.txt", "classes.csv", "labels.csv"),
    *("classes.json", "id2label.json", "obj.names"),
)
"""Names under which tools write files of classes that are read."""

UNREAD_FILES = (
    *("meta.json", "obj_class_to_machine_color.json", "dataset-meta.json", "dataset.json"),
    *("data.yaml", "label_map.pbtxt", "label_names.json", "categories.json", "config.json"),
)
"""Names of files that list classes in forms that are not read: they are only named."""

MOST_BYTES = 1 << 20
MOST_FOLDERS = 64
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")
_MARKS = (
    *((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32")),
    *((codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16")),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class ClassList:
    """The classes that are named: by their place, by ids, by colours. Empty where none are.

    `values` has the id of each name in masks, its place where the list says nothing else. `said`
    is what was understood, `doubt` what may have been meant otherwise.
    """

    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    colours: tuple[RGB, ...] = ()
    said: str = ""
    file: Path | None = None
    doubt: str = ""

    def __bool__(self) -> bool:
        return bool(self.names)

    def inline(self) -> str:
        """Return the list as JSON, which the option takes as well: it is in no file then."""
        rows = [
            {"id": value, "name": name} | ({"color": self.colours[place]} if self.colours else {})
            for place, (value, name) in enumerate(zip(self.values, self.names, strict=True))
        ]
        return json.dumps(rows, ensure_ascii=False)


def find_classes(given: str | None, root: Path) -> ClassList:
    """Return the classes of the option `classes`: names with commas, or a file, here or in `root`.

    Raises SegzooError for a file that is not there or does not list classes clearly, and for names
    that are empty or there twice.
    """
    if not given:
        return ClassList()
    file = next((path for path in (Path(given), root / given) if _is_file(path)), None)
    if file is None:
        return _inline(given, root)
    text = _text(file)
    rows, form = parse_classes(text, str(file))
    found = _checked(rows, str(file), f"{file}, {form}")
    return replace(found, file=file, doubt=_comments(commented_names(text), file))


def _comments(lines: list[Line], file: Path) -> str:
    """Ask whether comments of one word are the names of classes."""
    if not lines:
        return ""
    shown = ", ".join(f"`{text}` (line {number})" for number, text in lines[:3])
    return (
        f"{file}: left out as a comment: {shown}{', ...' if len(lines) > 3 else ''}; the name of a "
        "class that begins with # is put in quotes"
    )


def known_class_files(root: Path) -> list[Path]:
    """Return the class files of known names in a folder and those right below it."""
    return list(_named_files(root, KNOWN_FILES))


def other_class_files(root: Path) -> list[Path]:
    """Return files of known names that list classes in forms that are not read."""
    return list(_named_files(root, UNREAD_FILES))


def _named_files(root: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for folder in (root, *_folders(root)):
        yield from (folder / name for name in names if _is_file(folder / name))


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return []
    return sorted(path for path in found if not path.name.startswith("."))[:MOST_FOLDERS]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, as a long list of classes is
        return False


def _inline(given: str, root: Path) -> ClassList:
    """Read names with commas; what looks like a file's name, or is one name alone, is no list."""
    if given.lstrip().startswith("["):  # As a weights file keeps what was a file of the training.
        return _checked(parse_classes(given, "-O classes")[0], "-O classes", "as given")
    names = [name.strip() for name in given.split(",")]
    looks = len(names) == 1 or "/" in given or "\\" in given or any(map(_ENDING.search, names))
    if looks:
        raise SegzooError(
            f"-O classes={given}: no such file, here or in {root}",
            f"{_nearest(given, root)}give a file that is there, or at least two names with commas",
        )
    where = f"-O classes={given}"
    return _checked([ClassRow(name=name, line=1) for name in names], where, "as given")


def _nearest(given: str, root: Path) -> str:
    """Say which file may be meant: the most alike in name of those that list classes."""
    lists = {".txt", ".csv", ".json", ".names", ".tsv"}
    found: dict[str, Path] = {}
    for folder in (root, *_folders(root)):
        try:
            inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in lists)
        except OSError:
            continue
        for path in inside[:1000]:
            found.setdefault(path.name, path)
    alike = difflib.get_close_matches(Path(given.replace("\\", "/")).name, found, 1, 0.5)
    known = [path for name, path in found.items() if name in KNOWN_FILES]
    chosen = found[alike[0]] if alike else known[0] if known else None
    return f"did you mean {chosen.relative_to(root)}? " if chosen else ""


def _text(file: Path) -> str:
    """Return a file's text, by its byte-order mark where it has one, else UTF-8."""
    refuse_irregular(file, "a list of classes")
    try:
        if file.stat().st_size > MOST_BYTES:
            raise SegzooError(f"classes file {file} has {file.stat().st_size} bytes: no such list")
        content = file.read_bytes()
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
        text = content.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise SegzooError(
            f"classes file {file} cannot be read: {error}", "save it as text in UTF-8"
        ) from error
    if "\0" in text:
        raise SegzooError(
            f"classes file {file} is not a text file, or UTF-16 without a byte-order mark",
            "save it as text in UTF-8",
        )
    return text


def _checked(rows: list[ClassRow], where: str, said: str) -> ClassList:
    """Order classes by their ids, and refuse names, ids and colours that are there twice."""
    names = [row.name for row in rows]
    if fault := name_fault(names):
        raise SegzooError(f"{where} {fault}", "give each class a name of its own")
    ids = [place if row.id is None else row.id for place, row in enumerate(rows)]
    if twice := [row for row, value in zip(rows, ids, strict=True) if ids.count(value) > 1]:
        one, two = twice[:2]
        raise SegzooError(
            f"{where}: lines {one.line} and {two.line} give the id {one.id} to `{one.name}` and "
            f"`{two.name}`",
            "give each class its own",
        )
    if twice := [row for row in rows if row.colour and _count(rows, row.colour) > 1]:
        raise SegzooError(
            f"{where}: two classes have the colour {twice[0].colour}: "
            f"{', '.join(f'`{row.name}`' for row in twice[:2])}",
            "give each its own",
        )
    order = sorted(range(len(rows)), key=ids.__getitem__)
    colours = tuple(colour for n in order if (colour := rows[n].colour))
    return ClassList(tuple(names[n] for n in order), tuple(ids[n] for n in order), colours, said)


def _count(rows: list[ClassRow], colour: RGB) -> int:
    return sum(row.colour == colour for row in rows)
