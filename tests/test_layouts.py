"""Images and masks in folders of any usual names: what is paired, and what is left out and said."""

import json
import os
import unicodedata

import pytest
from folder_files import both, build, right, touch

from segzoo.errors import SegzooError

NAMES = {
    "prefixes": ("images/img_{n}.png", "masks/mask_{n}.png"),
    "prefixes in one folder": ("image_{n}.png", "mask_{n}.png"),
    "a prefix of masks alone": ("images/{n}.png", "masks/mask-{n}.png"),
    "both suffixes": ("images/a{n}_leftImg8bit.png", "masks/a{n}_gtFine_labelIds.png"),
    "suffixes in one folder": ("{n}_sat.jpg", "{n}_mask.png"),
    "capitals": ("Images/{n}.png", "Masks/{n}.png"),
    "upper case": ("IMAGES/{n}.JPG", "LABELS/{n}.PNG"),
    "other case": ("images/IMG_A{n}.jpg", "masks/img_a{n}.png"),
    "VOC": ("JPEGImages/{n}.jpg", "SegmentationClassPNG/{n}.png"),
    "mmseg": ("img_dir/train/{n}.jpg", "ann_dir/train/{n}.png"),
    "Cityscapes": ("leftImg8bit/train/x/x_{n}_leftImg8bit.png",
                   "gtFine/train/x/x_{n}_gtFine_labelIds.png"),
    "nnU-Net": ("imagesTr/case{n}_0000.png", "labelsTr/case{n}.png"),
    "Kaggle": ("train_images/{n}.jpg", "train_masks/{n}.png"),
    "kind and split": ("images_train/{n}.jpg", "masks_train/{n}.png"),
    "year": ("train2017/{n}.jpg", "train2017_mask/{n}.png"),
    "a folder around": ("release/train/{n}.jpg", "release/trainannot/{n}.png"),
    "two folders around": ("photos_zip/images/{n}.jpg", "masks_zip/masks/{n}.png"),
    "a folder a scene": ("scene/images/{n}.jpg", "scene/masks/{n}.png"),
    "ground truth": ("inputs/{n}.jpg", "Ground_Truth/{n}.png"),
    "arrays": ("images/{n}.jpg", "masks/{n}.npy"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_and_folders_are_understood(tmp_path, name):
    both(tmp_path, *NAMES[name])
    built = build(tmp_path)
    assert len(built) == 5
    assert right(built)


def test_scenes_of_the_same_file_names_are_told_apart(tmp_path):
    for scene, start in (("a", 0), ("b", 2)):
        both(tmp_path, scene + "/images/{n}.png", scene + "/masks/{n}.png", 2, start=start)
    both(tmp_path, "c/images/0.png", "c/masks/0.png", 1, start=4)
    built = build(tmp_path, group="{group}/*")
    assert built.keys == ["a/0", "a/1", "b/2", "b/3", "c/0"]
    assert right(built)


def test_pictures_of_a_folder_inside_are_not_mixed_in(tmp_path):
    both(tmp_path, "images/{n}.png", "masks/{n}.png", 4)
    both(tmp_path, "old/images/{n}.png", "old/masks/{n}.png", 2)
    built = build(tmp_path)
    assert built.keys == ["0", "1", "2", "3"]
    assert "2 pictures in old/images" in built.notices[0]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_one_letter_however_they_are_written(tmp_path, forms):
    image, mask = (unicodedata.normalize(form, "é") for form in forms)
    both(tmp_path, "images/" + image + "{n}.png", "masks/" + mask + "{n}.png")
    built = build(tmp_path)
    assert len(built) == 5
    assert right(built)
    assert any("form of accents" in text for text in built.notices)


def test_names_that_differ_in_case_alone_are_not_mixed(tmp_path):
    both(tmp_path, "images/a{n}.png", "masks/a{n}.png", 2)
    both(tmp_path, "images/A{n}.png", "masks/A{n}.png", 2, start=2)
    both(tmp_path, "images/A{n}.png", "masks/A{n}.png", 2)
    built = build(tmp_path)
    assert len(built) == 6
    assert right(built)


def test_two_masks_of_an_image_are_a_choice(tmp_path):
    both(tmp_path, "images/{n}.png", "masks/{n}_labelIds.png")
    touch(tmp_path, "masks/{n}_labelTrainIds.png", mask=True)
    with pytest.raises(SegzooError, match="two masks for each image.*\n.*-O suffix=_labelTrainIds"):
        build(tmp_path)
    built = build(tmp_path, suffix="_labelIds")
    assert right(built)
    assert any("left out: 5 masks without an image" in text for text in built.notices)


@pytest.mark.parametrize(
    ("image", "mask", "pattern"),
    [
        (
            "images/photo{n}.jpg",
            "masks/task-{n}-annotation-{n}-by-1.png",
            "task-{name}-annotation-*",
        ),
        ("images/photo{n}.jpg", "masks/result_{n}.png", "photo{name}.*:"),
        ("images/x{n}.jpg", "masks/done/x{n}.png", "masks/done/{name}.*"),
    ],
)
def test_a_pattern_is_offered_and_pairs(tmp_path, image, mask, pattern):
    both(tmp_path, image, mask)
    with pytest.raises(SegzooError, match="of which none has a mask") as caught:
        build(tmp_path)
    offered = caught.value.hint.partition("-O pair=")[2].strip("'")
    built = build(tmp_path, pair=offered)
    assert len(built) == 5
    assert right(built)
    if ":" not in pattern:
        assert right(
            build(
                tmp_path,
                pair=f"{image.format(n='{name}').rpartition('/')[2]}:{pattern}"
                if "/" not in pattern
                else offered,
            )
        )


PATTERNS = {
    "names": ("img_{name}.*:mask_{name}.png", "images/img_{n}.jpg", "masks/mask_{n}.png"),
    "paths": ("in/{name}.jpg:out/{name}_x.png", "in/{n}.jpg", "out/{n}_x.png"),
    "deep": ("in/{name}.jpg:out/{name}_x.png", "in/city/{n}.jpg", "out/city/{n}_x.png"),
    "two fields": ("{day}/p{name}.jpg:m/{name}of{day}.png", "d1/p{n}.jpg", "m/{n}ofd1.png"),
    "one ending each": ("{name}.jpg:{name}.png", "{n}.jpg", "{n}.png"),
    "split": ("{split}/a/{name}.jpg:{split}/b/{name}.png", "train/a/{n}.jpg", "train/b/{n}.png"),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_pair_what_nothing_else_would(tmp_path, name):
    pattern, image, mask = PATTERNS[name]
    both(tmp_path, image, mask)
    built = build(tmp_path, pair=pattern)
    assert len(built) == 5
    assert right(built)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("{name}.png", "1 pattern"),
        ("a.png:b.png", "share no field"),
        ("{name}.png:{other}.png", "share no field"),
        ("{name.png:{name}.png", "braces"),
        ("{name}_{class}.png:{name}.png", "{class} in the image's"),
        ("images/{name}.tif:masks/{name}.png", "has 0 pictures fitting images/{name}.tif"),
    ],
)
def test_a_pattern_that_cannot_pair_is_explained(tmp_path, pattern, fault):
    both(tmp_path, "images/{n}.png", "masks/{n}.png")
    with pytest.raises(SegzooError) as caught:
        build(tmp_path, pair=pattern)
    assert fault in caught.value.message
    with pytest.raises(SegzooError, match="the patterns say it all"):
        build(tmp_path, pair="{name}.png:{name}.png", images="images")


def test_what_is_left_out_is_counted_and_named_in_one_line(tmp_path):
    both(tmp_path, "images/{n}.png", "masks/{n}.png", 3)
    touch(tmp_path, "old/{n}.png", 2)
    touch(tmp_path, "images/.ipynb_checkpoints/{n}-checkpoint.png", 3)
    (tmp_path / "images" / ".DS_Store").touch()
    (tmp_path / "images" / "phone.heic").touch()
    (tmp_path / "images" / "again").symlink_to(tmp_path / "masks")
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "README.md").touch()
    for n in range(3):
        shapes = [{"label": "cat", "points": [[0, 0]], "shape_type": "polygon"}]
        told = json.dumps({"shapes": shapes, "imagePath": f"{n}.png"})
        (tmp_path / "images" / f"{n}.json").write_text(told)
    (notice,) = build(tmp_path).notices
    for part in (
        "2 pictures in old", "images/phone.heic", "3 .json (images/0.json, ...): LabelMe polygons",
        "1 hidden: images/.ipynb_checkpoints/", "folders that are listed already: images/again",
        "1 pipes or devices: images/pipe.png",
    ):  # fmt: skip
        assert part in notice
    assert "README" not in notice


ANNOTATIONS = {
    "LabelMe": ("{n}.json", {"shapes": [], "imagePath": "0.jpg"}),
    "COCO": ("_annotations.coco.json", {"annotations": [], "categories": []}),
    "YOLO": ("../labels/{n}.txt", "0 0.1 0.1 0.6 0.1 0.6 0.6\n"),
    "CVAT": ("annotations.xml", "<?xml version='1.0'?>\n<annotations></annotations>"),
}


@pytest.mark.parametrize("form", ANNOTATIONS)
def test_annotations_that_are_no_pictures_are_named(tmp_path, form):
    touch(tmp_path, "images/{n}.jpg", 3)
    name, content = ANNOTATIONS[form]
    for n in range(3 if "{n}" in name else 1):
        path = tmp_path / "images" / name.format(n=n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SegzooError, match=f"annotations that are not read: [13] files? of {form}"):
        build(tmp_path)


def test_annotations_in_a_folder_for_masks_are_named(tmp_path):
    touch(tmp_path, "images/train/{n}.jpg", 3)
    for n in range(3):
        path = tmp_path / "labels" / "train" / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0.1 0.1 0.6 0.1 0.6 0.6\n")
    with pytest.raises(SegzooError, match=r"images/train has 3 pictures.*: 3 files of YOLO"):
        build(tmp_path)


def test_array_masks_that_are_used_are_not_left_out(tmp_path):
    both(tmp_path, "images/{n}.png", "masks/{n}.npy", 3)
    assert build(tmp_path).notices == ()
    touch(tmp_path, "images/{n}.npy", 3)
    assert "3 .npy (images/0.npy, ...)" in build(tmp_path).notices[0]


def test_links_to_folders_are_data(tmp_path):
    both(tmp_path / "disk", "images/a/{n}.png", "masks/a/{n}.png", 3)
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for kind in ("images", "masks"):
        (root / kind / "a").symlink_to(tmp_path / "disk" / kind / "a")
    built = build(root)
    assert built.keys == ["a/0", "a/1", "a/2"]
    assert right(built)


def test_patterns_of_names_are_offered_as_paths(tmp_path):
    both(tmp_path, "a/{n}.png", "b/{n}.png")
    with pytest.raises(SegzooError, match=r"-O pair='a/\{name\}\.png:b/\{name\}\.png'"):
        build(tmp_path, pair="{name}.png:{name}.png")
    assert right(build(tmp_path, pair="a/{name}.png:b/{name}.png"))
