import os

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.data.finish import finish_sample
from segzoo.data.opening import DataSource
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.testing import DatasetConformance
from segzoo_hk.dataset import build_hk, write_sample
from segzoo_hk.plugin import HKOptions


def build(root, split="train", **options):
    return build_hk(root=root, split=split, options=HKOptions(**options))


def test_pairs_go_by_name_not_by_order(hk_root):
    # Names that sort apart from their mattes: "a" < "a2" < "a2_matte" < "a_matte".
    for name, value in (("a", 10), ("a2", 200)):
        Image.new("RGB", (8, 8), (value,) * 3).save(hk_root / "testing" / f"{name}.png")
        Image.new("L", (8, 8), value).save(hk_root / "testing" / f"{name}_matte.png")
    test = build(hk_root, "test")
    assert len(test) == 6
    for key in ("a", "a2"):
        image, matte, _ = test[test.keys.index(key)]
        assert int(image[0, 0, 0]) == int(matte[0, 0])


def test_a_pipe_is_no_photograph_and_is_not_waited_for(hk_root):
    path = hk_root / "testing" / f"{build(hk_root, 'test').keys[0]}.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(
        SegzooError, match=rf"{path.stem}_matte\.png is a matte without its photograph"
    ):
        build(hk_root, "test")


def test_val_is_carved_from_train_the_same_way_every_time(hk_root):
    train, val = build(hk_root), build(hk_root, "val")
    assert sorted(train.keys + val.keys) == [f"{i:05d}" for i in range(10)]
    assert len(val) == 1
    assert val.keys == build(hk_root, "val").keys
    assert len(build(hk_root, "val", val=0.3)) == 3
    with pytest.raises(MissingSplitError):
        build(hk_root, "val", val=0.0)


def test_binary_mattes_become_labels_after_resizing(hk_root):
    source = DataSource("hk", root=hk_root)
    dataset = source.split("test")
    info = source.info(dataset)
    assert (info.target, info.threshold, info.classes) == ("labels", 127, ("background", "person"))
    labels = finish_sample(dataset[0], info, (32, 32)).target
    assert labels.unique().tolist() == [0, 1]
    strict = DataSource("hk", root=hk_root, options={"threshold": "254"})
    fewer = finish_sample(dataset[0], strict.info(strict.split("test")), (32, 32)).target
    assert fewer.sum() < labels.sum()


def test_soft_mattes_are_alpha(hk_root):
    source = DataSource("hk", root=hk_root, options={"matte": "soft"})
    dataset = source.split("test")
    info = source.info(dataset)
    assert (info.target, info.threshold) == ("alpha", None)
    values = finish_sample(dataset[0], info, (32, 32)).target.unique()
    assert len(values) > 10
    assert int(values.max()) == 255


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "00003_matte.png",
            r"00003\.png is a photograph without its matte \(1 of them.*\n.*00003_matte",
        ),
        ("00003.png", r"00003_matte\.png is a matte without its photograph"),
    ],
)
def test_a_lone_file_is_named(hk_root, gone, message):
    (hk_root / "training" / gone).unlink()
    with pytest.raises(SegzooError, match=message):
        build(hk_root)


def test_different_sizes_are_named(hk_root):
    Image.new("L", (9, 7)).save(hk_root / "testing" / "00010_matte.png")
    with pytest.raises(SegzooError, match=r"00010\.png is 72x96 but 00010_matte\.png is 9x7"):
        build(hk_root, "test")[0]


def test_a_truncated_photograph_is_named(hk_root):
    path = hk_root / "testing" / "00010.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SegzooError, match=r"00010\.png"):
        build(hk_root, "test")[0]


def test_16_bit_grey_rgba_and_palette_files_are_read(hk_root):
    folder = hk_root / "testing"
    with Image.open(folder / "00010.png") as picture:
        grey = np.asarray(picture.convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "00010.png")
    Image.fromarray(grey).save(folder / "00011.png")
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "00012.png")
    Image.fromarray(np.dstack([grey] * 3)).quantize(255).save(folder / "00013.png")
    with Image.open(folder / "00013_matte.png") as matte:
        deep = np.asarray(matte).astype(np.uint16) * 257
    expected = build(hk_root, "test")[3].target
    Image.fromarray(deep).save(folder / "00013_matte.png")
    test = build(hk_root, "test")
    for index in range(3):
        assert np.array_equal(test[index].image[0].numpy(), grey)
    assert np.abs(test[3].image[0].numpy().astype(int) - grey).max() < 16
    assert torch.equal(test[3].target, expected)


def test_test_pictures_alone_can_be_scored_but_not_trained_on(hk_root):
    for path in (hk_root / "training").iterdir():
        path.unlink()
    assert len(build(hk_root, "test")) == 4
    with pytest.raises(MissingSplitError, match="has no `train` split"):
        build(hk_root)
    for path in (hk_root / "testing").iterdir():
        path.unlink()
    with pytest.raises(SegzooError, match="no `hk` data set in"):
        build(hk_root, "test")


def test_the_sample_is_in_the_real_format(tmp_path):
    write_sample(tmp_path)
    assert len(build(tmp_path)) == 36
    assert len(build(tmp_path, "test")) == 12
    assert sorted(p.name for p in (tmp_path / "testing").iterdir())[:2] == [
        "00001.png", "00001_matte.png",
    ]  # fmt: skip


class TestHK(DatasetConformance):
    data = "segzoo-hk/hk"


class TestHKSoft(DatasetConformance):
    data = "segzoo-hk/hk"
    options = {"matte": "soft"}
