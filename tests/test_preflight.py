"""Wrong data is refused before the first step."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo import SegzooError, fit
from segzoo.data.checks.checking import check
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.preflight import look
from segzoo.data.opening import DataSource
from segzoo.data.sample import DataInfo, Sample

HOW = {
    "model": "linknet", "model_options": {"width": 4}, "data": "folder", "size": 32, "epochs": 1,
    "batch_size": 4, "workers": 0, "progress": False, "device": "cpu",
}  # fmt: skip


class Started:
    def __init__(self):
        self.yes = False

    def segzoo_fit_start(self):
        self.yes = True


def write(root, masks, sizes=None):
    for number, mask in enumerate(masks):
        height, width = (sizes or {}).get(number, (40, 40))
        for kind, pixels in (
            ("images", np.full((height, width, 3), 90 + number, np.uint8)),
            ("masks", np.full((40, 40), 0, np.uint8) + np.asarray(mask, np.uint8)),
        ):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{number:03d}.png")
    return root


def striped(*labels):
    return np.array(labels, np.uint8).repeat(40 // len(labels))[:, None].repeat(40, 1)


def train(root, out, classes="a,b,c", **changes):
    started = Started()
    how = {**HOW, "root": str(root), "out": str(out), "data_options": {"classes": classes}}
    try:
        return fit(**{**how, **changes}, observers=[started])
    except SegzooError:
        assert not started.yes
        raise


def test_a_label_that_is_no_class_is_found_in_the_last_of_many(tmp_path):
    masks = [striped(0, 1)] * 20
    masks[13] = striped(0, 7)
    root = write(tmp_path / "data", masks)
    with pytest.raises(SegzooError, match=r"013\.png: label 7 with 3 classes"):
        train(root, tmp_path / "run")
    assert not (tmp_path / "run" / "last" / "state-b.json").exists()


def test_a_mask_of_another_size_is_found(tmp_path):
    root = write(tmp_path / "data", [striped(0, 1)] * 20, sizes={11: (40, 44)})
    with pytest.raises(SegzooError, match=r"011"):
        train(root, tmp_path / "run")


def test_masks_with_nothing_to_learn_from_are_refused(tmp_path):
    root = write(tmp_path / "data", [striped(0)] * 10)
    with pytest.raises(SegzooError, match=r"masks looked at is 255, which is ignored"):
        train(root, tmp_path / "run", data_options={"classes": "a,b", "ignore": 0})


def test_masks_of_one_class_and_classes_of_no_mask_are_said(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "segzoo")
    train(write(tmp_path / "one", [striped(1)] * 20), tmp_path / "a")
    assert "every pixel of the" in caplog.text
    assert "is `b`; `segzoo data stats`" in caplog.text
    caplog.clear()
    train(write(tmp_path / "two", [striped(0, 1)] * 20), tmp_path / "b")
    assert "`train`: no mask holds c" in caplog.text
    caplog.clear()
    train(write(tmp_path / "three", [striped(0, 1, 2, 2)] * 20), tmp_path / "c")
    assert "mask" not in caplog.text


def test_what_is_to_be_skipped_is_said_at_once_and_once(tmp_path, caplog):
    root = write(tmp_path / "data", [striped(0, 1, 2, 2)] * 20)
    (root / "images" / "003.png").write_bytes(b"no picture")
    with pytest.raises(SegzooError, match=r"003\.png"):
        train(root, tmp_path / "a")
    result = train(root, tmp_path / "b", on_bad_image="skip")
    assert len(result.left_out) == 1
    assert "003.png" in result.left_out[0]
    assert caplog.text.count("left out: ") == 1


def test_a_wrong_mask_that_is_not_among_those_looked_at_is_refused_or_skipped(tmp_path):
    root = write(tmp_path / "data", [striped(0, 1, 2, 2)] * 90)
    # Of 72 pictures that are trained on 32 are looked at, and of 18 for val all.
    (root / "masks" / "002.png").write_bytes(b"no picture")
    Image.fromarray(striped(0, 9)).save(root / "masks" / "004.png")
    with pytest.raises(SegzooError, match=r"002\.png is not a picture"):
        train(root, tmp_path / "a")
    result = train(root, tmp_path / "b", on_bad_image="skip")
    assert sorted(text.split("/")[-1][:7] for text in result.left_out) == ["002.png", "004.png"]
    (root / "masks" / "002.png").unlink()
    with pytest.raises(SegzooError, match=r"004\.png: label 9 with 3 classes"):
        train(root, tmp_path / "c")


def test_ids_read_as_mattes_are_refused_each_time(tmp_path, caplog):
    root = write(tmp_path / "ids", [striped(0, 1)] * 12)
    for out in ("a", "b"):  # The second one finds all of them in the cache.
        with pytest.raises(SegzooError, match=r"the 10 mattes looked at is 1; .*\n.*target=labels"):
            train(root, tmp_path / out, data_options={"target": "alpha"}, loss="l1")
    train(write(tmp_path / "soft", [striped(0, 90)] * 12), tmp_path / "c",
          data_options={"target": "alpha"}, loss="l1")  # fmt: skip
    assert "0 everywhere" not in caplog.text
    train(write(tmp_path / "none", [striped(0)] * 12), tmp_path / "d",
          data_options={"target": "alpha"}, loss="l1")  # fmt: skip
    assert "the 10 mattes looked at are 0 everywhere" in caplog.text


class Floats:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        labels = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8)
        return Sample(torch.rand(3, 2, 2), labels, str(index))


def test_floats_without_a_range_are_spoken_of(caplog):
    for value_range, said in (((0.0, 255.0), True), ((0.0, 1.0), False)):
        info = DataInfo(identity="acme/x", version="1", classes=("a", "b"), palette=(),
                        target="labels", ignore_index=255, value_range=value_range)  # fmt: skip
        caplog.clear()
        look({"train": Batches(Floats(), info, size=(2, 2), batch_size=2, workers=0)}, info)
        assert ("`value_range` is 0..255: they are as good as black" in caplog.text) == said


def thin(number):
    """A mask with a line of class 1, one row thick, and a dot of class 2."""
    mask = np.zeros((40, 40), np.uint8)
    mask[3 + number * 2] = 1
    mask[4 + number, 1 + 3 * number] = 2
    return mask


def looked_at(root, size, caplog):
    source = DataSource("folder", root=root, options={"classes": "ground,crack,dot", "val": 0})
    data = source.split("train")
    info = source.info(data)
    caplog.clear()
    look({"train": Batches(data, info, size=(size, size), batch_size=2, workers=0)}, info)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    checked = check(source, size=(size, size))
    assert said == [finding.text for finding in checked if "class" in finding.kind]
    return said


def test_classes_that_are_lost_by_resizing_are_told_as_data_check_tells_them(tmp_path, caplog):
    root = write(tmp_path, [thin(number) for number in range(6)])
    assert looked_at(root, 40, caplog) == []
    (said,) = looked_at(root, 8, caplog)
    assert "`train`: at 8 x 8 no mask holds `dot`, which 6 of them do at their own size; " in said
    assert "`crack` is gone from 5 of the 6 masks that hold it at their own size, with 83%" in said
    assert "(6 masks looked at): too thin or small for this size; " in said
    assert said.endswith("a larger --size, or --crop, keeps more")


@pytest.mark.parametrize(
    ("mask", "size", "words"),
    [
        (striped(0, 1, 2, 2), 8, ""),  # Large enough.
        (striped(0, 1, 1, 1), 8, "no mask holds dot"),  # Of none to begin with.
        (np.where(np.indices((40, 40)).sum(0) == 20, 2, striped(0, 1, 1, 1)), 20, ""),
    ],
)
def test_what_is_not_lost_is_not_told_as_lost(tmp_path, caplog, mask, size, words):
    said = looked_at(write(tmp_path, [mask] * 4), size, caplog)
    assert [words in text and "own size" not in text for text in said] == [True] * bool(words)
