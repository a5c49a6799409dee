"""What two classes are called that nothing names: alike for every form of masks, old runs too."""

import pytest
from helpers import stop_after
from test_meaning_of_masks import HOW, score, write

from segzoo import SegzooError, fit
from segzoo.data.folder.dataset import build_folder
from segzoo.data.labels import reading as labels
from segzoo.data.plugin import FolderOptions
from segzoo.errors import StoppedError
from segzoo.report.comparison import compare_runs

NAMES = ("background", "foreground")


def train(root, out):
    return fit(**HOW, root=str(root), out=str(out))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 255), (0,), (1,)])
def test_two_classes_have_the_same_names(tmp_path, values):
    root = write(tmp_path / "set", *values)
    built = build_folder(root=root, split="train", options=FolderOptions())
    assert built.classes == NAMES


def test_three_are_numbered_and_a_list_names_two(tmp_path):
    def classes(root, **options):
        return build_folder(root=root, split="train", options=FolderOptions(**options)).classes

    assert classes(write(tmp_path / "3", 0, 1, 2)) == ("class_0", "class_1", "class_2")
    assert classes(write(tmp_path / "2", 0, 1), classes="land,sea") == ("land", "sea")


def test_weights_of_the_former_names_are_scored_and_compared(tmp_path, caplog, monkeypatch):
    ids, binary = write(tmp_path / "ids", 0, 1), write(tmp_path / "binary", 0, 255)
    with monkeypatch.context() as patch:
        patch.setattr(labels, "unnamed_classes", lambda _: ("class_0", "class_1"))
        old = train(ids, tmp_path / "old").weights
    new = train(binary, tmp_path / "new").weights
    caplog.clear()
    assert score(old, ids)["mean_iou"] == score(new, binary)["mean_iou"]
    assert "compared by their order" not in caplog.text
    first, second = compare_runs([tmp_path / "old", tmp_path / "new"])
    assert first["group"] == second["group"]
    other = build_folder(root=ids, split="val", options=FolderOptions(classes="land,sea"))
    assert other.classes == ("land", "sea")
    score(old, ids, options={"classes": "land,sea"})
    assert "compared by their order" in caplog.text


@pytest.mark.parametrize("names", [("class_0", "class_1"), ("land", "sea")])
def test_a_run_of_the_former_names_goes_on_and_no_other(tmp_path, monkeypatch, names):
    root = write(tmp_path / "ids", 0, 1)
    with monkeypatch.context() as patch:
        patch.setattr(labels, "unnamed_classes", lambda _: names)
        stop_after(patch, 1)
        with pytest.raises(StoppedError):
            train(root, tmp_path / "run")
    if names[0] == "land":
        with pytest.raises(SegzooError, match="other pictures, classes or options"):
            fit(resume=tmp_path / "run", progress=False)
    else:
        assert fit(resume=tmp_path / "run", progress=False).epochs == 1
