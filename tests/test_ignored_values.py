"""Values of masks that are no class: ignored where that is asked for, named where they stray."""

import numpy as np
import pytest
import torch
from palette_files import grey, read, truth, write
from PIL import Image
from test_folder import build

from segzoo.data.plugin import FolderOptions
from segzoo.errors import SegzooError
from segzoo.plugins.options import make_options


@pytest.mark.parametrize("value", [-1, -100, 65535, 99])
def test_the_way_that_is_named_for_a_value_works(tmp_path, value):
    def mask(k):
        ids = truth(k).astype(np.int32)
        ids[0] = value
        return ids

    root = write(tmp_path, [Image.fromarray(truth(k)) for k in range(4)])
    for path in (root / "masks").iterdir():
        Image.fromarray(mask(int(path.stem))).save(path.with_suffix(".tif"))
        path.unlink()
    with pytest.raises(SegzooError, match=rf"-O ignore={value}"):
        build(root)

    def expected(k):
        return np.where(mask(k) == value, 255, mask(k)).astype(np.uint8)

    read(root, expected, ignore=str(value))
    read(root, expected, ignore=f"{value}, 255")
    with pytest.raises(SegzooError, match=f"-O ignore={value}"):
        build(root, ignore="nothing", classes="a,b,c")
    with pytest.raises(SegzooError, match=rf"-O ignore=7,{value}\b"):
        build(root, ignore="7", classes="a,b,c")
    with pytest.raises(SegzooError, match="-O ignore=x: not values"):
        build(root, ignore="x")


def test_several_values_are_ignored(tmp_path):
    root = write(tmp_path, [grey(truth(k)) for k in range(4)])
    built = read(root, lambda k: np.where(truth(k) == 1, 1, 255).astype(np.uint8), ignore="0,2")
    assert built.classes == ("background", "foreground")


def test_a_stray_value_is_named_by_its_file(tmp_path):
    ids = [np.kron(truth(k), np.ones((4, 4), np.uint8)) for k in range(6)]
    ids[3][0, 0] = 7
    root = write(tmp_path, [grey(mask) for mask in ids])
    built = build(root, val=0.0)
    message = r"03\.png: 1 pixels of the value 7, which no other mask has; 3 to 6 is in none"
    assert len(built.faults) == 1
    with pytest.raises(SegzooError, match=message):
        raise built.faults[0]
    built = build(root, val=0.0, ignore="7")
    assert (built.faults, len(built.classes)) == ((), 3)
    assert torch.equal(built[3].target[0, :1], torch.tensor([255], dtype=torch.uint8))
    assert build(root, classes="a,b,c,d,e,f,g,h").faults == ()


def test_a_last_id_that_a_known_data_set_does_not_count_is_asked_about(tmp_path):
    ids = [np.arange(12, dtype=np.uint8).repeat(16).reshape(12, 16) for _ in range(3)]
    root = write(tmp_path, [grey(mask) for mask in ids])
    built = build(root)
    assert "`camvid` has 11 classes" in built.notices[0]
    assert "-O ignore=11" in built.notices[0]
    without = build(root, ignore="11")
    assert (len(without.classes), without.notices) == (11, ())
    assert build(root, classes=",".join("abcdefghijkl")).notices == ()


def test_what_older_files_hold_as_ignored_means_what_it_meant():
    assert make_options(FolderOptions, {"ignore": -1}, "folder").ignore == "nothing"
    assert make_options(FolderOptions, {"ignore": 255}, "folder").ignore == "255"
    assert make_options(FolderOptions, {"ignore": "-1"}, "folder").ignore == "-1"
