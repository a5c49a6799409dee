"""`segzoo data stats | check | preview`: statistics, and what the commands print."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import run_here
from PIL import Image

from segzoo.cli.data import _print_findings
from segzoo.data.checks.checking import Finding, check
from segzoo.data.checks.survey import survey
from segzoo.data.opening import DataSource
from segzoo.data.standin import shapes
from segzoo.host.progress import Waiting, _Log, waiting
from segzoo.train.config import RunConfig
from segzoo.train.fit import open_splits


def source(root, name="folder", **options):
    return DataSource(name, root=root, options=options)


def test_statistics_are_those_of_the_files(split_root):
    stats = survey(source(split_root))
    assert {name: record.pictures for name, record in stats.items()} == {"train": 4, "val": 2}
    masks = [np.asarray(Image.open(p)) for p in sorted((split_root / "masks/train").iterdir())]
    images = [np.asarray(Image.open(p)) / 255 for p in (split_root / "images/train").iterdir()]
    train = stats["train"]
    for index, share in enumerate(train.shares.values()):
        assert share == pytest.approx(np.mean([mask == index for mask in masks]), abs=1e-9)
    assert list(train.pictures_with.values()) == [
        sum(bool((mask == index).any()) for mask in masks) for index in range(3)
    ]
    assert train.mean == pytest.approx(np.mean(images, axis=(0, 1, 2)), abs=1e-9)
    assert train.std == pytest.approx(np.std(np.stack(images), axis=(0, 1, 2)), abs=1e-9)
    assert (train.smallest, train.largest, train.ignored) == ((80, 96), (80, 96), 0)


def test_ignored_pixels_and_soft_mattes_are_counted(split_root, hk_root):
    mask = np.array(Image.open(split_root / "masks/train/0.png"))
    mask[:40] = 255
    Image.fromarray(mask).save(split_root / "masks/train/0.png")
    assert survey(source(split_root))["train"].ignored == pytest.approx(0.5 / 4)
    soft = survey(source(hk_root, "hk", matte="soft"))["test"]
    assert 0.1 < soft.shares["person"] < 0.9
    assert sum(soft.shares.values()) == pytest.approx(1)


LEFT_OUT = "folder: train: left out: 1 image without a mask: 2"


DOUBT = "folder: masks of 0 and 255 alone: 255 is read as the class `b`"


def test_what_a_data_set_says_of_itself_is_said_alike_by_training_check_and_stats(
    split_root, caplog
):
    (split_root / "masks/train/2.png").unlink()
    for mask in split_root.glob("masks/*/*.png"):
        Image.fromarray(np.array(Image.open(mask)).astype(bool)).convert("L").save(mask)
    opened = source(split_root, classes="a,b")
    assert opened.split("val").notices == opened.split("train").notices
    found = list(check(opened))
    (doubt,) = (p.text for p in found if p.kind == "notice")
    assert doubt.startswith(DOUBT)
    # Which files are left out, it lists one by one, and does not count them besides.
    assert [p.key for p in found if p.kind == "unpaired"] == ["2"]
    said = [LEFT_OUT, doubt]
    caplog.clear()
    survey(opened)
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == said
    caplog.clear()
    open_splits(RunConfig(data="folder", root=str(split_root), data_options={"classes": "a,b"}))
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == said


def test_the_commands_print_and_exit_by_what_they_find(split_root, tmp_path, monkeypatch):
    root = ("--root", str(split_root))
    stats = run_here("data", "stats", "folder", *root)
    assert "class_1" in stats.stdout and " 80x96 " in stats.stdout
    assert json.loads(run_here("data", "stats", "folder", *root, "--json").stdout)["val"]
    sound = run_here("data", "check", "folder", *root)
    assert (sound.returncode, sound.stdout) == (0, "nothing wrong was found\n")
    shutil.copy(split_root / "images/train/3.png", split_root / "images/val/again.png")
    shutil.copy(split_root / "masks/train/3.png", split_root / "masks/val/again.png")
    found = run_here("data", "check", "folder", *root)
    assert found.returncode == 1
    assert "problem: leak\n  train 3: looks the same as `again` of `val`\n" in found.stdout
    assert "1 leak" in found.stdout
    out = str(tmp_path / "sheet.png")
    assert run_here("data", "preview", "folder", *root, "-o", out, "--size", "40").returncode == 0
    monkeypatch.chdir(tmp_path)
    made = [run_here("data", "preview", "folder", *root) for _ in range(2)]
    assert [each.stderr.splitlines()[-1] for each in made] == [
        "written: runs/preview.png", "written: runs/preview-2.png",
    ]  # fmt: skip
    wrong = run_here("data", "preview", "folder", *root, "-o", out, "--augment", "stronk")
    assert "did you mean `strong`" in wrong.stderr


@pytest.mark.parametrize("columns", ["80", ""])
def test_findings_are_a_list_by_kind_with_each_hint_once(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    kind, hint, text = "mislabelled", "name every class " * 9, "long words " * 12
    found = [
        Finding(grade="problem", kind=kind, split="train", key=key, text=text, hint=hint)
        for key in "ab"
    ]
    notice = Finding(grade="notice", kind="notice", split="", key="", text="said")
    _print_findings([notice, *found])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= int(columns or 200)
    assert shown.startswith("problem: mislabelled\n  train a: long words long")
    assert " ".join(shown.split()).count(" ".join(hint.split())) == 1
    assert lines[-4:] == ["notice", "  said", "", "2 mislabelled, 1 notice"]


def test_a_pattern_of_groups_is_not_advised_to_who_gives_it(tmp_path):
    for number in range(8):
        folder = tmp_path / ("one" if number < 4 else "two")
        for kind, made in zip(("images", "masks"), shapes(number), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            made.save(folder / kind / f"{number}.png")
    words = ("data", "check", "folder", "--root", str(tmp_path))
    refused = run_here(*words)
    assert "-O group='{group}/*'" in refused.stdout
    told = run_here(*words, "-O", "group={group}/*")
    assert told.stdout == "nothing wrong was found\n"
    first = f"train 8 pairs in {tmp_path}, such as one/images/0.png + one/masks/0.png"
    assert first in told.stderr


def test_statistics_say_their_units_and_one_size_once(split_root):
    mask = np.array(Image.open(split_root / "masks/train/1.png"))
    mask[0, 0] = 255
    Image.fromarray(mask).save(split_root / "masks/train/1.png")
    shown = run_here("data", "stats", "folder", "--root", str(split_root)).stdout
    height, width = mask.shape
    assert f"{height}x{width}" in shown and f"{height}x{width} to" not in shown
    assert "mean (R G B of 0..1)" in shown
    ignored = next(line for line in shown.splitlines() if line.strip().startswith("ignored"))
    assert [cell for cell in ignored.split() if "(" in cell] == ["(1)", "(0)"]


def test_without_a_command_there_is_help_alone():
    told = run_here("data")
    text = told.stdout + told.stderr
    assert text.count("Usage:") == 1 and "Missing command" not in text


def test_a_root_that_is_none_is_refused_before_torch_is_imported(tmp_path):
    for words in (("data", "check", "folder"), ("train", "--model", "unet", "--data", "folder")):
        code = "import sys; sys.modules['torch'] = None; from segzoo.cli import main; main()"
        command = [sys.executable, "-c", code, *words, "--root", str(tmp_path / "none")]
        told = subprocess.run(command, capture_output=True, text=True)
        assert told.returncode == 2
        assert "none: no such folder" in told.stderr


def test_a_terminal_sees_what_is_being_read(split_root, monkeypatch):
    said = []

    class Watched(Waiting):
        def says(self, text, total=None):
            said.append((text, total))

    list(check(source(split_root), shown=Watched()))
    assert said == [("reading `train`", 4), ("reading `val`", 2), ("comparing pictures", None)]
    with waiting("starting") as shown:  # No terminal: nothing is drawn.
        assert type(shown) is _Log


def test_the_line_is_drawn_on_a_terminal_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    with waiting("starting") as shown:
        shown.says("reading [things]", 3)
        assert list(shown.through("abc")) == ["a", "b", "c"]
        logging.getLogger("segzoo").warning("meanwhile")
    assert "starting" in err.getvalue() and "reading [things]" in err.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    with waiting("starting") as shown:
        assert type(shown) is _Log


@pytest.mark.parametrize(
    "words",
    [
        ("data", "stats", "folder", "--sample"),
        ("data", "check", "folder", "--sample"),
        ("evaluate", "none.safetensors"),
    ],
)
def test_the_largest_picture_can_be_stated(words, monkeypatch):
    monkeypatch.setenv("SEGZOO_MAX_PIXELS", "1000000")
    done = run_here(*words, "--max-pixels", "100")
    assert os.environ["SEGZOO_MAX_PIXELS"] == "100"
    if words[0] == "data":
        assert "up to 0.0001 million are read" in done.stdout + done.stderr
