"""What lies below a folder, and what is passed over with the reason."""

import os

import pytest

from segzoo.data.listing import walk
from segzoo.errors import SegzooError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_files_and_folders_are_passed_over_and_said(tmp_path):
    touch(tmp_path, "a.png", "._a.png", ".DS_Store", "Thumbs.db", "deep/b.png")
    touch(tmp_path, ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/c.png", "deep/.cache/d.png")
    found = walk(tmp_path)
    assert found.files == {"": ["a.png"], "deep/": ["b.png"]}
    assert found.hidden == [
        *(".DS_Store", "._a.png", ".ipynb_checkpoints/", "Thumbs.db", "__MACOSX/", "deep/.cache/"),
    ]


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    touch(elsewhere, "x.png", "deep/y.png")
    touch(root, "own/a.png")
    (root / "images").symlink_to(elsewhere)
    (root / "own" / "again").symlink_to(elsewhere)
    (root / "own" / "up").symlink_to(root)
    (root / "own" / "above").symlink_to(tmp_path)
    (elsewhere / "deep" / "back").symlink_to(elsewhere)
    found = walk(root)
    linked = [path for path in found.paths() if path.endswith(("x.png", "y.png"))]
    assert len(linked) == 2
    assert "own/a.png" in list(found.paths())
    assert {"own/up", "own/above"} < set(found.links)
    assert len(found.links) == 4
    assert list(walk(root, deep=False).paths()) == []


def test_pipes_are_passed_over_and_links_to_nowhere_are_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = walk(tmp_path)
    assert (found.files, found.irregular) == ({"": ["gone.png"]}, ["pipe.png"])


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(SegzooError, match=r"file\.png.* cannot be listed: Not a directory"):
        touch(tmp_path, "file.png")
        walk(tmp_path / "file.png")
