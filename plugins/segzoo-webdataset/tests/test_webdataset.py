import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

import segzoo
from segzoo.data.checks.checking import check
from segzoo.data.loading.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.testing import DatasetConformance
from segzoo_webdataset.dataset import build_webdataset, write_sample
from segzoo_webdataset.plugin import ShardOptions


class TestWebDataset(DatasetConformance):
    data = "segzoo-webdataset/webdataset"


def png(array):
    data = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(data, "PNG")
    return data.getvalue()


def write_shard(path, members):
    """Write a shard of (name, content); pairs of a number are `pair(number)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def pair(number, mask="mask.png"):
    image = np.full((4, 6, 3), number % 256)
    return [(f"{number:05d}.png", png(image)), (f"{number:05d}.{mask}", png(image[..., 0] % 2))]


def pairs(numbers, **how):
    return [member for number in numbers for member in pair(number, **how)]


@pytest.fixture
def root(tmp_path):
    for shard in range(5):
        numbers = range(10 * shard, 10 * shard + 10)
        write_shard(tmp_path / "data" / f"train-{shard}.tar", pairs(numbers))
    write_shard(tmp_path / "data" / "val-0.tar", pairs(range(100, 104)))
    return tmp_path / "data"


def build(root, split="train", **options):
    return build_webdataset(root=root, split=split, options=ShardOptions(**options))


def numbers(dataset, order=None):
    return [
        int(dataset[n].image[0, 0, 0]) for n in (range(len(dataset)) if order is None else order)
    ]


def test_every_pair_is_there_in_the_shards_order(root):
    data = build(root)
    assert numbers(data) == list(range(50))
    assert data.keys[12] == "train-1/00012"
    assert all(data[n].target.unique().tolist() == [n % 2] for n in range(50))
    assert len(build(root, "val")) == 4
    with pytest.raises(MissingSplitError, match="no `test` split"):
        build(root, "test")


def test_a_pipe_is_no_shard_and_is_not_waited_for(root):
    os.mkfifo(root / "train-9.tar")
    with pytest.raises(SegzooError, match=r"train-9\.tar is not a file"):
        build(root)


def test_masks_that_cannot_be_used_and_lone_files_are_told_of(root):
    broken = [("7.png", png(np.zeros((4, 6, 3)))), ("7.mask.png", b"no picture")]
    write_shard(root / "train-7.tar", [*pair(70), *broken, ("8.png", b"")])
    data = build(root)
    assert [str(fault).partition(" is not")[0] for fault in data.faults] == [
        f"{root / 'train-7.tar' / '7.mask.png'}"
    ]
    assert data.unpaired == [("train-7/8", "lacks its image or mask")]
    assert build(root, "val").faults == ()
    found = [(p.kind, p.key) for p in check(DataSource("webdataset", root=root))]
    assert {("unpaired", "train-7/8"), ("broken", "train-7/7")} <= set(found)


def test_what_255_is_goes_into_the_options(tmp_path):
    for name, values in (("two", (0, 255)), ("void", (0, 1, 255)), ("plain", (0, 1))):
        mask = png(np.resize(values, (4, 6)))
        pairs = [(f"{n}.{end}", mask) for n in range(3) for end in ("png", "mask.png")]
        write_shard(tmp_path / name / "train-0.tar", pairs)
    options = [build(tmp_path / name, val=0.0).resolved_options for name in ("two", "void")]
    assert options == [{"ignore": "nothing"}, {"ignore": "255"}]
    assert build(tmp_path / "plain", val=0.0).resolved_options == {}


def test_val_is_carved_where_no_shard_names_it(root):
    (root / "val-0.tar").unlink()
    train, val = build(root, val=0.2), build(root, "val", val=0.2)
    assert len(val) == 10
    assert sorted(numbers(train) + numbers(val)) == list(range(50))


def test_shards_in_folders_and_without_a_split(tmp_path):
    write_shard(tmp_path / "a" / "train" / "x.tar", pairs(range(3)))
    write_shard(tmp_path / "a" / "test" / "x.tar", pairs(range(2)))
    assert [len(build(tmp_path / "a", split)) for split in ("train", "test")] == [2, 2]
    write_shard(tmp_path / "b" / "mine.tar", pairs(range(5)))
    assert len(build(tmp_path / "b")) + len(build(tmp_path / "b", "val")) == 5


def test_the_order_takes_few_shards_at_a_time(root):
    data = build(root, window=20)
    order = data.shuffled(7)
    assert sorted(order.tolist()) == list(range(50))
    assert (order == data.shuffled(7)).all()
    assert (order != data.shuffled(8)).any()
    shards = order // 10
    windows = [set(shards[start : start + 20].tolist()) for start in (0, 20, 40)]
    assert [len(window) for window in windows] == [2, 2, 1]
    mixed = [shards[start : start + 20].tolist() for start in (0, 20)]
    assert all(
        window != sorted(window, key=window.index) or len(set(window)) == 1 for window in mixed
    )


def test_batches_take_the_data_sets_order(root):
    source = DataSource("webdataset", root=root, options={"window": 20})
    data = source.split("train")
    how = {"size": (4, 6), "batch_size": 8, "shuffle": True, "seed": 3, "cache": "none"}
    orders = []
    for workers in (0, 2):
        batches = Batches(data, source.info(data), workers=workers, **how)
        epochs = [[key for batch in batches.epoch(n) for key in batch.keys] for n in (0, 1)]
        assert [sorted(epoch) for epoch in epochs] == [sorted(data.keys)] * 2
        assert epochs[0] != epochs[1]
        shards = [{key.split("/")[0] for key in epoch[:20]} for epoch in epochs]
        assert [len(names) for names in shards] == [2, 2]
        orders.append(epochs)
    assert orders[0] == orders[1]


def test_a_built_data_set_goes_to_another_process(root):
    data = build(root)
    before = numbers(data)
    assert numbers(pickle.loads(pickle.dumps(data))) == before


def test_extensions_are_found_or_given(tmp_path):
    members = [("a.input.png", png(np.zeros((4, 4, 3)))), ("a.seg.png", png(np.eye(4)))]
    write_shard(
        tmp_path / "train.tar", [*members, ("a.json", b"{}"), ("a.depth.png", members[1][1])]
    )
    assert build(tmp_path)[0].target.sum() == 4
    assert build(tmp_path, mask="depth.png").places.mask == "depth.png"
    with pytest.raises(SegzooError, match=r"extensions any and cls.*depth\.png, input\.png, json"):
        build(tmp_path, mask="cls")


def test_upper_case_folders_hidden_files_and_links_in_a_shard(tmp_path):
    write_shard(tmp_path / "train.tar", [("deep/A.PNG", png(np.zeros((4, 4, 3))))])
    with tarfile.open(tmp_path / "train.tar", "a") as tar:
        for name, content in (("deep/A.Mask.png", png(np.eye(4))), ("deep/._B.png", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("deep/C.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = build(tmp_path)
    assert data.keys[:] == ["train/deep/A"]
    assert data[0].target.sum() == 4


def test_what_has_no_partner_is_left_out_and_said(root):
    write_shard(root / "train-5.tar", [*pair(7), pair(8)[0]])
    data = build(root)
    assert len(data) == 51
    text = "webdataset: 1 samples without image or mask are left out: train-5/00008"
    assert data.notices == (text,)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:700], "unexpected end|not there in full"),
        (lambda data: data[:1124], "it has no end"),
        (lambda data: data[:1024], "it has no end"),
        (lambda data: data[:1030] + b"x" + data[1031:], "it has no end"),
        (lambda data: b"not a tar" * 100, "no shard that can be read"),
        (lambda data: b"\x1f\x8b" + data, "not compressed"),
    ],
)
def test_a_damaged_shard_is_named(root, spoil, message):
    shard = root / "train-3.tar"
    shard.write_bytes(spoil(shard.read_bytes()))
    with pytest.raises(SegzooError, match=message) as caught:
        build(root)
    assert str(shard) in str(caught.value)


def test_a_shard_cut_short_after_it_was_looked_at(root):
    data = build(root)
    shard = root / "train-4.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(SegzooError, match=r"train-4\.tar/00049\.png: .* bytes are there"):
        data[49]


def test_a_broken_picture_and_sizes_that_differ_are_named(tmp_path):
    write_shard(
        tmp_path / "train.tar",
        [
            *[("a.png", png(np.zeros((4, 4, 3)))), ("a.mask.png", png(np.eye(4)))],
            *[("b.png", b"\x89PNG broken"), ("b.mask.png", png(np.eye(4)))],
            *[("c.png", png(np.zeros((4, 5, 3)))), ("c.mask.png", png(np.eye(4)))],
        ],
    )
    data = build(tmp_path, val=0)
    assert data[0].key == "train/a"
    with pytest.raises(SegzooError, match=r"train\.tar/b\.png"):
        data[1]
    with pytest.raises(
        SegzooError, match=r"train\.tar/c\.png is 5x4 but its mask c\.mask\.png is 4x4"
    ):
        data[2]


def test_a_changed_shard_is_looked_at_again(root, monkeypatch):
    monkeypatch.setattr("segzoo.data.index.LARGE", 1)
    monkeypatch.setattr("segzoo.data.index.SETTLED_NS", 0)
    assert len(build(root)) == 50
    monkeypatch.setattr("segzoo_webdataset.shards._members", None)
    assert numbers(build(root)) == list(range(50))  # out of the index: no shard is looked at
    monkeypatch.undo()
    write_shard(root / "train-0.tar", pairs(range(3)))
    assert len(build(root)) == 43


def test_shards_that_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with webdataset.ShardWriter(str(tmp_path / "train-%06d.tar"), maxcount=3) as writer:
        for number in range(7):
            array = np.full((4, 6, 3), number, np.uint8)
            writer.write({"__key__": f"{number:05d}", "jpg": array, "mask.png": array[..., 0] % 2})
    data = build(tmp_path, val=0)
    assert len(data) == 7
    assert data.keys[6] == "train-000002/00006"
    assert data[5].target.unique().tolist() == [1]


def test_training_on_shards(tmp_path):
    write_sample(tmp_path)
    result = segzoo.fit(
        model="unet", data="webdataset", root=tmp_path, size=32, epochs=1, workers=0,
        progress=False, out=tmp_path / "run", model_options={"width": 4, "depth": 2},
    )  # fmt: skip
    assert 0 <= result.scores["val"]["mean_iou"] <= 1
    assert torch.isfinite(torch.tensor(result.scores["train"]["loss"]))


def test_depth_orientation_and_groups_are_stated(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    members = []
    for number in range(6):
        deep, mask = io.BytesIO(), io.BytesIO()
        Image.fromarray(np.full((4, 6), 4095, np.uint16)).save(deep, "PNG", exif=exif)
        Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(mask, "PNG")
        name = f"p{number // 2}_{number}"
        members += [(f"{name}.png", deep.getvalue()), (f"{name}.mask.png", mask.getvalue())]
    write_shard(tmp_path / "train-0.tar", members)
    how = {"range": "0,4095", "exif": "ignore", "group": "/(p[0-9])_"}
    train, val = (build(tmp_path, split, val=0.3, **how) for split in ("train", "val"))
    sample = train[0]
    assert sample.image.shape == (3, 4, 6)
    assert int(sample.image.min()) == 255
    patients = [{key.rpartition("/")[2][:2] for key in part.keys} for part in (train, val)]
    assert (len(val), patients[0] & patients[1]) == (2, set())
    with pytest.raises(SegzooError, match="4x6 but its mask"):
        build(tmp_path, val=0.3, range="0,4095")[0]
