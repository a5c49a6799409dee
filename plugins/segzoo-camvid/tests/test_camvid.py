import os

import numpy as np
import pytest
import torch
from helpers import SHARED_DATA
from PIL import Image

from segzoo.data.opening import DataSource
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.testing import DatasetConformance
from segzoo_camvid.dataset import build_camvid, write_sample
from segzoo_camvid.plugin import CamVidOptions

NAMES = "sky building pole road pavement tree sign fence car pedestrian bicyclist"


class TestCamVid(DatasetConformance):
    data = "segzoo-camvid/camvid"


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "data")
    return tmp_path / "data" / "CamVid"


def build(root, split="train", **options):
    return build_camvid(root=root, split=split, options=CamVidOptions(**options))


def without_val(root):
    for folder in (root / "val", root / "valannot"):
        folder.rename(root.parent / folder.name)


def test_ids_are_the_labels_and_11_is_ignored(root):
    path = root / "valannot" / "0001TP_007110.png"
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(path)
    Image.new("RGB", (4, 3)).save(root / "val" / path.name)
    labels = build(root, "val")[0].target
    assert labels.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]]
    assert labels.dtype == torch.uint8


def test_a_pipe_is_refused_and_not_waited_for(root):
    path = root / "val" / "0001TP_007110.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SegzooError, match=r"0001TP_007110\.png is a pipe"):
        build(root, "val")[0]


def test_classes_and_colours_are_those_of_the_release(root):
    source = DataSource("camvid", root=root)
    info = source.info(source.split("train"))
    assert info.classes == tuple(NAMES.split())
    assert info.palette[3] == (128, 64, 128)
    assert info.palette[10] == (0, 128, 192)
    assert info.ignore_index == 255


def test_jpeg_frames_are_paired_with_png_labels(root):
    expected = build(root, "test")
    frame, labels, _ = expected[2]
    for path in list((root / "test").iterdir()):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    test = build(root, "test")
    assert test.keys == expected.keys
    assert torch.equal(test[2].target, labels)
    assert (test[2].image.int() - frame.int()).abs().float().mean() < 10


def test_every_split_has_its_folder(root):
    sizes = {split: len(build(root, split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 14, "val": 5, "test": 5}
    assert build(root.parent).keys == build(root.parent.parent).keys == build(root).keys
    with pytest.raises(MissingSplitError, match="no `nonsense` split"):
        build(root, "nonsense")


def test_val_is_carved_from_train_where_it_is_missing(root):
    every = build(root).keys
    without_val(root)
    train, val = build(root, val=0.3), build(root, "val", val=0.3)
    assert len(val) == 4
    assert sorted(train.keys + val.keys) == every
    assert build(root, "val", val=0.3).keys == val.keys
    with pytest.raises(MissingSplitError, match="no `val` split"):
        build(root, "val", val=0.0)
    with pytest.raises(MissingSplitError, match="no `nonsense` split"):
        build(root, "nonsense")


def test_test_frames_alone_can_be_scored(root):
    for name in ("train", "trainannot", "val", "valannot"):
        (root / name).rename(root.parent / f"gone-{name}")
    assert len(build(root, "test")) == 5
    with pytest.raises(MissingSplitError, match="no `train` split"):
        build(root)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("testannot", r"test/0001TP_007260\.png is a frame without its labels \(1 of 5.*\n.*annot"),
        ("test", r"testannot/0001TP_007260\.png is a label picture without its frame"),
    ],
)
def test_a_lone_file_is_named(root, gone, message):
    (root / gone / "0001TP_007260.png").unlink()
    with pytest.raises(SegzooError, match=message):
        build(root, "test")


def test_two_frames_of_one_name_are_named(root):
    Image.new("RGB", (80, 60)).save(root / "test" / "0001TP_007260.jpg")
    with pytest.raises(SegzooError, match=r"_007260\.png and 0001TP_007260\.jpg have one name"):
        build(root, "test")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((60, 80), 12), r"0001TP_006690\.png holds the id 12; labels are the ids 0 to 11"),
        (np.full((60, 80, 3), (9, 0, 0)), r"0001TP_006690\.png holds colours"),
        (np.zeros((7, 9)), r"0001TP_006690\.png is 80x60 but .*0001TP_006690\.png is 9x7"),
    ],
)
def test_labels_that_do_not_fit_are_named(root, labels, message):
    Image.fromarray(labels.astype(np.uint8)).save(root / "trainannot" / "0001TP_006690.png")
    with pytest.raises(SegzooError, match=message):
        build(root)[0]


@pytest.mark.skipif(
    not (SHARED_DATA / "camvid").is_dir(), reason="the real CamVid (../shared/data) is not here"
)
@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101)])
def test_the_real_frames(split, count):
    dataset = build(SHARED_DATA / "camvid", split)
    assert len(dataset) == count
    seen = torch.zeros(256, dtype=torch.int64)
    for index in range(0, count, 10):
        image, labels, _ = dataset[index]
        assert image.shape == (3, 360, 480)
        assert labels.shape == (360, 480)
        seen += labels.flatten().bincount(minlength=256)
    assert not seen[11:255].any()
    assert (seen[:11] > 0).all()
    shares = seen[:11] / seen[:11].sum()
    assert shares.argmax().item() in (1, 3)  # building or road
    assert 0.2 < shares[3] < 0.4
    assert 0 < seen[255] / seen.sum() < 0.1
