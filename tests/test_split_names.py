"""A user's own splits, in folders and lists of any usual name: used, or refused, never mixed."""

import pytest
from test_layouts import both, build, right

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
def test_few_folders_whose_names_say_nothing_are_asked_about(tmp_path, folders):
    for place, folder in enumerate(folders):
        both(tmp_path, folder + "/images/{n}.png", folder + "/masks/{n}.png", 2, start=2 * place)
    (notice,) = build(tmp_path, val=0.5).notices
    assert f"pairs of the folders {', '.join(folders)}, whose names say no split" in notice
    train, val = (build(tmp_path, s, val=0.5, group="{group}/*").keys for s in ("train", "val"))
    assert {key[0] for key in train}.isdisjoint({key[:-2] for key in val})


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
