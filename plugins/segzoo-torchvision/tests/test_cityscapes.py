import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes

from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.cityscapes import build_cityscapes, write_sample
from segzoo_torchvision.plugin import CITYSCAPES_CLASSES, CityscapesOptions

STEM = "frankfurt_000003_000019"


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "cityscapes")
    return tmp_path / "cityscapes"


def build(root, split="train", **options):
    return build_cityscapes(root=root, split=split, options=CityscapesOptions(**options))


def labels_of(root, split, stem, mode="gtFine"):
    return root / mode / split / stem.partition("_")[0] / f"{stem}_{mode}_labelIds.png"


def test_classes_and_colours_are_those_of_the_scored_ids():
    scored = sorted(
        (c for c in Cityscapes.classes if 0 <= c.train_id < 255), key=lambda c: c.train_id
    )
    assert {c.name: c.color for c in scored} == CITYSCAPES_CLASSES
    assert [c.name for c in scored] == list(CITYSCAPES_CLASSES)


def test_ids_become_the_19_classes(root):
    path = labels_of(root, "val", STEM)
    stored = np.arange(34, dtype=np.uint8).reshape(2, 17)
    Image.fromarray(stored).save(path)
    Image.new("RGB", (17, 2)).save(
        root / "leftImg8bit" / "val" / "frankfurt" / f"{STEM}_leftImg8bit.png"
    )
    dataset = build(root, "val")
    assert dataset.keys[3] == STEM
    no = 255
    assert dataset[3].target.flatten().tolist() == [
        *[no] * 7, 0, 1, no, no, 2, 3, 4, no, no, no, 5, no, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        no, no, 16, 17, 18,
    ]  # fmt: skip


def test_fine_and_coarse_labels(root):
    fine, coarse = build(root), build(root, mode="coarse")
    assert fine.keys == coarse.keys
    assert len(fine) == 14
    assert fine.keys == sorted(fine.keys)
    assert (fine[0].image == coarse[0].image).all()
    unlabelled = [(dataset[0].target == 255).float().mean() for dataset in (fine, coarse)]
    assert unlabelled[0] < unlabelled[1] < 0.5


def test_torchvision_reads_the_sample_the_same(root):
    ours, theirs = build(root, "val"), Cityscapes(str(root), "val", target_type="semantic")
    table = np.full(256, 255)
    for entry in Cityscapes.classes[:-1]:
        table[entry.id] = entry.train_id
    read = {str(path): theirs[index] for index, path in enumerate(theirs.images)}
    assert len(ours) == len(read) == 6
    for index, path in enumerate(ours.images):
        (image, labels, _), (picture, ids) = ours[index], read[str(path)]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(picture))
        assert np.array_equal(labels.numpy(), table[np.array(ids)])


def test_the_blank_labels_of_test_count_as_none(root):
    with pytest.raises(MissingSplitError, match=r"no labels for `test`: .*labelIds\.png is blank"):
        build(root, "test")
    for path in (root / "gtFine" / "test").rglob("*.png"):
        Image.fromarray(np.full((64, 80), 7, np.uint8)).save(path)
    test = build(root, "test")
    assert len(test) == 2
    assert test[0].target.unique().tolist() == [0]
    with pytest.raises(MissingSplitError, match="no `test` split with mode=coarse"):
        build(root, "test", mode="coarse")
    with pytest.raises(MissingSplitError, match="no `nonsense` split"):
        build(root, "nonsense")


def test_faults_name_the_file(root):
    path = labels_of(root, "val", STEM)
    Image.new("L", (80, 64), 40).save(path)
    with pytest.raises(SegzooError, match=r"_labelIds\.png holds the id 40"):
        build(root, "val")[3]
    path.unlink()
    with pytest.raises(SegzooError, match=rf"{STEM}_gtFine_labelIds\.png: no such file"):
        build(root, "val")
    (root / "leftImg8bit" / "val" / ".DS_Store").write_text("")
    with pytest.raises(SegzooError, match=r"not laid out as Cityscapes: .*\.DS_Store"):
        build(root, "val")


def test_a_set_that_is_not_there_names_the_homepage(tmp_path):
    (tmp_path / "leftImg8bit").mkdir()
    with pytest.raises(SegzooError, match=r"holds leftImg8bit\n.*www\.cityscapes-dataset\.com"):
        build(tmp_path)


def test_files_that_are_no_pictures_are_left_out(root):
    folder = root / "leftImg8bit" / "val" / "frankfurt"
    (folder / "Thumbs.db").write_text("")
    assert len(build(root, "val")) == 6
