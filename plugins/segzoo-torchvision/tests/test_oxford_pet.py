import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from segzoo.data.opening import DataSource
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.oxford_pet import build_oxford_pet, write_sample
from segzoo_torchvision.plugin import PetOptions


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "pets")
    return tmp_path / "pets"


@pytest.fixture
def annotations(root):
    return root / "oxford-iiit-pet" / "annotations"


def build(root, split="train", **options):
    return build_oxford_pet(root=root, split=split, options=PetOptions(**options))


@pytest.mark.parametrize(("classes", "labels"), [("pet", [[1, 0, 255]]), ("trimap", [[1, 0, 2]])])
def test_trimaps_become_labels(root, annotations, classes, labels):
    Image.fromarray(np.array([[1, 2, 3]], np.uint8)).save(annotations / "trimaps" / "pug_9.png")
    Image.new("RGB", (3, 1)).save(annotations.parent / "images" / "pug_9.jpg")
    (annotations / "test.txt").write_text("#list\npug_9 27 2 17\n")
    dataset = build(root, "test", classes=classes)
    assert dataset.keys == ["pug_9"]
    assert dataset[0].target.tolist() == labels


def test_the_option_decides_the_classes(root):
    for classes, names in (
        ("pet", ("background", "pet")),
        ("trimap", ("background", "pet", "border")),
    ):
        source = DataSource("oxford-pet", root=root, options={"classes": classes})
        info = source.info(source.split("test"))
        assert info.classes == names
        assert len(info.palette) == len(names)


def test_torchvision_reads_the_sample_the_same(root):
    for split, theirs in (("train", "trainval"), ("test", "test")):
        ours = build(root, split, classes="trimap", val=0.0)
        other = OxfordIIITPet(root, theirs, target_types="segmentation")
        read = {path.stem: other[index][1] for index, path in enumerate(other._images)}
        assert sorted(read) == sorted(ours.keys)
        for index, key in enumerate(ours.keys):
            expected = np.array([9, 1, 0, 2])[np.array(read[key])]
            assert np.array_equal(ours[index].target.numpy(), expected)


def test_val_is_carved_from_trainval(root):
    train, val = build(root), build(root, "val")
    assert (len(train), len(val)) == (14, 2)
    assert not set(train.keys) & set(val.keys)
    assert build(root, "val").keys == val.keys
    assert len(build(root, "val", val=0.25)) == 4
    with pytest.raises(MissingSplitError, match="no `val` split with val=0"):
        build(root, "val", val=0.0)
    with pytest.raises(MissingSplitError, match="no `nonsense` split"):
        build(root, "nonsense")


def test_the_folder_may_have_any_name(root, tmp_path):
    (root / "oxford-iiit-pet").rename(tmp_path / "cats")
    assert build(tmp_path / "cats").images[0].parts[-3:-1] == ("cats", "images")
    assert len(build(tmp_path)) == 14


def test_faults_name_the_file(root, annotations):
    (annotations / "trimaps" / "beagle_18.png").unlink()
    with pytest.raises(SegzooError, match=r"beagle_18\.png: no such file .*beagle_18\.jpg"):
        build(root, "test")
    Image.new("L", (64, 80), 0).save(annotations / "trimaps" / "beagle_18.png")
    test = build(root, "test")
    with pytest.raises(SegzooError, match=r"beagle_18\.png holds the id 0.*\nknown are 1, 2, 3"):
        test[test.keys.index("beagle_18")]


def test_it_is_downloaded_by_torchvision(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "segzoo_torchvision.oxford_pet.OxfordIIITPet",
        lambda root, *, target_types, download: write_sample(root),
    )
    assert len(build(tmp_path / "new", "test", download=True)) == 6
