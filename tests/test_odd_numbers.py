"""Numbers that are none, or of no use, in every flag, option and variable: one clear error."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import run_here

from segzoo.compute.ranks import asked_for
from segzoo.data.roots import LIMIT_GB, LIMIT_VARIABLE, most_gigabytes
from segzoo.errors import SegzooError
from segzoo.inference.settings import Inference
from segzoo.plugins.manager import get_manager, get_registry
from segzoo.plugins.options import LARGEST, make_options, option_infos
from segzoo.plugins.specs import KINDS
from segzoo.train.config import RunConfig, make_config

ODD: list[Any] = [
    *("nan", "inf", "-inf", "1e400", "1e308", "9" * 400, "9" * 5000, "²", "0x10", "", "one"),
    *(math.nan, math.inf, 1e308, 10**400, -(10**400), 10**5000, [1], {"a": 1}, b"one"),
]
NUMBERS = [info for info in option_infos(RunConfig) if info.type in (int, float)]


@pytest.mark.parametrize("info", NUMBERS, ids=lambda info: info.name)
def test_every_number_of_a_training_has_limits_and_refuses_what_is_beyond(info):
    assert info.minimum is not None
    assert info.maximum is not None
    flag = re.escape(f"--{info.name.replace('_', '-')} takes ")
    for value in ODD:
        with pytest.raises(SegzooError, match=rf"^{flag}.* not "):
            make_config({info.name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_parts_take_what_they_state_or_refuse_it(kind):
    for entry in get_registry().all(kind):
        for info in option_infos(getattr(entry.spec, "options", None)):
            for value in ODD:
                try:
                    made = make_options(entry.spec.options, {info.name: value}, entry.owner)
                except SegzooError:
                    continue
                taken = getattr(made, info.name)
                assert not isinstance(taken, float) or math.isfinite(taken)
                assert type(taken) is not int or abs(taken) <= LARGEST


@pytest.mark.parametrize("name", ["size", "window", "scales", "overlap", "range", "batch_size"])
@pytest.mark.parametrize("value", [value for value in ODD if value != 10**5000])
def test_flags_of_predicting(name, value):
    if (name, value) == ("scales", [1]):
        pytest.skip("one scale")
    with pytest.raises(SegzooError):
        Inference(**{name: value})


@pytest.mark.parametrize("value", [math.nan, 10**400, None, True, ["none"]])
def test_a_refinement_that_is_no_name(value):
    with pytest.raises(SegzooError, match="--refine takes"):
        Inference(refine=value)


@pytest.mark.parametrize("text", ["abc", "nan", "-1", "inf", "1e400", "²", "10 GB"])
def test_the_limit_of_the_cache(text, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(SegzooError, match=rf"^{LIMIT_VARIABLE}={re.escape(text)} .*\n.*gigabytes"):
        most_gigabytes()


def test_the_limit_of_the_cache_is_by_default_and_by_number(monkeypatch):
    for text, expected in (("", LIMIT_GB), (" 2.5 ", 2.5), ("0", 0.0)):
        monkeypatch.setenv(LIMIT_VARIABLE, text)
        assert most_gigabytes() == expected


@pytest.mark.parametrize(
    "said",
    [
        {"RANK": "x"}, {"RANK": "²"}, {"RANK": "-1"}, {"RANK": "2"}, {"WORLD_SIZE": "0"},
        {"WORLD_SIZE": "9" * 5000}, {"LOCAL_RANK": ""}, {"LOCAL_RANK": "1.0"},
    ],
)  # fmt: skip
def test_several_processes_that_are_none(said, monkeypatch):
    usual = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
    for name, value in (usual | said).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SegzooError, match=r"RANK=.* WORLD_SIZE=.* in the environment"):
        asked_for()


@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "TERMINAL_WIDTH"])
@pytest.mark.parametrize("value", ["²", "0", "-3", "wide", "9" * 5000])
def test_widths_of_terminals_that_are_none(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    done = run_here("list")
    assert done.returncode == 0
    assert "unet" in done.stdout


def test_every_variable_is_tested_here_or_takes_any_text():
    """A new variable is to be looked at: what it does with a text that it does not expect."""
    known = {
        LIMIT_VARIABLE, "SEGZOO_MAX_PIXELS", "SEGZOO_CACHE", "SEGZOO_DATA", "SEGZOO_DISABLE",
        "SEGZOO_NO_PLUGINS", "SEGZOO_START_SECONDS", "SEGZOO_STRICT", "SEGZOO_TRACEBACK",
    }  # fmt: skip
    source = Path(__file__).parents[1] / "src"
    found = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"\"(SEGZOO_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    assert found <= known


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SEGZOO_CACHE", ("cache",)),
        ("SEGZOO_CACHE", ("data", "stats", "hk", "--sample")),
        ("SEGZOO_DATA", ("data", "stats", "hk")),
        ("SEGZOO_DISABLE", ("list",)),
        ("SEGZOO_STRICT", ("list",)),
    ],
)
def test_variables_that_name_what_is_no_folder(name, words, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for value in (tmp_path / "file", "/dev/null", "file/²", "x" * 5000):
        monkeypatch.setenv(name, str(value))
        get_manager.cache_clear()
        done = run_here(*words)
        assert done.returncode == (2 if words[0] == "data" else 0)
        assert done.stderr.count("error: ") == (words[0] == "data")
