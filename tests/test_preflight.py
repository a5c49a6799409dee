"""Wrong data is refused before the first step."""

import logging

import numpy as np
import pytest
from PIL import Image

from segzoo import SegzooError, fit

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
