"""Listing pictures, remembering what was found, and names in little memory."""

import os
import pickle
import time

import numpy as np
import pytest

from segzoo.data import index as indexing
from segzoo.data.folder import finding
from segzoo.data.folder.finding import Where, find_layout
from segzoo.data.index import Index
from segzoo.data.names import Names

SETTINGS = ["folder", None, None, None, None, "auto", None, ()]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(indexing, "LARGE", 1)
    monkeypatch.setattr(indexing, "SETTLED_NS", 0)
    for folder in ("images", "masks"):
        for name in ("b", "a", "deep/c"):
            path = tmp_path / "data" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "data"


def found(root):
    pairs = find_layout(root, Where()).pairs["train"]
    return [tuple(str(p.relative_to(root)) for p in pairs.files(i)) for i in range(len(pairs.keys))]


def test_pictures_come_sorted_without_hidden_files_and_others(root):
    for name in ("._a.png", "notes.txt", "A.JPG", "png"):
        (root / "images" / name).touch()
    assert Index((root,), "").pictures(root / "images") == ["A.JPG", "a.png", "b.png", "deep/c.png"]
    assert Index((root,), "").pictures(root / "images", deep=False) == ["A.JPG", "a.png", "b.png"]


def test_what_is_no_file_is_left_out_and_links_followed(root, tmp_path):
    images = root / "images"
    os.mkfifo(images / "pipe.png")
    (images / "to_pipe.png").symlink_to(images / "pipe.png")
    (images / "to_folder.png").symlink_to(images / "deep")
    (images / "link.png").symlink_to(images / "a.png")
    # Links to nowhere are not passed over: reading them names them.
    (images / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (images / "loop.png").symlink_to(images / "loop.png")
    found = Index((root,), "").pictures(images)
    assert found == ["a.png", "b.png", "deep/c.png", "gone.png", "link.png", "loop.png"]


def test_folders_sort_before_names_that_begin_like_them(tmp_path):
    for name in ("a-b/x.png", "a/x.png", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = Index((tmp_path,), "").pictures(tmp_path)
    assert listed == [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*.png"))]


def test_what_was_found_is_found_again_without_looking(root, monkeypatch):
    first = found(root)
    assert [image for image, _ in first] == ["images/a.png", "images/b.png", "images/deep/c.png"]

    def looked(*_, **__):
        raise AssertionError

    monkeypatch.setattr(finding, "walk", looked)
    assert found(root) == first


@pytest.mark.parametrize("name", ["d.png", "deep/d.png"])
def test_a_file_that_comes_or_goes_is_seen(root, name):
    before = found(root)
    for folder in ("images", "masks"):
        (root / folder / name).touch()
    assert len(found(root)) == len(before) + 1
    (root / "masks" / name).unlink()
    assert found(root) == before


def test_folders_just_changed_are_not_remembered(root, monkeypatch):
    monkeypatch.setattr(indexing, "SETTLED_NS", 10**12)
    found(root)
    assert not Index((root,), SETTINGS).path.exists()


def test_a_damaged_index_is_made_anew(root):
    before = found(root)
    path = Index((root,), SETTINGS).path
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:50] + b"\xff" * 50 + whole[100:]):
        path.write_bytes(damaged)
        assert found(root) == before
        assert path.read_bytes() == whole or path.stat().st_size == len(whole)


def test_small_folders_are_not_remembered(root, monkeypatch):
    monkeypatch.setattr(indexing, "LARGE", 4)
    found(root)
    assert not Index((root,), SETTINGS).path.exists()


def test_names_are_a_sequence_of_texts():
    texts = ["a", "", "grün", os.fsdecode(b"caf\xe9"), "z" * 300]
    names = Names(texts)
    assert list(names) == texts
    assert names == texts
    assert names != texts[:-1]
    assert names[1:4] == texts[1:4]
    assert [names[i] for i in range(-5, 5)] == texts + texts
    assert names + names == texts + texts
    assert texts[2] in names
    assert pickle.loads(pickle.dumps(names)) == names
    with pytest.raises(IndexError):
        names[5]
    assert list(Names([])) == []


def test_names_take_little_memory():
    names = Names(f"{i:012d}" for i in range(10_000))
    assert names.text.nbytes + names.ends.nbytes == 10_000 * (12 + 8)
    assert isinstance(names.ends, np.ndarray)


def test_many_names_are_quick_to_go_through():
    names = Names(str(i) for i in range(200_000))
    start = time.perf_counter()
    assert sum(map(len, names)) == names.ends[-1]
    assert time.perf_counter() - start < 30, "not quadratic"
