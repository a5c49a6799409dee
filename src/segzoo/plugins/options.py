"""Options: a frozen dataclass per part, and the one way from strings or TOML to an instance.

A part (model, data set, loss, metric) declares its options beside its spec, in a light module::

    @dataclass(frozen=True, kw_only=True)
    class UNetOptions:
        width: int = option(64, "channels of the first level", minimum=1)
        norm: Literal["none", "batch"] = option("none", "normalisation after each convolution")

Field types are `bool`, `int`, `float`, `str`, `Literal[...]` of strings or ints, and `X | None`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from segzoo.errors import SegzooError, choices, nearest

SCALARS = (bool, int, float, str)
LARGEST = 2**53
"""The largest whole number of an option that states no range: a float holds each up to there."""
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    older: Mapping[Any, Any] | None = None,
    external: bool | str = False,
) -> Any:
    """Declare one field of an options dataclass: its default, one line of help, its range.

    `older` says what values of another type, as files of earlier versions hold them, are today.
    `external` says that a value may name what lies outside of it: a file, a folder, a download, or
    code. Such a value is refused where it comes out of a weights file. True refuses all but None
    and the default, "module:attr" those for which that function, given the value, returns why.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "older": older or {},
        "external": external,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """One field of an options dataclass, as `segzoo show` prints it and the parser uses it."""

    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    older: Mapping[Any, Any] = dataclasses.field(default_factory=dict)
    external: bool | str = False

    @property
    def optional(self) -> bool:
        """Whether the field may be None."""
        return _split_optional(self.type)[1]

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a `Literal`, else an empty tuple."""
        base, _ = _split_optional(self.type)
        return typing.get_args(base) if typing.get_origin(base) is Literal else ()

    @property
    def takes(self) -> str:
        """What the field takes, in words: ``int >= 1``, ``max|avg|conv``."""
        base, optional = _split_optional(self.type)
        words = "|".join(map(str, self.choices)) if self.choices else base.__name__
        if self.minimum is not None:
            words += f" >= {_number(self.minimum)}"
        if self.maximum is not None:
            words += f"{' and' if self.minimum is not None else ''} <= {_number(self.maximum)}"
        return f"{words} or none" if optional else words

    @property
    def wanted(self) -> str:
        """What the field takes, as a sentence has it: ``a whole number of at least 1``."""
        base, optional = _split_optional(self.type)
        words = f"one of {', '.join(map(str, self.choices))}" if self.choices else _WORDS[base]
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            words += f" from {_number(low)} to {_number(high)}"
        elif low is not None:
            words += f" of at least {_number(low)}"
        elif high is not None:
            words += f" of at most {_number(high)}"
        return f"{words}, or none" if optional else words


def option_infos(options: type | None) -> list[OptionInfo]:
    """List the fields of an options dataclass in their order; None means no options."""
    if options is None:
        return []
    hints = typing.get_type_hints(options)
    return [
        OptionInfo(
            name=field.name,
            type=hints[field.name],
            default=field.default,
            help=field.metadata.get("help", ""),
            minimum=field.metadata.get("minimum"),
            maximum=field.metadata.get("maximum"),
            older=field.metadata.get("older", {}),
            external=field.metadata.get("external", False),
        )
        for field in dataclasses.fields(options)
    ]


def options_fault(options: type | None) -> str:
    """Say what is wrong with an options class as a plugin declared it; ``""`` when it conforms."""
    if options is None:
        return ""
    if not (isinstance(options, type) and dataclasses.is_dataclass(options)):
        return f"options must be a dataclass type, not {options!r}"
    if not getattr(options, "__dataclass_params__").frozen:  # noqa: B009 - not in the stubs
        return f"options {options.__name__} must be frozen: @dataclass(frozen=True, kw_only=True)"
    for info in option_infos(options):
        base, _ = _split_optional(info.type)
        if info.default is dataclasses.MISSING:
            return f"option `{info.name}` of {options.__name__} has no default"
        if not info.help:
            return f"option `{info.name}` of {options.__name__} has no help text"
        if base not in SCALARS and typing.get_origin(base) is not Literal:
            return (
                f"option `{info.name}` of {options.__name__} has type {info.type}; "
                "use bool, int, float, str, Literal[...] or X | None"
            )
    return ""


def make_options(options: type | None, values: Mapping[str, Any] | None, owner: str) -> Any:
    """Build the options instance of `owner` from strings (command line) or typed values (TOML).

    Returns None for a part without options. Raises SegzooError naming the owner, the field,
    what came, what the field takes and the nearest match.
    """
    values = dict(values or {})
    known = {info.name: info for info in option_infos(options)}
    for key in values:
        if key not in known:
            raise SegzooError(
                f"{owner} has no option `{key}`",
                choices(key, known, says="it takes"),
            )
    if options is None:
        return None
    typed = {key: convert(value, known[key], owner) for key, value in values.items()}
    try:
        return options(**typed)
    except (ValueError, TypeError) as error:
        raise SegzooError(f"options of {owner}: {error}", _as_flags(values)) from error


def options_dict(instance: Any) -> dict[str, Any]:
    """Return the fields of an options instance as a plain dict ({} for None)."""
    return {} if instance is None else dataclasses.asdict(instance)


def convert(value: Any, info: OptionInfo, owner: str) -> Any:
    """Turn one string or typed value into the field's type, or raise SegzooError naming it."""
    base, optional = _split_optional(info.type)
    if not isinstance(value, (str, bool)) and value is not None:
        # By comparing: what comes out of a file may be a list, which no dict can be asked for.
        value = next((new for old, new in info.older.items() if old == value), value)
    fault = SegzooError(
        f"{called(info.name, owner)} takes {info.wanted}, not {shown(value)}",
        nearest(shown(value, str), map(str, info.choices)) or f"`{info.name}`: {info.help}",
    )
    if optional and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    if info.choices:
        matches = [choice for choice in info.choices if str(choice) == shown(value, str)]
        if not matches:
            raise fault
        return matches[0]
    if base is str and type(value) in (int, float):
        return shown(value)  # A number in a TOML file, or in Python.
    try:
        result = _scalar(value, base)
    except (ValueError, OverflowError):
        raise fault from None
    too_small = info.minimum is not None and result < info.minimum
    largest = LARGEST if info.maximum is None and base is int else info.maximum
    too_large = largest is not None and (result > largest or (base is int and result < -largest))
    if too_small or too_large:
        raise fault
    return result


def called(name: str, owner: str) -> str:
    """Name an option as it was given; one that nothing owns is a flag."""
    return f"{owner}: option `{name}`" if owner else f"--{name.replace('_', '-')}"


def _scalar(value: Any, base: type) -> Any:
    if base is bool:
        if isinstance(value, str):
            words = {"true": True, "yes": True, "on": True, "1": True}
            words |= {"false": False, "no": False, "off": False, "0": False}
            if value.lower() not in words:
                raise ValueError(value)
            return words[value.lower()]
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if isinstance(value, base) and not isinstance(value, bool):
        if base is float and not math.isfinite(value):
            raise ValueError(value)
        return value
    if isinstance(value, str) or (base is float and type(value) is int):
        result = base(value)
        if base is float and not math.isfinite(result):
            raise ValueError(value)
        return result
    raise ValueError(value)


def _number(value: float) -> str:
    """Write a limit: whole ones with all of their digits."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"


def shown(value: Any, how: Callable[[Any], str] = repr) -> str:
    """Show what came, up to 200 characters; Python does not write out numbers of many digits."""
    try:
        return how(value)[:200]
    except ValueError:
        return "a number of thousands of digits"


def _split_optional(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return members[0], True
    return hint, False


def _as_flags(values: Mapping[str, Any]) -> str:
    return "given: " + " ".join(f"{key}={value}" for key, value in values.items())
