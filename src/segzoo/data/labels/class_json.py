"""Classes that are listed in JSON."""

import json
from typing import Any

from segzoo.data.labels.class_lines import HEX, INTEGER, ClassRow, colour_of, rgb_of
from segzoo.errors import SegzooError


def classes_of_json(text: str, where: str) -> list[ClassRow]:
    """Return the classes of a text in JSON; raises SegzooError where it is not clear what they are.

    Clear are ``["a", "b"]``, ``{"0": "a"}``, ``{"a": 0}``, ``{"a": [r, g, b]}``,
    ``{"0": [r, g, b]}`` or a list of objects with name, id and color.
    """
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, where))
    except ValueError as error:
        raise SegzooError(f"{where} is not valid JSON: {error}") from error
    if isinstance(found, dict):
        pairs = [
            {"name": value, "id": key} if isinstance(value, str) and INTEGER.fullmatch(key)
            else {"name": key, "id": key, "color": value} if INTEGER.fullmatch(key)
            else {"name": key, "id" if isinstance(value, int) else "color": value}
            for key, value in found.items()
        ]  # fmt: skip
    else:
        pairs = [{"name": entry} if isinstance(entry, str) else entry for entry in found]
    if pairs and all(_is_class(pair) for pair in pairs) and len({tuple(p) for p in pairs}) == 1:
        return [_json_row(pair, n, where) for n, pair in enumerate(pairs, 1)]
    raise SegzooError(
        f"{where} is JSON in which it is not clear what the classes are",
        'clear are ["a", "b"], {"0": "a", "1": "b"}, {"a": 0, "b": 1}, {"a": [0, 0, 0], ...} and '
        '[{"id": 0, "name": "a"}, ...]',
    )


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Return an object's names and values; refuses a name that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SegzooError(f"{where} has `{twice}` twice", "give each class its own")
    return found


def _is_class(pair: Any) -> bool:
    if not isinstance(pair, dict) or not set(pair) <= {"name", "id", "color"}:
        return False
    colour, identity = pair.get("color", [0, 0, 0]), pair.get("id", 0)
    is_list = isinstance(colour, list) and len(colour) == 3 and all(type(v) is int for v in colour)
    is_text = isinstance(colour, str) and bool(HEX.fullmatch(colour))
    is_id = type(identity) is int or (
        isinstance(identity, str) and bool(INTEGER.fullmatch(identity))
    )
    return isinstance(pair.get("name"), str) and (is_list or is_text) and is_id


def _json_row(pair: dict[str, Any], number: int, where: str) -> ClassRow:
    line = (number, json.dumps(pair))
    colour = pair.get("color")
    if isinstance(colour, list):
        colour = rgb_of([str(value) for value in colour], line, f"{where}, class")
    elif isinstance(colour, str):
        colour = colour_of(colour, line, where)
    identity = int(pair["id"]) if "id" in pair else None
    return ClassRow(name=pair["name"], line=number, id=identity, colour=colour)
