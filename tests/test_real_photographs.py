"""On real photographs; skipped where the development data is not beside the checkout."""

import logging

import pytest
from helpers import SHARED_DATA

import segzoo
from segzoo.data.folder.dataset import build_folder
from segzoo.data.plugin import FolderOptions
from segzoo_hk.dataset import build_hk
from segzoo_hk.plugin import HKOptions

pytestmark = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="the real photographs (../shared/data) are not here"
)
CAMVID = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"


def test_every_pair_of_hk_can_be_read():
    for split, count in (("train", 117), ("val", 13), ("test", 30)):
        dataset = build_hk(root=SHARED_DATA / "hk", split=split, options=HKOptions())
        assert len(dataset) == count
    for index in range(len(dataset)):
        image, matte, _ = dataset[index]
        assert image.shape == (3, 800, 600)
        assert matte.shape == (800, 600)
        assert 0 < matte.float().mean() < 255


def test_a_small_network_learns_people(tmp_path):
    result = segzoo.fit(
        model="unet", data="hk", root=SHARED_DATA / "hk", size=64, epochs=8, lr=3e-3, workers=0,
        batch_size=8, model_options={"width": 8, "depth": 4, "norm": "batch"},
        out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert result.scores["test"]["iou/person"] > 0.6


def test_camvid_needs_nothing_but_class_names(caplog):
    options = FolderOptions(classes=f"{CAMVID},unlabelled")
    with caplog.at_level(logging.INFO, "segzoo"):
        train = build_folder(root=SHARED_DATA / "camvid", split="train", options=options)
    assert "train 367 pairs in train + trainannot; val 101 pairs in val + valannot" in caplog.text
    assert train.classes == tuple(CAMVID.split(","))
    assert int(train[0].target[train[0].target != 255].max()) < 11
    same = FolderOptions(classes=CAMVID, ignore="11")
    other = build_folder(root=SHARED_DATA / "camvid", split="train", options=same)
    assert (other[0].target == train[0].target).all()
    with pytest.raises(segzoo.SegzooError, match="label 11 with 11 classes.*\n.*-O ignore=11"):
        build_folder(
            root=SHARED_DATA / "camvid", split="train", options=FolderOptions(classes=CAMVID)
        )
