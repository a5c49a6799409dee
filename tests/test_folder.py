import logging
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.data.folder.dataset import build_folder
from segzoo.data.plugin import FolderOptions
from segzoo.data.standin import shapes
from segzoo.errors import MissingSplitError, SegzooError

LAYOUTS = {
    "two folders": ("images/{k}.jpg", "masks/{k}.png"),
    "split first": ("train/images/{k}.jpg", "train/masks/{k}.png"),
    "kind first": ("images/train/{k}.jpg", "masks/train/{k}.png"),
    "annot": ("train/{k}.jpg", "trainannot/{k}.png"),
    "beside": ("train/{k}.jpg", "train/{k}_mask.png"),
    "beside without split": ("{k}.png", "{k}_matte.png"),
    "nested": ("images/train/city/{k}.jpg", "masks/train/city/{k}.png"),
    "suffix in its folder": ("images/{k}.jpg", "labels/{k}_gt.png"),
}


def write(root, layout, count=6, masks=lambda labels: labels):
    for index in range(count):
        image, labels = shapes(index, height=24, width=32)
        for pattern, picture in zip(layout, (image, masks(labels)), strict=True):
            path = root / pattern.format(k=f"p{index}")
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def build(root, split="train", **options):
    return build_folder(root=root, split=split, options=FolderOptions(**options))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_usual_layout_is_found(tmp_path, name):
    write(tmp_path, LAYOUTS[name])
    train, val = build(tmp_path), build(tmp_path, "val")
    assert len(train) == 5
    assert len(val) == 1
    assert set(train.keys).isdisjoint(val.keys)
    sample = train[0]
    assert sample.image.shape == (3, 24, 32)
    assert sample.target.shape == (24, 32)
    assert train.classes == ("class_0", "class_1", "class_2")
    with pytest.raises(MissingSplitError):
        build(tmp_path, "test")


def test_named_folders(tmp_path):
    write(tmp_path, ("in/{k}.jpg", "out/{k}_x.png"))
    assert len(build(tmp_path, images="in", masks="out", suffix="_x", val=0.0)) == 6
    with pytest.raises(SegzooError, match="no pairs.*holds in, out"):
        build(tmp_path)


def test_a_val_folder_is_used_as_it_is(tmp_path):
    write(tmp_path, LAYOUTS["annot"])
    write(tmp_path, ("val/{k}.jpg", "valannot/{k}.png"), count=2)
    assert len(build(tmp_path)) == 6
    assert len(build(tmp_path, "val")) == 2


def test_a_test_folder_alone_can_be_scored(tmp_path):
    write(tmp_path, ("test/{k}.jpg", "testannot/{k}.png"))
    assert len(build(tmp_path, "test")) == 6
    for split in ("train", "val"):
        with pytest.raises(MissingSplitError):
            build(tmp_path, split)


def test_zero_and_255_is_understood_as_binary(tmp_path):
    write(tmp_path, LAYOUTS["two folders"], masks=lambda m: m.point(lambda v: 255 * (v > 0)))
    train = build(tmp_path)
    assert train.classes == ("background", "foreground")
    assert train[0].target.unique().tolist() == [0, 1]
    assert build(tmp_path, classes="sky,bird").classes == ("sky", "bird")


def test_palette_masks_give_ids(tmp_path):
    def with_palette(labels):
        labels.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0])
        return labels

    write(tmp_path, LAYOUTS["two folders"], masks=with_palette)
    assert build(tmp_path)[0].target.max() <= 2


def test_255_beside_ids_is_ignored(tmp_path):
    def with_void(labels):
        array = np.array(labels)
        array[0] = 255
        return Image.fromarray(array)

    write(tmp_path, LAYOUTS["two folders"], masks=with_void)
    train = build(tmp_path)
    assert len(train.classes) == 3
    assert (train[0].target[0] == 255).all()


def test_colour_masks_go_by_a_table(tmp_path):
    table = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0]], dtype=np.uint8)
    write(tmp_path, LAYOUTS["two folders"], masks=lambda m: Image.fromarray(table[np.array(m)]))
    with pytest.raises(SegzooError, match="is a colour mask\n.*red green blue name"):
        build(tmp_path)
    (tmp_path / "classes.txt").write_text("10 20 30 ground\n200 0 0 disc\n0 200 0 box\n")
    train = build(tmp_path, classes="classes.txt")
    assert train.classes == ("ground", "disc", "box")
    expected = torch.from_numpy(np.array(shapes(int(train.keys[0][1:]), height=24, width=32)[1]))
    assert torch.equal(train[0].target, expected)


def test_a_label_above_the_classes_is_refused_before_training(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    with pytest.raises(SegzooError, match="label 2 with 2 classes.*\n.*-O ignore=2"):
        build(tmp_path, classes="a,b")
    train = build(tmp_path, classes="a,b", ignore=2)
    targets = torch.cat([train[i].target.flatten() for i in range(len(train))])
    assert targets.unique().tolist() == [0, 1, 255]


def test_a_last_class_called_void_is_ignored(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    train = build(tmp_path, classes="a,b,void")
    assert train.classes == ("a", "b")
    assert 255 in torch.cat([train[i].target.flatten() for i in range(len(train))])


def test_soft_mattes_are_recognised(tmp_path):
    def soft(labels):
        rng = np.random.default_rng(0)
        return Image.fromarray(rng.integers(0, 256, (24, 32), dtype=np.uint8))

    write(tmp_path, LAYOUTS["two folders"], masks=soft)
    with pytest.raises(SegzooError, match="soft mattes do\n.*target=alpha"):
        build(tmp_path)
    assert build(tmp_path, target="alpha").target == "alpha"
    assert build(tmp_path, threshold=127).threshold == 127


def binary(labels):
    return labels.point(lambda v: 255 * (v > 0))


def test_grey_levels_that_are_no_ids_are_explained(tmp_path):
    write(tmp_path, ("images/{k}.jpg", "masks/{k}.jpg"), masks=binary)
    with pytest.raises(SegzooError, match=r"p0\.jpg is a JPEG, which changes.*\n.*threshold=127"):
        build(tmp_path)
    train = build(tmp_path, threshold=127)
    assert (train.target, train.threshold) == ("labels", 127)
    for path in (tmp_path / "masks").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    with pytest.raises(SegzooError, match="neither ids|soft mattes"):
        build(tmp_path)


def test_zero_and_255_with_three_names_or_255_alone_is_refused(tmp_path):
    write(tmp_path / "two", LAYOUTS["two folders"], masks=binary)
    with pytest.raises(SegzooError, match="0 and 255 alone.* and 3 classes are named\n-O ignore"):
        build(tmp_path / "two", classes="a,b,c")
    assert build(tmp_path / "two", classes="a,b,c", ignore=255).classes == ("a", "b", "c")
    write(tmp_path / "void", LAYOUTS["two folders"], masks=lambda m: m.point(lambda v: 255))
    every: list[dict[str, Any]] = [{}, {"classes": "a,b"}, {"ignore": 255}]
    for options in every:
        with pytest.raises(SegzooError, match="6 masks looked at hold nothing but 255"):
            build(tmp_path / "void", **options)


def test_what_255_was_in_training_is_an_option_of_the_run(tmp_path):
    write(tmp_path / "two", LAYOUTS["two folders"], masks=binary)
    two = build(tmp_path / "two", classes="a,b")
    assert "255 is read as the class `b`" in two.notices[0]
    assert two.resolved_options == {"ignore": "nothing"}
    write(
        tmp_path / "void",
        LAYOUTS["two folders"],
        masks=lambda m: m.point(lambda v: (0, 1, 255)[v % 3]),
    )
    void = build(tmp_path / "void", classes="a,b")
    assert void.resolved_options == {"ignore": "255"}
    # And as options they say how the other's masks are read.
    again = build(tmp_path / "two", classes="a,b", ignore=255)
    assert set(again[0].target.unique().tolist()) <= {0, 255}
    with pytest.raises(
        SegzooError, match=r"label 255 with 2 classes \(0\.\.1\), in [0-9]+ pixels\n.*-O ignore=255"
    ):
        build(tmp_path / "void", classes="a,b", ignore="nothing")
    sure = build(tmp_path / "two", classes="a,b", ignore="nothing")
    assert sure[0].target.unique().tolist() == [0, 1]
    assert sure.notices == ()


@pytest.mark.parametrize("wrong", ["broken", "label", "colour"])
def test_a_few_masks_that_cannot_be_used_are_told_of_later(tmp_path, wrong):
    write(tmp_path, LAYOUTS["kind first"], count=8)
    for name in ("p2", "p5"):
        path = tmp_path / "masks" / "train" / f"{name}.png"
        if wrong == "broken":
            path.write_bytes(b"no picture")
        elif wrong == "label":
            Image.new("L", (32, 24), 9).save(path)
        else:
            Image.new("RGB", (32, 24), (200, 0, 0)).save(path)
    train = build(tmp_path, classes="a,b,c")
    names = [name for name in ("p2.png", "p5.png") for fault in train.faults if name in str(fault)]
    assert names == ["p2.png", "p5.png"]
    for name in ("p2", "p5"):
        built = train if name in train.keys else build(tmp_path, "val", classes="a,b,c")
        with pytest.raises(SegzooError, match=rf"{name}\.png"):
            built[built.keys.index(name)]
    write(tmp_path, ("images/test/{k}.jpg", "masks/test/{k}.png"), count=2)
    assert build(tmp_path, "test", classes="a,b,c").faults == ()


def test_masks_all_broken_are_no_data_set(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    for path in (tmp_path / "masks").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SegzooError, match=r"p0\.png is not a picture"):
        build(tmp_path)


def test_class_names_are_told_apart(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    for names, fault in (("a,b,a", "names the class `a` twice"), ("a,,b", "an empty class name")):
        with pytest.raises(SegzooError, match=rf"-O classes={names}.*{fault}"):
            build(tmp_path, classes=names)
    (tmp_path / "classes.txt").write_text("0 0 0 ground\n9 9 9 disc\n0 0 0 box\n")
    with pytest.raises(SegzooError, match=r"two classes have the colour \(0, 0, 0\)"):
        build(tmp_path, classes="classes.txt")
    (tmp_path / "classes.txt").write_text("ground\ndisc\nground\n")
    with pytest.raises(SegzooError, match=r"classes\.txt names the class `ground` twice"):
        build(tmp_path, classes="classes.txt")
    (tmp_path / "classes.txt").write_bytes(b"gr\xff\n")
    with pytest.raises(SegzooError, match=r"classes\.txt cannot be read"):
        build(tmp_path, classes="classes.txt")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_folder_of_pictures_without_any_mask_is_named(tmp_path, split):
    write(tmp_path, LAYOUTS["kind first"])
    write(tmp_path, (f"images/{split}/{{k}}.jpg", f"masks/{split}/{{k}}.png"))
    for path in (tmp_path / "masks" / split).iterdir():
        path.unlink()
    with pytest.raises(
        SegzooError,
        match=rf"images/{split} has 6 pictures.*none has a mask in .*masks/{split}, which has no",
    ):
        build(tmp_path)
    write(tmp_path, (f"other/{split}/{{k}}.jpg", f"masks/{split}/{{k}}_x.png"))
    with pytest.raises(SegzooError, match=r"which has 6 pictures, such as p0_x\.png\n.*-O suffix"):
        build(tmp_path)


def test_val_pictures_without_a_folder_of_masks_are_named_and_test_pictures_left(tmp_path):
    write(tmp_path, LAYOUTS["kind first"])
    write(tmp_path, ("images/test/{k}.jpg", "elsewhere/{k}.png"))
    write(tmp_path, ("test/{k}.jpg", "elsewhere/{k}.png"))
    assert len(build(tmp_path)) == 5
    write(tmp_path, ("images/val/{k}.jpg", "elsewhere/{k}.png"))
    with pytest.raises(
        SegzooError, match="images/val has 6 pictures.* none has a mask beside it, or"
    ):
        build(tmp_path)


def test_spread_grey_values_go_by_a_table(tmp_path):
    write(tmp_path, LAYOUTS["two folders"], masks=lambda m: m.point(lambda v: 100 * v))
    with pytest.raises(SegzooError, match="the values 0, 100, 200: neither ids"):
        build(tmp_path)
    (tmp_path / "classes.txt").write_text("0 0 0 ground\n100 100 100 disc\n200 200 200 box\n")
    train = build(tmp_path, classes="classes.txt")
    assert set(train[0].target.unique().tolist()) <= {0, 1, 2}
    assert train.classes == ("ground", "disc", "box")


def test_a_black_mask_among_colour_masks_is_one_of_them(tmp_path):
    table = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], dtype=np.uint8)
    write(tmp_path, LAYOUTS["two folders"], masks=lambda m: Image.fromarray(table[np.array(m)]))
    Image.new("RGB", (32, 24)).save(tmp_path / "masks" / "p0.png")
    (tmp_path / "classes.txt").write_text("0 0 0 ground\n200 0 0 disc\n0 200 0 box\n")
    train = build(tmp_path, classes="classes.txt", val=0.0)
    assert train[train.keys.index("p0")].target.unique().tolist() == [0]


def test_what_has_no_partner_is_said_and_left_out(tmp_path, caplog):
    write(tmp_path, LAYOUTS["two folders"])
    (tmp_path / "masks" / "p0.png").unlink()
    (tmp_path / "images" / "p1.jpg").unlink()
    with caplog.at_level(logging.INFO, "segzoo"):
        train, val = build(tmp_path), build(tmp_path, "val")
    assert len(train) + len(val) == 4
    said = [f"folder: train: left out: 1 {what}: {key}" for what, key in
            (("image without a mask", "p0"), ("mask without an image", "p1"))]  # fmt: skip
    assert train.notices == val.notices == tuple(said)
    assert "train 4 pairs in images + masks" in caplog.text
    assert "3 classes" in caplog.text


def test_two_images_of_one_name_are_refused(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    Image.new("RGB", (32, 24)).save(tmp_path / "images" / "p0.png")
    with pytest.raises(SegzooError, match="the same name but for the ending"):
        build(tmp_path)


def test_different_sizes_name_both_files(tmp_path):
    write(tmp_path, LAYOUTS["two folders"], count=1)
    Image.new("L", (8, 8)).save(tmp_path / "masks" / "p0.png")
    with pytest.raises(SegzooError, match=r"p0\.jpg is 32x24 but its mask .*p0\.png is 8x8"):
        build(tmp_path, classes="a,b")[0]


def test_a_missing_empty_or_unknown_root_is_explained(tmp_path):
    with pytest.raises(SegzooError, match="needs --root DIR"):
        build(None)
    with pytest.raises(SegzooError, match="no such folder"):
        build(tmp_path / "gone")
    (tmp_path / "pictures").mkdir()
    meant = {"picturs": "did you mean `pictures`", "picturs/train": "did you mean `pictures`"}
    for gone, hint in (meant | {"x": "the folders in .*: pictures"}).items():
        with pytest.raises(SegzooError, match=f"no such folder\n{hint}"):
            build(tmp_path / gone)
    (tmp_path / "pictures").rmdir()
    with pytest.raises(SegzooError, match="it is empty.*\n.*images/ \\+ masks/"):
        build(tmp_path)


def test_one_picture_is_a_data_set(tmp_path):
    write(tmp_path, LAYOUTS["two folders"], count=1)
    assert len(build(tmp_path)) == 1
    with pytest.raises(MissingSplitError):
        build(tmp_path, "val")
