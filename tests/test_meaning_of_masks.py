"""What 255 stands for in the masks of a training it stands for when others are scored."""

import numpy as np
import pytest
from PIL import Image

from segzoo import SegzooError, fit
from segzoo.data.folder.dataset import build_folder
from segzoo.data.plugin import FolderOptions
from segzoo.inference.evaluation import evaluate_weights

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


def folder(root, *masks, **options):
    """Build a folder of one pair for each of some masks, given by the values of their stripes."""
    for number, values in enumerate(masks):
        stripes = np.array(values, np.uint8).repeat(12 // len(values))[:, None].repeat(12, 1)
        for kind, pixels in (("images", np.full((12, 12, 3), 9, np.uint8)), ("masks", stripes)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    return build_folder(root=root, split="train", options=FolderOptions(val=0.0, **options))


@pytest.mark.parametrize(
    "masks",
    [
        [(0, 255), (0, 1)],
        [(0, 255), (0, 255), (0, 255), (0, 1)],
        [(0, 1), (0, 1), (0,), (0, 255)],
        [(0, 255), (1,), (255,)],
    ],
)
@pytest.mark.parametrize("options", [{}, {"classes": "a,b"}])
def test_one_foreground_saved_in_two_ways_is_refused(tmp_path, masks, options):
    with pytest.raises(SegzooError, match=r"is 255 the class that is 1 there\?\n.*threshold=0"):
        folder(tmp_path, *masks, **options)
    both = folder(tmp_path, *masks, threshold=0)
    for number, values in enumerate(masks):
        foreground = sum(value > 0 for value in values) / len(values)
        assert float((both[number].target > 0).float().mean()) == foreground
    void = folder(tmp_path, *masks, ignore="255", **options)
    assert set(void[0].target.unique().tolist()) <= {0, 1, 255}


def test_255_beside_another_id_is_not_asked_about(tmp_path):
    assert not folder(tmp_path / "a", (0, 255), (0, 1), (0, 1, 255)).notices
    assert not folder(tmp_path / "b", (0, 1), (1, 255), (0, 255)).notices
    (notice,) = folder(tmp_path / "c", (0, 255), (0, 1), (0, 2)).notices
    assert "255 is ignored; if it stands for pixels that are not labelled" in notice


@pytest.mark.parametrize("masks", [[(0, 1), (0, 1)], [(0, 1, 2), (0,)], [(0, 100), (0, 127)]])
def test_a_threshold_above_every_value_is_refused(tmp_path, masks):
    highest = max(map(max, masks))
    with pytest.raises(SegzooError, match=rf"threshold=127: .* none .* highest is {highest}"):
        folder(tmp_path, *masks, threshold=127)
    with pytest.raises(SegzooError, match="none has a value above it"):
        folder(tmp_path, *masks, threshold=127, pair="images/{name}.*:masks/{name}.*")
    assert len(folder(tmp_path, *masks, threshold=highest - 1)) == len(masks)
    assert len(folder(tmp_path, (0,), (0, 255), threshold=127)) == len(masks)


@pytest.mark.parametrize("form", ["RGB.png", "P.png", "RGB.jpg", "RGBA.png", "RGB.webp"])
@pytest.mark.parametrize("options", [{"target": "alpha"}, {"threshold": 127}])
def test_colours_are_no_mattes(tmp_path, form, options):
    mode, ending = form.split(".")
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :8], pixels[8:, 8:] = (255, 0, 0), (0, 255, 0)
    for kind, of in (("images", pixels), ("masks", pixels), ("masks", pixels.max(2))):
        (tmp_path / kind).mkdir(exist_ok=True)
        picture = Image.fromarray(of)
        picture.convert(mode).save(tmp_path / kind / f"0.{ending}")
        if of.ndim == 3 and kind == "masks":
            with pytest.raises(SegzooError, match=r"masks/0\..* is in colour, and -O t"):
                build(tmp_path, **options)
    assert float(build(tmp_path, **options)[0].target.float().mean()) > 100


def build(root, **options):
    return build_folder(root=root, split="train", options=FolderOptions(val=0.0, **options))
