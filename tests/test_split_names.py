"""A user's own splits, in folders and lists of any usual name: used, or refused, never mixed."""

import pytest
from folder_files import both, build, right

from segzoo.errors import SegzooError

FOLDERS = {
    "numbers before": ("1_train", "2_val"),
    "numbers behind": ("train1", "val-01"),
    "Spanish": ("entrenamiento", "validación"),
    "French": ("Entraînement", "Validation"),
    "German": ("Trainingsdaten", "Validierungsdaten"),
    "Russian": ("Обучение", "Валидация"),
    "Chinese": ("训练集", "验证集"),
    "Japanese": ("学習用データ", "検証用データ"),
    "Korean": ("훈련", "검증"),
    "val in train": ("train", "train/val"),
    "dev in training": ("training", "training/dev"),
    "all in train": ("train/train", "train/val"),
}


@pytest.mark.parametrize("form", FOLDERS)
@pytest.mark.parametrize("layout", ["{split}/images/{n}.png", "images/{split}/{n}.png"])
def test_folders_of_splits_by_any_usual_name_are_splits(tmp_path, form, layout):
    train, val = FOLDERS[form]
    masks = layout.replace("images", "masks")
    both(tmp_path, layout, masks, 3, split=train)
    both(tmp_path, layout, masks, 2, start=3, split=val)
    built = build(tmp_path, val=0.5), build(tmp_path, "val", val=0.5)
    names = [[key.rpartition("/")[2] for key in data.keys] for data in built]
    assert names == [["0", "1", "2"], ["3", "4"]]
    assert all(map(right, built))


@pytest.mark.parametrize("folders", [("A", "B"), ("north", "south", "west"), ("fold1", "fold2")])
@pytest.mark.parametrize(
    ("images", "masks"), [("images/{n}.png", "masks/{n}.png"), ("{n}.png", "{n}_mask.png")]
)
def test_few_folders_whose_names_say_nothing_are_asked_about(tmp_path, folders, images, masks):
    for place, folder in enumerate(folders):
        both(tmp_path, f"{folder}/{images}", f"{folder}/{masks}", 2, start=2 * place)
    told = f"{len(folders)} data sets.*: {', '.join(folders)}\n"
    with pytest.raises(SegzooError, match=told) as e:
        build(tmp_path, val=0.5)
    assert all(f"--root {tmp_path / folder}" in e.value.hint for folder in folders)
    assert len(build(tmp_path / folders[0])) == 2
    train, val = (build(tmp_path, s, val=0.5, group="{group}/*").keys for s in ("train", "val"))
    assert {key[0] for key in train}.isdisjoint({key[:-2] for key in val})


UNLIKE = {
    "splits beside none": ("b/{split}/images/{n}.png", "b/{split}/masks/{n}.png"),
    "other names": ("b/img/{n}.png", "b/labels/{n}.png"),
    "side by side": ("b/{n}.png", "b/{n}_mask.png"),
    "deeper": ("b/c/imgs/{n}.png", "b/c/gt/{n}.png"),
}


@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize("above", ["", "all/"])
def test_data_sets_of_other_layouts_side_by_side_are_refused(tmp_path, name, above):
    both(tmp_path, above + "a/images/{n}.png", above + "a/masks/{n}.png", 4)
    for split, start in (("train", 0), ("val", 3)):
        image, mask = (above + path for path in UNLIKE[name])
        both(tmp_path, image, mask, 3, start=start, split=split)
    with pytest.raises(SegzooError, match=r"2 data sets, .*: a, b\n.*/a or --root .*/b"):
        build(tmp_path)
    assert len(build(tmp_path / above / "a")) == 4


def test_data_sets_with_splits_side_by_side_are_refused(tmp_path):
    for name in ("a b", "c", "d", "e"):
        for split, start in (("train", 0), ("val", 2)):
            where = f"{name}/{split}"
            both(tmp_path, where + "/images/{n}.png", where + "/masks/{n}.png", 2, start=start)
    with pytest.raises(SegzooError, match=r"4 data sets, .*: a b, c, d, e\n.*--root '[^']*/a b'"):
        build(tmp_path)


def test_sites_below_one_train_and_one_val_are_one_data_set(tmp_path):
    for site, place in (("a", 0), ("b", 2)):
        for split, start in (("train", 0), ("val", 1)):
            where = f"{split}/{site}"
            names = (f"images/{where}/{{n}}.png", f"masks/{where}/{{n}}.png")
            both(tmp_path, *names, 1, start=start + place)
    assert build(tmp_path).keys == ["a/0", "b/2"]
    both(tmp_path, "other/unpaired/{n}.png", "elsewhere/masks/x{n}.png", 2)
    assert build(tmp_path).keys == ["a/0", "b/2"]


@pytest.mark.parametrize("name", ["fold{}", "cv_{}", "split-{}"])
def test_folds_are_not_taken_together(tmp_path, name):
    for fold in (1, 2):
        for split, start in (("train", 0), ("val", 3)):
            where = f"{name.format(fold)}/{split}"
            both(tmp_path, where + "/images/{n}.png", where + "/masks/{n}.png", 2, start=start)
    with pytest.raises(SegzooError, match=r"train and val in each of .*: folds.*\n.*--root"):
        build(tmp_path)
    assert build(tmp_path / name.format(2)).keys == ["0", "1"]


def test_one_name_in_two_folders_of_a_split_is_refused_with_both_paths(tmp_path):
    for folder in ("train1", "train2"):
        both(tmp_path, folder + "/images/{n}.png", folder + "/masks/{n}.png", 2)
    with pytest.raises(SegzooError, match=r"train1/images/0\.png and .*train2/images/0\.png"):
        build(tmp_path)


def lists(root, train, val, names="{}.txt", encoding="utf-8"):
    for split, lines in (("train", train), ("val", val)):
        (root / names.format(split)).write_bytes(("\n".join(lines) + "\n").encode(encoding))


@pytest.mark.parametrize(
    "names", ["{}_list.txt", "{}-ids.lst", "split_{}.txt", "{}.files.txt", "{}_image_names.list"]
)
def test_lists_by_any_usual_name_are_used(tmp_path, names):
    both(tmp_path, "images/{n}.png", "masks/{n}.png")
    lists(tmp_path, "012", "34", names)
    assert build(tmp_path, val=0.5).keys == ["0", "1", "2"]
    assert build(tmp_path, "val", val=0.5).keys == ["3", "4"]


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("a {n} b", "a {n} b"),
        ("a {n} b", "/my data/images/a {n} b.png"),
        ("a,{n}", "a,{n}"),
        ("a;{n}", "images/a;{n}.png"),
        ("#{n}", "#{n}"),
        ("A{n}", "a{n}.PNG"),
        ("\u00e9{n}", "e\u0301{n}"),
        ("{n}", '"{n}.png"'),
        ("{n}", "images/{n}.png masks/{n}.png"),
        ("a {n}", "images/a {n}.png\tmasks/a {n}.png"),
        ("a {n}", "images/a {n}.png,masks/a {n}.png"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_may_hold_any_name(tmp_path, file, entry, encoding):
    both(tmp_path, f"images/{file}.png", f"masks/{file}.png")
    for trap in ("a", "b") if " " in file else ():
        both(tmp_path, f"images/{trap}.png", f"masks/{trap}.png", 1)
    lines = [entry.format(n=n) for n in range(5)]
    lists(tmp_path, lines[:3], lines[3:], encoding=encoding)
    train, val = build(tmp_path, val=0.5), build(tmp_path, "val", val=0.5)
    names = [file.format(n=n) for n in range(5)]
    assert (train.keys, val.keys) == (names[:3], names[3:])
    assert right(train)


@pytest.mark.parametrize("separator", [" ", "\t", ",", " ; "])
def test_a_list_that_pairs_otherwise_is_refused(tmp_path, separator):
    both(tmp_path, "images/{n}.png", "masks/{n}.png")
    mixed = [f"images/{n}.png{separator}masks/{(n + 1) % 3}.png" for n in range(3)]
    lists(tmp_path, mixed, "34")
    with pytest.raises(
        SegzooError, match=r"train\.txt, line 1: masks/1\.png as the mask of 0\.png"
    ):
        build(tmp_path)


@pytest.mark.parametrize("empty", ["train", "val"])
@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_an_empty_list_is_not_replaced_by_carving(tmp_path, empty, text):
    both(tmp_path, "images/{n}.png", "masks/{n}.png")
    lists(tmp_path, "012", "34")
    (tmp_path / f"{empty}.txt").write_text(text)
    with pytest.raises(SegzooError, match=rf"{empty}\.txt names no pictures"):
        build(tmp_path, val=0.5)


@pytest.mark.parametrize("options", [{}, {"lists": "."}])
def test_lists_divide_the_pairs_of_named_folders_too(tmp_path, options):
    both(tmp_path, "xs/{n}.png", "ys/{n}.png")
    lists(tmp_path, "012", "34")
    named = {"images": "xs", "masks": "ys", "val": 0.5, **options}
    assert build(tmp_path, **named).keys == ["0", "1", "2"]
    assert build(tmp_path, "val", **named).keys == ["3", "4"]
    (notice,) = build(tmp_path, **{**named, "lists": "none"}).notices
    assert "lists of pictures are not used" in notice


@pytest.mark.parametrize("names", [("splits.json",), ("train.csv", "val.csv"), ("folds.yaml",)])
def test_splits_in_forms_that_are_not_read_are_said(tmp_path, names):
    both(tmp_path, "images/{n}.png", "masks/{n}.png")
    for name in names:
        (tmp_path / name).write_text("0\n")
    (notice,) = build(tmp_path).notices
    assert f"{', '.join(names)} may say what is train and val, and is not read" in notice


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


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        ({"trainval": "01234", "val": "34"}, ("012", "34", ""), "3 pairs of trainval.txt, without"),
        ({"val": "34"}, ("0125", "34", ""), "train: the 4 pairs in none of the lists, such as 0"),
        ({"val": "34", "test": "5"}, ("012", "34", "5"), "train: the 3 pairs in none"),
        ({"trainval": "0123", "val": "34"}, ("012", "34", ""), "without the 1 that val.txt names"),
        ({"train": "012", "val": "34"}, ("012", "34", ""), "left out: 1 pair in none of the lists"),
    ],
)
def test_train_is_what_the_other_lists_leave(tmp_path, given, expected, said):
    both(tmp_path, "images/{n}.png", "masks/{n}.png", 6)
    for split, names in given.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(names))
    for split, keys in zip(("train", "val", "test"), expected, strict=True):
        if keys:
            assert "".join(build(tmp_path, split).keys) == keys
    assert any(said in notice for notice in build(tmp_path).notices)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trainval": "345", "test": "5"}, r"5 is in .*test\.txt and in .*trainval\.txt"),
        ({"trainval": "34", "val": "34"}, r"trainval\.txt names no pictures but those of `val`"),
    ],
)
def test_lists_that_leave_no_train_or_share_a_picture_are_refused(tmp_path, given, message):
    both(tmp_path, "images/{n}.png", "masks/{n}.png", 6)
    for split, names in given.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(names))
    with pytest.raises(SegzooError, match=message):
        build(tmp_path)


@pytest.mark.parametrize("others", [["val"], ["val", "test"], ["val", "old"]])
def test_pictures_of_the_root_beside_folders_of_splits_are_train(tmp_path, others):
    both(tmp_path, "{n}.png", "{n}_mask.png", 2)
    for place, folder in enumerate(others, 1):
        both(tmp_path, folder + "/{n}.png", folder + "/{n}_mask.png", 2, start=2 * place)
    train = build(tmp_path)
    assert (train.keys, build(tmp_path, "val").keys) == (["0", "1"], ["2", "3"])
    assert right(train)
    assert "train: the 2 pairs in the root itself" in train.notices[0]
    assert ("4 pictures in" in train.notices[-1]) == ("old" in others)
    both(tmp_path, "train/{n}.png", "train/{n}_mask.png", 1, start=6)
    assert build(tmp_path).keys == ["6"]


@pytest.mark.parametrize(
    ("link", "target", "options"),
    [
        ("val", "train", {}),
        ("val", "test", {}),
        ("test", "../elsewhere", {}),
        ("val", ".", {}),
        ("val", "plain", {}),
        ("val", "train", {"images": "{split}/images", "masks": "{split}/masks"}),
        ("val", "train", {"pair": "{split}/images/{name}.png:{split}/masks/{name}.png"}),
    ],
)
def test_a_link_does_not_put_pictures_into_two_splits(tmp_path, link, target, options):
    root = tmp_path / "set"
    for folder in ("train", "test", "plain", "../elsewhere"):
        if folder != link and folder in ("train", target):
            both(root, folder + "/images/{n}.png", folder + "/masks/{n}.png", 3)
    if "elsewhere" in target:
        (root / "val").symlink_to(target)
    (root / link).symlink_to(target)
    with pytest.raises(SegzooError, match=r"by a link: the same pictures as `|of no split"):
        build(root, **options)


def test_a_link_of_the_same_split_or_none_is_left_out(tmp_path):
    both(tmp_path, "train/images/{n}.png", "train/masks/{n}.png", 3)
    for name in ("training", "latest"):
        (tmp_path / name).symlink_to("train")
    assert build(tmp_path).keys == ["0", "1", "2"]
