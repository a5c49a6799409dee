import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import VOCSegmentation
from torchvision.models.segmentation import FCN_ResNet50_Weights

from segzoo.data.opening import DataSource
from segzoo.data.sample import voc_palette
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.plugin import VOC_CLASSES, VOCOptions
from segzoo_torchvision.voc2012 import build_voc2012, write_sample

MASK = [[0, 0, 255], [15, 255, 20]]


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "voc")
    return tmp_path / "voc"


@pytest.fixture
def found(root):
    return root / "VOCdevkit" / "VOC2012"


def build(root, split="train", **options):
    return build_voc2012(root=root, split=split, options=VOCOptions(**options))


def test_the_ids_of_a_palette_picture_are_the_labels(root, found):
    mask = Image.fromarray(np.array(MASK, np.uint8))
    mask.putpalette([value for colour in voc_palette(256) for value in colour])
    mask.save(found / "SegmentationClass" / "2009_000001.png")
    Image.new("RGB", (3, 2), (9, 9, 9)).save(found / "JPEGImages" / "2009_000001.jpg")
    (found / "ImageSets" / "Segmentation" / "val.txt").write_text("2009_000001\n\n")
    dataset = build(root, "val")
    assert dataset.keys == ["2009_000001"]
    assert dataset[0].target.tolist() == MASK
    assert dataset[0].target.dtype == torch.uint8
    assert dataset[0].image.shape == (3, 2, 3)


@pytest.mark.parametrize("split", ["train", "val"])
def test_torchvision_reads_the_sample_the_same(root, split):
    ours, theirs = build(root, split), VOCSegmentation(root, "2012", split)
    assert [str(path) for path in ours.images] == theirs.images
    for index in range(len(theirs)):
        (image, labels, _), (picture, mask) = ours[index], theirs[index]
        assert mask.mode == "P"
        assert np.array_equal(labels.numpy(), np.array(mask))
        # Two decoders of JPEG, which round their own way.
        assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - np.array(picture)).max() <= 4
    assert len(ours) == {"train": 14, "val": 6}[split]


def test_classes_and_colours_are_vocs(root):
    assert VOC_CLASSES[1:] == tuple(FCN_ResNet50_Weights.DEFAULT.meta["categories"][1:])
    source = DataSource("voc2012", root=root)
    info = source.info(source.split("val"))
    assert (info.classes[15], info.palette[15], info.ignore_index) == (
        "person",
        (192, 128, 128),
        255,
    )


def test_the_root_may_be_the_set_or_around_it(root, found, tmp_path):
    expected = build(root).keys
    for folder in (found, found.parent):
        assert build(folder).keys == expected
    found.rename(tmp_path / "renamed")
    assert build(tmp_path / "renamed").keys == expected


def test_another_year_beside_it_is_not_taken(root, found):
    expected = build(root).images
    write_sample(root / "other")
    (root / "other" / "VOCdevkit" / "VOC2012").rename(found.parent / "VOC2007")
    assert build(root).images == expected
    with pytest.raises(SegzooError, match="no `voc2012` data set in"):
        build(found.parent / "VOC2007")


def test_splits_that_are_not_there(root, found):
    with pytest.raises(MissingSplitError, match="test labels are not public"):
        build(root, "test")
    (found / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(MissingSplitError, match=r"no `val` split: .*val\.txt: no such file"):
        build(root, "val")
    (found / "ImageSets" / "Segmentation" / "train.txt").write_text("\n")
    with pytest.raises(MissingSplitError, match=r"train\.txt is empty"):
        build(root)


def test_a_missing_partner_is_named(root, found):
    (found / "SegmentationClass" / "2007_000003.png").unlink()
    with pytest.raises(
        SegzooError, match=r"2007_000003\.png: no such file \(1 of 14.*_000003\.jpg"
    ):
        build(root)
    (found / "JPEGImages" / "2007_000002.jpg").unlink()
    with pytest.raises(SegzooError, match=r"2007_000002\.jpg: no such file \(1 of 14"):
        build(root)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((5, 4)), r"_000000\.jpg is 80x64 but .*_000000\.png is 4x5"),
        (np.full((64, 80), 21), r"_000000\.png holds the id 21, which no class has\n.*20, 255"),
        (np.full((64, 80, 3), (0, 128, 0)), r"_000000\.png holds colours, not 8-bit ids"),
    ],
)
def test_masks_that_do_not_fit_are_named(root, found, mask, message):
    path = found / "SegmentationClass" / "2007_000000.png"
    Image.fromarray(mask.astype(np.uint8)).save(path)
    with pytest.raises(SegzooError, match=message):
        build(root)[0]


def test_it_is_downloaded_where_it_is_missing_alone(tmp_path, monkeypatch, capsys):
    calls = []

    def fake(root, **options):
        calls.append((root, options))
        print("Extracting")
        write_sample(root)

    monkeypatch.setattr("segzoo_torchvision.voc2012.VOCSegmentation", fake)
    with pytest.raises(SegzooError, match="no `voc2012` data set in.*\n.*-O download=true"):
        build(tmp_path / "new")
    for _ in range(2):
        assert len(build(tmp_path / "new", download=True)) == 14
    assert calls == [(tmp_path / "new", {"year": "2012", "image_set": "train", "download": True})]
    assert capsys.readouterr().out == ""


def test_without_a_root_it_is_downloaded_into_the_users_data_folder(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("segzoo_torchvision.pairs.user_data_folder", lambda: folder)
    monkeypatch.setattr("segzoo.data.roots.user_data_folder", lambda: folder)
    monkeypatch.setattr(
        "segzoo_torchvision.voc2012.VOCSegmentation", lambda root, **_: write_sample(root)
    )
    assert build(None, download=True).images[0].is_relative_to(folder / "voc2012")
    assert len(build(None)) == 14


def test_a_download_that_fails_says_where_to_get_it(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(SegzooError) as caught:
        build(tmp_path, download=True)
    assert str(tmp_path) in caught.value.message
    assert "no route to host" in caught.value.message
    assert "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/" in caught.value.hint
