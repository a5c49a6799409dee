"""Options that stand in a file: what is let through can be used without a further thought.

A weights file names a model and a data set with options. Whoever made it chose them, so that none
of them may lead to another file, a download or code: each is checked before anything is built.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from segzoo.errors import SegzooError
from segzoo.plugins.options import OptionInfo, convert, option_infos

LONGEST_TEXT = 1 << 16
LARGEST_WHOLE = 1 << 31
LARGEST = 1e9
BOUNDS = "numbers within 2 billion and texts of at most 65536 characters"


def value_fault(value: Any) -> str:
    """Say what is wrong with a plain value of an option or setting, whichever it is of; or ""."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"is a text of {len(value)} characters"
    if type(value) is int and abs(value) > LARGEST_WHOLE:
        return "is too large a number"
    if type(value) is float and not abs(value) <= LARGEST:
        return "is too large a number"
    return ""


def options_of_file(
    options: type | None,
    values: Mapping[str, Any],
    owner: str,
    source: str,
    *,
    way_out: str = "",
    trusted: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return options that stand in the file `source` as those to build `owner` with.

    An option that is declared `external` is None if it may be, else its default. Raises SegzooError
    naming the file and the option where another value stands there that reads, downloads or
    runs something, unless it is that of `trusted`, which the user wrote; unknown options are left
    to `make_options`.
    """
    infos = {info.name: info for info in option_infos(options)}
    found = dict(values)
    for name, value in values.items():
        if name not in infos or ((trusted or {}).get(name) == value and value is not None):
            continue
        if fault := value_fault(value):
            raise _refused(source, owner, name, value, fault, f"options are {BOUNDS}")
        if not infos[name].external:
            continue
        typed = convert(value, infos[name], owner)
        if fault := external_fault(infos[name], typed):
            raise _refused(source, owner, name, value, fault, way_out)
        if infos[name].external is True:
            found[name] = None if infos[name].optional else infos[name].default
    return found


def external_fault(info: OptionInfo, value: Any) -> str:
    """Say what a value of an external option leads to outside of itself, or ""."""
    if value is None or value == info.default:
        return ""
    if info.external is True:
        return "reads or downloads something"
    module, _, attribute = str(info.external).partition(":")
    return getattr(importlib.import_module(module), attribute)(value)


def _refused(
    source: str, owner: str, name: str, value: Any, fault: str, way_out: str
) -> SegzooError:
    shown = str(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return SegzooError(
        f"{source}: the option {name}={shown} of {owner} {fault}",
        way_out
        or "weights files hold all that they need; train anew, or `segzoo import` its tensors",
    )
