"""`segzoo data stats | check | preview`."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import run_here
from PIL import Image, ImageEnhance

from segzoo import preview
from segzoo.cli.data import _print_findings
from segzoo.config import RunConfig
from segzoo.data.alike import fingerprint
from segzoo.data.checking import Finding, check
from segzoo.data.opening import DataSource
from segzoo.data.sample import Sample
from segzoo.data.standin import shapes
from segzoo.data.survey import survey
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.model import normalization
from segzoo.preview import TIMES, draw_preview
from segzoo.progress import Waiting, _Log, waiting
from segzoo.train.fit import open_splits


def source(root, name="folder", **options):
    return DataSource(name, root=root, options=options)


def problems(root, **options):
    return [(p.kind, p.split, p.key) for p in check(source(root, **options))]


@pytest.fixture
def split_root(tmp_path):
    """Write 4 training and 2 validation pairs of shapes."""
    for split, indices in (("train", range(4)), ("val", range(4, 6))):
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for index in indices:
            image, labels = shapes(index)
            image.save(tmp_path / "data" / "images" / split / f"{index}.png")
            labels.save(tmp_path / "data" / "masks" / split / f"{index}.png")
    return tmp_path / "data"


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


def test_nothing_is_wrong_with_sound_data(split_root):
    assert problems(split_root) == []


def test_broken_and_mislabelled_pictures_are_named(split_root):
    file = split_root / "images/train/1.png"
    file.write_bytes(file.read_bytes()[:300])
    mask = np.array(Image.open(split_root / "masks/val/4.png"))
    assert problems(split_root) == [("broken", "train", "1")]
    mask[0, 0] = 9
    Image.fromarray(mask).save(split_root / "masks/val/4.png")
    found = problems(split_root, classes="a,b,c,d,e,f,g,h,i,j", ignore=0)
    assert ("missing class", "train", "") in found


def test_all_broken_masks_and_lone_files_are_listed(split_root):
    for number in (0, 2):
        (split_root / f"masks/train/{number}.png").write_bytes(b"no picture")
    (split_root / "masks/val/5.png").unlink()
    (split_root / "images/train/3.png").unlink()
    assert [p for p in problems(split_root) if p[0] not in ("missing class", "notice")] == [
        ("unpaired", "train", "3"),
        ("broken", "train", "0"),
        ("broken", "train", "2"),
        ("unpaired", "val", "5"),
    ]


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


def only_train(monkeypatch, opened, dataset):
    def split(name):
        if name != "train":
            raise MissingSplitError(f"no {name}")
        return dataset

    monkeypatch.setattr(opened, "split", split)


class Faulty:
    classes, palette, target, ignore_index = ("a", "b"), (), "labels", 255

    def __init__(self, keys):
        if keys:
            self.keys = ["one", "two", "three", "four"]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 0:
            raise KeyError("boom")
        if index == 1:
            return torch.zeros(3, 8, 8, dtype=torch.uint8), None
        image = torch.zeros(3, 8, 8) + index
        return Sample(image / index * 300, torch.ones(8, 8, dtype=torch.uint8), f"k{index}")


@pytest.mark.parametrize("keys", [True, False])
def test_what_a_data_set_raises_is_a_problem(split_root, monkeypatch, keys):
    opened = source(split_root)
    only_train(monkeypatch, opened, Faulty(keys))
    found = list(check(opened))
    assert [(p.kind, p.key) for p in found[:3]] == [
        ("broken", "one" if keys else "#0"),
        ("broken", "two" if keys else "#1"),
        ("mislabelled", "k2"),
    ]
    assert "sample 0: KeyError: 'boom' (in test_data_commands.py" in found[0].text
    assert "`k2`: an image with values 300..300" in found[2].text
    with pytest.raises(SegzooError, match="sample 0: KeyError"):
        survey(opened)


class Channels(Faulty):
    def __getitem__(self, index):
        image = torch.zeros(4 if index == 2 else 3, 8, 8, dtype=torch.uint8)
        return Sample(image, torch.ones(8, 8, dtype=torch.uint8), f"k{index}")


def test_a_picture_of_other_channels_is_a_problem(split_root, monkeypatch):
    opened = source(split_root)
    only_train(monkeypatch, opened, Channels(keys=False))
    assert next((p.kind, p.key) for p in check(opened)) == ("mislabelled", "k2")
    with pytest.raises(SegzooError, match="`k2` has 4 channels, the first picture .*`k0`, has 3"):
        survey(opened)


class FaultyStream:
    classes, palette, target, ignore_index = ("a", "b"), (), "labels", 255

    def __iter__(self):
        yield Sample(torch.zeros(3, 8, 8).byte(), torch.ones(8, 8).byte(), "fine")
        raise ValueError("boom")


def test_a_stream_that_raises_ends_there(split_root, monkeypatch):
    opened = source(split_root)
    only_train(monkeypatch, opened, FaultyStream())
    assert next((p.kind, p.key) for p in check(opened)) == ("broken", "#1")


def test_copies_are_found_in_other_files_sizes_and_light(split_root):
    photo = Image.open(split_root / "images/train/2.png")
    half = ImageEnhance.Brightness(photo.resize((72, 60))).enhance(0.8)
    half.save(split_root / "images/val/copy.jpg", quality=80)
    Image.open(split_root / "masks/train/2.png").resize((72, 60), Image.Resampling.NEAREST).save(
        split_root / "masks/val/copy.png"
    )
    shutil.copy(split_root / "images/train/3.png", split_root / "images/train/again.png")
    shutil.copy(split_root / "masks/train/3.png", split_root / "masks/train/again.png")
    found = list(check(source(split_root)))
    assert {(p.kind, p.split, p.key) for p in found} == {
        ("leak", "train", "2"),
        ("duplicate", "train", "3"),
    }
    assert "`copy` of `val`" in next(p.text for p in found if p.kind == "leak")


def test_a_class_that_no_training_picture_shows_is_told(split_root):
    assert problems(split_root, classes="ground,disc,box,star") == [("missing class", "train", "")]


def test_fingerprints_of_other_pictures_differ():
    marks = [
        fingerprint(torch.as_tensor(np.array(shapes(i)[0])).permute(2, 0, 1)) for i in range(12)
    ]
    bits = [(a[0] ^ b[0]).bit_count() for n, a in enumerate(marks) for b in marks[n + 1 :]]
    assert min(bits) > 8


def test_the_preview_shows_every_picture_and_its_changes(split_root, tmp_path):
    out = tmp_path / "sheet.png"
    draw_preview(source(split_root), out, size=(40, 48), augment="strong", count=3)
    draw_preview(
        source(split_root), tmp_path / "again.png", size=(40, 48), augment="strong", count=3
    )
    assert out.read_bytes() == (tmp_path / "again.png").read_bytes()
    draw_preview(source(split_root), tmp_path / "none.png", size=(40, 48), augment="none", count=3)
    assert out.read_bytes() != (tmp_path / "none.png").read_bytes()
    with Image.open(out) as sheet:
        assert sheet.width > 8 * 180 and sheet.height > 3 * 150
    with pytest.raises(SegzooError, match="no `test` split"):
        draw_preview(source(split_root), out, split="test")


def shown_by(monkeypatch, data, augment, **how):
    """Return what the preview puts on its sheet: titles, the first row, the heading."""
    sheets: list[Any] = []
    monkeypatch.setattr(preview, "save_grid", lambda rows, t, *a, **k: sheets.append((t, rows, k)))
    draw_preview(data, Path("unused.png"), size=(40, 48), augment=augment, count=2, **how)
    titles, rows, more = sheets[0]
    return list(titles), rows[0], more


@pytest.mark.parametrize("target", ["labels", "alpha"])
def test_augmented_pictures_are_shown_plain_beside_their_targets(split_root, monkeypatch, target):
    for path in split_root.glob("*/*/*.png"):  # White pictures; masks that are white on the left.
        picture = Image.new("L" if "masks" in path.parts else "RGB", (96, 80), "white")
        if picture.mode == "L":
            picture.paste(0, (48, 0, 96, 80))
        picture.save(path)
    data = source(split_root, target=target)
    monkeypatch.setattr(preview, "augmented", lambda name, images, *rest: (images / 2, rest[0]))
    titles, row, more = shown_by(monkeypatch, data, "light")
    assert titles[:4] == ["picture", "target", "augmented 1", "target 1"]
    assert len(titles) == len(set(titles)) == len(row) == 2 + 2 * TIMES
    assert more["heading"] == "train: 2 of 4 pictures, 40x48, augment light"
    for picture, changed in zip(row[2::2], row[3::2], strict=True):
        mean, std = normalization("auto", 3)
        half = [255 * (m + ((1 - m) / s) / 2 * s) for m, s in zip(mean, std, strict=True)]
        assert np.asarray(picture)[0, 0] == pytest.approx(half, abs=1.5)
        assert np.asarray(changed)[0, 0].tolist() == np.asarray(row[1])[0, 0].tolist()


def test_without_augmentation_the_sheet_has_the_pictures_and_targets_alone(split_root, monkeypatch):
    titles, row, more = shown_by(monkeypatch, source(split_root), "none", split="val")
    assert (titles, len(row)) == (["picture", "target"], 2)
    assert more["heading"].startswith("val: ")


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


def refuse_names(root):
    for mask in root.glob("masks/*/*.png"):
        Image.fromarray(np.array(Image.open(mask)) + np.uint8(40)).save(mask)


def refuse_colours(root):
    for mask in root.glob("masks/*/*.png"):
        Image.open(mask).convert("L").convert("RGB").point(lambda v: v * 90).save(mask)


def refuse_twins(root):
    Image.open(root / "images/train/0.png").save(root / "images/train/0.jpg")


def refuse_void(root):
    for mask in root.glob("masks/*/*.png"):
        Image.open(mask).point(lambda v: 255).save(mask)


@pytest.mark.parametrize("spoil", [refuse_names, refuse_colours, refuse_twins, refuse_void])
def test_a_refusal_is_said_as_training_says_it_and_the_rest_looked_at(split_root, spoil):
    spoil(split_root)
    options = {"classes": "a,b,c"} if spoil is refuse_names else {}
    config = RunConfig(data="folder", root=str(split_root), data_options=options)
    with pytest.raises(SegzooError) as refused:
        open_splits(config)
    found = [p for p in check(source(split_root, **options)) if p.grade == "problem"]
    assert [(p.kind, p.text, p.hint) for p in found] == [
        ("refused", refused.value.message, refused.value.hint)
    ]
    pairs = [word for pair in options.items() for word in ("-O", "=".join(pair))]
    told = run_here("data", "check", "folder", "--root", str(split_root), "--json", *pairs)
    assert told.returncode == 1
    assert refused.value.message in {row["text"] for row in json.loads(told.stdout)}


def test_stray_values_are_named_with_file_value_and_pixels(split_root):
    strayed = split_root / "masks/train/1.png"
    mask = np.array(Image.open(strayed))
    mask[0, :3] = 7
    Image.fromarray(mask).save(strayed)
    (found,) = [p for p in check(source(split_root, classes="a,b,c")) if p.grade == "problem"]
    assert (found.kind, found.split, found.key) == ("broken", "train", "1")
    assert f"{strayed}: label 7 with 3 classes (0..2, 255 is ignored), in 3 pixels" == found.text


def test_what_training_refuses_on_a_look_is_a_problem(split_root):
    def kinds(**options):
        return {p.kind for p in check(source(split_root, **options)) if p.grade == "problem"}

    assert kinds(target="alpha") == {"class ids"}
    for mask in split_root.glob("masks/*/*.png"):
        Image.open(mask).point(lambda v: 0).save(mask)
    assert kinds(classes="a,b", ignore=0) == {"nothing to learn"}


class RefusedStream(FaultyStream):
    notices = ("some shards are missing",)
    classes = ("a",)


class EmptyStream(FaultyStream):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (RefusedStream, "names 1 classes: ('a',)"),
        (EmptyStream, "yields no pictures in this split"),
        (FaultyStream, "sample 1: ValueError: boom (in"),
    ],
)
def test_streams_are_checked_as_training_reads_them(split_root, monkeypatch, stream, text):
    opened = source(split_root)
    only_train(monkeypatch, opened, stream())
    found = list(check(opened))
    assert [text in p.text for p in found if p.grade == "problem"] == [True]
    assert [p.text for p in found if p.grade == "notice"] == list(getattr(stream, "notices", ()))


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
