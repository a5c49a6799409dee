"""Images and masks in folders of any usual names: what is paired, divided, said and refused."""

import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segzoo.builtin import FolderOptions
from segzoo.data.folder import build_folder
from segzoo.errors import SegzooError


def touch(root, pattern, count=5, mask=False, start=0, **fields):
    """Write pictures of 8 x 8, or masks of them, of which number n is told by its first pixel."""
    for n in range(start, start + count):
        path = root / pattern.format(n=n, **fields)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8), 40 * n, np.uint8)
        if mask:
            pixels[:] = 0
            pixels[0, :n] = 1
            pixels[4:, 4:] = 1
        kind = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower(), "PNG")
        if path.suffix == ".npy":
            np.save(path, pixels)
        else:
            Image.fromarray(pixels).save(path, kind)


def both(root, image, mask, count=5, **more):
    touch(root, image, count, **more)
    touch(root, mask, count, mask=True, **more)


def build(root, split="train", **options):
    return build_folder(root=root, split=split, options=FolderOptions(**{"val": 0.0, **options}))


def right(built):
    """Whether every picture has the mask of its own number."""
    for index in range(len(built)):
        sample = built[index]
        number = round(float(sample.image.float().mean()) / 40)
        if int((sample.target[0] == 1).sum()) != number:
            return False
    return True


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
    built = build(tmp_path)
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


SPLIT_FOLDERS = [
    *(("Train", "Validation"), ("TRAIN", "VAL"), ("train", "dev"), ("train", "Valid")),
    *(("training", "eval"), ("train", "validate"), ("training_set", "validation_set")),
]


@pytest.mark.parametrize(("train", "val"), SPLIT_FOLDERS)
def test_a_split_is_used_however_it_is_spelt(tmp_path, train, val):
    both(tmp_path, train + "/images/{n}.png", train + "/masks/{n}.png", 4)
    both(tmp_path, val + "/images/{n}.png", val + "/masks/{n}.png", 2, start=4)
    assert build(tmp_path, val=0.5).keys == ["0", "1", "2", "3"]
    assert build(tmp_path, "val", val=0.5).keys == ["4", "5"]
    assert right(build(tmp_path, "val"))


def test_two_folders_of_one_split_are_refused(tmp_path):
    for folder in ("train", "val", "validation"):
        both(tmp_path, folder + "/images/{n}.png", folder + "/masks/{n}.png", 2)
    with pytest.raises(SegzooError, match="two folders of images for `val`: val and validation"):
        build(tmp_path)


def test_val_beside_pictures_of_no_split(tmp_path):
    both(tmp_path, "images/{n}.png", "masks/{n}.png", 4)
    both(tmp_path, "val/images/{n}.png", "val/masks/{n}.png", 2, start=4)
    assert build(tmp_path, val=0.5).keys == ["0", "1", "2", "3"]
    assert build(tmp_path, "val", val=0.5).keys == ["4", "5"]


def test_a_folder_of_no_known_split_is_named(tmp_path):
    both(tmp_path, "train/images/{n}.png", "train/masks/{n}.png", 4)
    both(tmp_path, "holdout/images/{n}.png", "holdout/masks/{n}.png", 3)
    (notice,) = build(tmp_path).notices
    assert "3 pictures in holdout/images" in notice
    assert "3 pictures in holdout/masks" in notice


LISTS = {
    "names": ("{name}", "train.txt"),
    "names with endings": ("{name}.png", "splits/train.txt"),
    "both paths": ("images/{name}.png labels/{name}.png", "train.txt"),
    "with a tab": ("images/{name}.png\tlabels/{name}.png", "lists/train.lst"),
    "of another machine": ("/data/set/images/{name}.png", "train.txt"),
    "of Windows": ("D:\\set\\images\\{name}.png", "train.txt"),
    "dots": ("./images/{name}.png", "train.txt"),
    "commas": ("images/{name}.png,labels/{name}.png", "train.txt"),
    "VOC": ("{name}  1", "ImageSets/Segmentation/train.txt"),
}


@pytest.mark.parametrize("form", LISTS)
def test_the_users_own_lists_are_used(tmp_path, form):
    both(tmp_path, "images/{n}.png", "labels/{n}.png", 6)
    line, file = LISTS[form]
    for split, numbers in (("train", range(4)), ("val", (4, 5))):
        path = tmp_path / file.replace("train", split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# pictures\n" + "".join(line.format(name=n) + "\n" for n in numbers))
    train, val = build(tmp_path, val=0.5), build(tmp_path, "val", val=0.5)
    assert (train.keys, val.keys) == (["0", "1", "2", "3"], ["4", "5"])
    assert right(val)
    assert train.notices == ()


def test_lists_that_are_not_plain_are_refused_or_said(tmp_path):
    both(tmp_path, "images/{n}.png", "labels/{n}.png", 6)
    (tmp_path / "train.txt").write_text("0\n1\n2\n9\n")
    (tmp_path / "val.txt").write_text("2\n3\n")
    with pytest.raises(SegzooError, match=r"2 is in .*train\.txt and in .*val\.txt"):
        build(tmp_path)
    (tmp_path / "val.txt").write_text("3\n")
    built = build(tmp_path, val=0.5)
    assert built.keys == ["0", "1", "2"]
    assert "without a pair of image and mask: 1 entry of" in built.notices[0]
    assert "line 4, 9" in built.notices[0]
    assert "left out: 2 pairs in none of the lists" in built.notices[1]
    none = build(tmp_path, lists="none")
    assert len(none) == 6
    assert "lists of pictures are not used: train.txt, val.txt" in none.notices[0]
    (tmp_path / "val.txt").write_text("a\nb\n")
    with pytest.raises(SegzooError, match=r"without a pair.*: 2 entries of .*val\.txt: line 1, a"):
        build(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.txt").write_text("0\n")
    with pytest.raises(SegzooError, match=r"has lists of pictures in .*\n.*-O lists="):
        build(tmp_path)
    assert build(tmp_path, lists="other").keys == ["0"]
    with pytest.raises(SegzooError, match="-O lists=gone: no train.txt"):
        build(tmp_path, lists="gone")


def test_lists_beside_folders_of_splits_are_said(tmp_path):
    both(tmp_path, "train/images/{n}.png", "train/masks/{n}.png", 4)
    (tmp_path / "val.txt").write_text("0\n")
    assert "val.txt" in build(tmp_path).notices[0]


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
