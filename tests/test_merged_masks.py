"""A mask for each class or each object, which are merged into one."""

import numpy as np
import pytest
from folder_files import build, touch
from PIL import Image

from segzoo.errors import SegzooError


def one_a_class(root, mask, names=("cat", "dog")):
    touch(root, "images/{n}.png", 4)
    for n in range(4):
        for place, name in enumerate(names):
            path = root / mask.format(n=n, name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((8, 8), np.uint8)
            pixels[place : place + 2] = 255  # One row of it is the next one's too.
            Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("mask", "pattern"),
    [
        ("masks/{n}_{name}.png", "images/{name}.*:masks/{name}_{class}.*"),
        ("masks/{name}/{n}.png", "images/{name}.*:masks/{class}/{name}.*"),
        ("{n}/{name}-mask.png", "images/{name}.*:{name}/{class}-mask.png"),
    ],
)
def test_a_mask_for_each_class_is_merged_in_a_stated_order(tmp_path, mask, pattern):
    one_a_class(tmp_path, mask)
    built = build(tmp_path, pair=pattern)
    assert built.classes == ("background", "cat", "dog")
    assert built[0].target[:, 0].tolist() == [1, 2, 2, 0, 0, 0, 0, 0]
    assert len(built.files(0)) == 3
    other = build(tmp_path, pair=pattern, classes="dog,cat")
    assert other.classes == ("background", "dog", "cat")
    assert other[0].target[:, 0].tolist() == [2, 2, 1, 0, 0, 0, 0, 0]
    assert other.resolved_options["classes"] == "dog,cat"
    with pytest.raises(SegzooError, match="is a mask of `dog`, which -O classes does not name"):
        build(tmp_path, pair=pattern, classes="cat,bird")


def test_a_mask_for_each_class_is_not_taken_for_all(tmp_path):
    one_a_class(tmp_path / "files", "masks/{n}_{name}.png")
    one_a_class(tmp_path / "folders", "masks/{name}/{n}.png")
    for root in ("files", "folders"):
        with pytest.raises(SegzooError, match="if each.*one class, they are merged") as caught:
            build(tmp_path / root)
        offered = caught.value.hint.partition("-O pair=")[2].strip("'")
        assert build(tmp_path / root, pair=offered).classes == ("background", "cat", "dog")


def test_masks_of_one_class_are_two_values_or_go_by_a_threshold(tmp_path):
    one_a_class(tmp_path, "masks/{n}_{name}.png")
    soft = np.zeros((8, 8), np.uint8)
    soft[0], soft[1] = 200, 90
    Image.fromarray(soft).save(tmp_path / "masks" / "0_cat.png")
    pattern = "images/{name}.*:masks/{name}_{class}.*"
    with pytest.raises(SegzooError, match=r"0_cat\.png holds the values 0, 90, 200.*\n-O thresh"):
        build(tmp_path, pair=pattern)[0]
    built = build(tmp_path, pair=pattern, threshold=127)
    assert built.threshold is None
    assert built[0].target[:, 0].tolist() == [1, 2, 2, 0, 0, 0, 0, 0]
    with pytest.raises(SegzooError, match="several masks of an image, read as mattes"):
        build(tmp_path, pair=pattern, target="alpha")


def test_a_mask_for_each_object_is_merged(tmp_path):
    for n in range(3):
        touch(tmp_path, f"{n}/images/p.png", 1, start=0)
        for place in range(2 + n):
            pixels = np.zeros((8, 8), np.uint8)
            pixels[place] = 255
            (tmp_path / f"{n}/masks").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / f"{n}/masks/x{place}.png")
    with pytest.raises(SegzooError, match="a mask for each object") as caught:
        build(tmp_path)
    built = build(tmp_path, pair=caught.value.hint.partition("-O pair=")[2].strip("'"))
    assert [int(built[n].target[:, 0].sum()) for n in range(3)] == [2, 3, 4]
    assert built.classes == ("background", "foreground")
    Image.new("L", (4, 4)).save(tmp_path / "0/masks/x9.png")
    with pytest.raises(SegzooError, match=r"x0\.png is 8x8 and .*x9\.png is 4x4"):
        build(tmp_path, pair="{name}/images/*.png:{name}/masks/*.png")[0]
