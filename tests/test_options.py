from dataclasses import dataclass
from typing import Literal

import pytest

from segzoo.errors import SegzooError
from segzoo.plugins.options import make_options, option, option_infos, options_fault


@dataclass(frozen=True, kw_only=True)
class Options:
    width: int = option(64, "channels", minimum=1, maximum=512)
    rate: float = option(0.5, "a rate")
    mode: Literal["max", "avg"] = option("max", "how")
    on: bool = option(False, "a switch")
    limit: int | None = option(None, "a limit")
    text: str | None = option(None, "a text")

    def __post_init__(self) -> None:
        if self.width == 13:
            raise ValueError("13 is unlucky")


def test_strings_become_the_fields_types():
    made = make_options(
        Options, {"width": "32", "rate": "1e-3", "mode": "avg", "on": "yes", "limit": "7"}, "m"
    )
    assert made == Options(width=32, rate=1e-3, mode="avg", on=True, limit=7)


def test_every_option_survives_a_round_trip_through_strings():
    for made in (Options(), Options(width=3, rate=2.5, mode="avg", on=True, limit=4, text="x")):
        words = {info.name: str(getattr(made, info.name)) for info in option_infos(Options)}
        assert make_options(Options, words, "m") == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, r"m has no option `widht`\n.*did you mean `width`"),
        ({"width": "abc"}, r"option `width` takes a whole number from 1 to 512, not 'abc'"),
        ({"width": 0}, r"takes a whole number from 1"),
        ({"width": 513}, r"not 513"),
        ({"width": True}, r"not True"),
        ({"width": 2.5}, r"not 2.5"),
        ({"mode": "mex"}, r"takes one of max, avg, not 'mex'\n.*did you mean `max`"),
        ({"on": "perhaps"}, r"takes true or false, not 'perhaps'"),
        ({"limit": "x"}, r"takes a whole number.*, or none"),
        ({"rate": "nan"}, r"takes a number"),
        ({"width": 13}, r"options of m: 13 is unlucky"),
    ],
)
def test_a_bad_value_names_the_field_and_what_it_takes(values, message):
    with pytest.raises(SegzooError, match=message):
        make_options(Options, values, "m")


def test_a_part_without_options_takes_none():
    assert make_options(None, {}, "m") is None
    with pytest.raises(SegzooError, match="no option `x`"):
        make_options(None, {"x": 1}, "m")


def test_faults_of_a_declaration_are_named():
    @dataclass
    class NotFrozen:
        width: int = option(1, "help")

    @dataclass(frozen=True)
    class NoHelp:
        width: int = 1

    @dataclass(frozen=True)
    class NoDefault:
        width: int

    @dataclass(frozen=True)
    class BadType:
        widths: list[int] = option((), "help")

    assert options_fault(Options) == ""
    assert options_fault(None) == ""
    assert "frozen" in options_fault(NotFrozen)
    assert "no help" in options_fault(NoHelp)
    assert "no default" in options_fault(NoDefault)
    assert "list[int]" in options_fault(BadType)
    assert "dataclass" in options_fault(dict)
