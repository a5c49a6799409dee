"""What 255 stands for in the masks of a training it stands for when others are scored."""

import numpy as np
import pytest
from PIL import Image

from segzoo import SegzooError, fit
from segzoo.evaluation import evaluate_weights

HOW = {
    "model": "linknet", "model_options": {"width": 4}, "data": "folder", "size": 32, "epochs": 1,
    "batch_size": 4, "workers": 0, "progress": False, "device": "cpu",
}  # fmt: skip


def write(root, *values):
    """Write 6 pairs whose masks are stripes of some values."""
    stripes = np.array(values, np.uint8).repeat(40 // len(values))[:, None].repeat(40, 1)
    for number in range(6):
        for kind, pixels in (
            ("images", np.full((*stripes.shape, 3), 90 + number, np.uint8)),
            ("masks", stripes),
        ):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    return root


def trained(root, out, **options):
    return fit(**HOW, root=str(root), out=str(out), data_options=options).weights


def score(weights, root, **how):
    return evaluate_weights(weights, root=str(root), split="val", device="cpu", **how)["scores"]


def test_what_was_not_labelled_does_not_become_a_class(tmp_path, caplog):
    weights = trained(write(tmp_path / "ids", 0, 1, 255), tmp_path / "run", classes="a,b")
    two = write(tmp_path / "two", 0, 255)
    assert score(weights, two).keys() >= {"mean_iou", "iou/a"}
    assert "255" not in caplog.text
    # Nothing is known of another data set's options, as this one may be meant.
    named = {"data": "folder", "options": {"classes": "a,b"}}
    with pytest.raises(SegzooError, match=r"255 .* is read as the class `b`.*\n.*-O ignore=255"):
        score(weights, two, **named)
    for said in ({"ignore": 255}, {"threshold": 127}):
        score(weights, two, data="folder", options={"classes": "a,b", **said})


def test_what_was_a_class_is_not_left_out(tmp_path, caplog):
    weights = trained(write(tmp_path / "two", 0, 255), tmp_path / "run", classes="a,b")
    assert "255 is read as the class `b`" in caplog.text
    ids = write(tmp_path / "ids", 0, 1, 255)
    with pytest.raises(SegzooError, match=r"label 255 with 2 classes .*\n.*-O ignore=255"):
        score(weights, ids)
    caplog.clear()
    score(weights, ids, options={"ignore": 255})
    assert "255 in these masks is not scored" in caplog.text
    score(weights, write(tmp_path / "plain", 0, 1))


def test_masks_of_the_training_that_said_nothing_are_spoken_of(tmp_path, caplog):
    weights = trained(write(tmp_path / "plain", 0, 1), tmp_path / "run", classes="a,b")
    assert "255" not in caplog.text
    score(weights, write(tmp_path / "ids", 0, 1, 255))
    assert "255" not in caplog.text
    score(weights, write(tmp_path / "two", 0, 255))
    assert "255 in these masks is the class `b`" in caplog.text
