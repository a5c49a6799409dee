"""Which values of a data set's options lead out of its folder: those a weights file may not have.

Each function returns what a value does, or "".
"""

import json
import re
from pathlib import PurePosixPath, PureWindowsPath

MOST_WILD = 6
"""Fields and stars of a pattern out of a file: looking for more of them may take for ever."""
_WILD = re.compile(r"\{\w+\}|\*")
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")


def place_fault(value: str) -> str:
    """Say where a folder, or a pattern of paths, leads out of the root."""
    for part in (value, *value.split(":")):
        places = (PurePosixPath(part), PureWindowsPath(part))
        if any(place.is_absolute() or ".." in place.parts or place.drive for place in places):
            return "leads out of the data set's folder"
    if value.startswith("~"):
        return "leads out of the data set's folder"
    return _wild(value)


def group_fault(value: str) -> str:
    """Say that a pattern is a regular expression, which can be made to run for ever."""
    return _wild(value) if "{group}" in value else "is a regular expression"


def classes_fault(value: str) -> str:
    """Say that classes are no list but the name of one."""
    if value.lstrip().startswith("["):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return "is no list of classes"
        return ""
    names = [name.strip() for name in value.split(",")]
    if len(names) == 1 or "/" in value or "\\" in value or any(map(_ENDING.search, names)):
        return "reads a file"
    return ""


def _wild(value: str) -> str:
    count = len(_WILD.findall(value))
    return f"has {count} fields and stars, up to {MOST_WILD} are read" if count > MOST_WILD else ""
