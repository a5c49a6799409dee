import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import SBDataset

from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.plugin import SBDOptions
from segzoo_torchvision.sbd import build_sbd, write_sample


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "sbd")
    return tmp_path / "sbd"


@pytest.fixture
def found(root):
    return root / "benchmark_RELEASE" / "dataset"


def build(root, split="train", **options):
    return build_sbd(root=root, split=split, options=SBDOptions(**options))


def test_segmentations_are_read_from_mat_files(root, found):
    ids = np.zeros((64, 80), np.uint8)
    ids[3, 4:6] = 20, 1
    savemat(found / "cls" / "2008_000014.mat", {"GTcls": {"Segmentation": ids}})
    val = build(root, "val")
    labels = val[val.keys.index("2008_000014")].target
    assert labels[3, 3:7].tolist() == [0, 20, 1, 0]
    assert int(labels.sum()) == 21


def test_torchvision_reads_the_sample_the_same(root, found):
    for split, count in (("train", 14), ("val", 6)):
        ours, theirs = build(root, split), SBDataset(found, split, mode="segmentation")
        assert [str(path) for path in ours.images] == theirs.images
        for index in range(len(theirs)):
            assert np.array_equal(ours[index].target.numpy(), np.array(theirs[index][1]))
        assert len(ours) == count


def test_the_sample_has_the_boundaries_of_the_real_files(found):
    boundaries = SBDataset(found, "val", mode="boundaries")[0][1]
    assert boundaries.shape == (20, 64, 80)
    assert set(boundaries.any((1, 2)).nonzero()[0]) == {5, 14}  # bus and person


def test_train_noval(root, found):
    train, val = build(root, train_noval=True), build(root, "val", train_noval=True)
    assert (len(train), len(val)) == (12, 6)
    listed = found / "train_noval.txt"
    listed.write_text(listed.read_text() + "2008_000017\n")
    train, val = build(root, train_noval=True), build(root, "val", train_noval=True)
    assert "2008_000017" in train.keys
    assert len(val) == 5
    assert not set(train.keys) & set(val.keys)
    assert len(build(root, "val")) == 6
    listed.unlink()
    with pytest.raises(SegzooError, match=r"train_noval\.txt: no such file\nget it from http"):
        build(root, train_noval=True)


def test_splits_that_are_not_there(root, found):
    with pytest.raises(MissingSplitError, match="no `test` split"):
        build(root, "test")
    (found / "val.txt").unlink()
    with pytest.raises(MissingSplitError, match=r"no `val` split: .*val\.txt: no such file"):
        build(root, "val")


def test_empty_lines_of_a_list_are_no_pictures(root, found):
    (found / "val.txt").write_text("2008_000015\n\n\n2008_000014\n\n")
    assert build(root, "val").keys == ["2008_000015", "2008_000014"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros(3)}, r"000\.mat cannot be read .*GTcls"),
        ({"GTcls": {"Segmentation": np.full((64, 80), 21, np.uint8)}}, r"000\.mat holds the id 21"),
        ({"GTcls": {"Segmentation": np.zeros((3, 2), np.uint8)}}, r"80x64 but .*000\.mat is 2x3"),
        (None, r"000\.mat cannot be read as a \.mat file"),
    ],
)
def test_faults_name_the_file(root, found, content, message):
    path = found / "cls" / "2008_000000.mat"
    if content is None:
        path.write_bytes(path.read_bytes()[:200])
    else:
        savemat(path, content)
    with pytest.raises(SegzooError, match=message):
        build(root)[0]


def test_a_missing_partner_is_named(root, found):
    (found / "cls" / "2008_000016.mat").unlink()
    with pytest.raises(SegzooError, match=r"2008_000016\.mat: no such file"):
        build(root, "val")


@pytest.mark.parametrize(("noval", "image_set"), [(False, "train"), (True, "train_noval")])
def test_it_is_downloaded_by_torchvision(tmp_path, monkeypatch, noval, image_set):
    asked = []

    class Fake(SBDataset):
        def __init__(self, root, *, image_set, mode, download=False):
            if download:
                asked.append(image_set)
                write_sample(tmp_path / "new")
                return
            super().__init__(root, image_set=image_set, mode=mode)

    monkeypatch.setattr("segzoo_torchvision.sbd.SBDataset", Fake)
    assert len(build(tmp_path / "new", download=True, train_noval=noval)) == (12 if noval else 14)
    assert asked == [image_set]
