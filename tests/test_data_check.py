"""`segzoo data check`: what is found to be wrong with a data set, and how it is said."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import run_here
from PIL import Image, ImageEnhance

from segzoo.data.checks.alike import fingerprint
from segzoo.data.checks.checking import check
from segzoo.data.checks.survey import survey
from segzoo.data.opening import DataSource
from segzoo.data.sample import Sample
from segzoo.data.standin import shapes
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.train.config import RunConfig
from segzoo.train.fit import open_splits


def source(root, name="folder", **options):
    return DataSource(name, root=root, options=options)


def problems(root, **options):
    return [(p.kind, p.split, p.key) for p in check(source(root, **options))]


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
    assert "sample 0: KeyError: 'boom' (in test_data_check.py" in found[0].text
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
