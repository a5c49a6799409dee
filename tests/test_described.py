"""What a built data set says of itself is checked when it is opened."""

from types import SimpleNamespace

import pytest

from segzoo.data.opening import DataSource
from segzoo.errors import SegzooError

ENTRY = DataSource("folder").entry


def described(**says):
    return DataSource("folder").info(SimpleNamespace(**{"classes": ("a", "b"), **says}))


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        ({"classes": ("a", "b", "a")}, "names the class `a` twice"),
        ({"classes": ("a", " ")}, "has an empty class name: 'a', ' '"),
        ({"value_range": (1.0, 1.0)}, r"states the value_range \(1.0, 1.0\)"),
        ({"value_range": (0.0, float("nan"))}, r"states the value_range \(0.0, nan\)"),
        ({"value_range": 255}, "states the value_range 255"),
    ],
)
def test_what_makes_no_sense_names_the_data_set(says, fault):
    with pytest.raises(SegzooError, match=f"{ENTRY.owner} {fault}"):
        described(**says)


def test_what_a_data_set_has_settled_is_an_option():
    info = described(resolved_options={"ignore": 255}, value_range=[0, 1])
    assert (info.options["ignore"], info.options["threshold"]) == (255, None)
    assert info.value_range == (0.0, 1.0)
