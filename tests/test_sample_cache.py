"""Samples kept on disk: read once, never outdated, sound, bounded."""

import json
import logging
import os
import shutil
from pathlib import Path

import forked
import numpy as np
import pytest
import torch

from segzoo.data.loading import cache as caching
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.cache import caches
from segzoo.data.sample import DataInfo, Sample, voc_palette

COUNT = 6
FIRST = 1  # Each run reads a picture to know what they are like.


class Files:
    """Pictures of 12 x 16 as files of bytes; `reads` counts how often one was read."""

    def __init__(self, root, count=COUNT):
        self.root, self.keys, self.reads = root, [f"k{i}" for i in range(count)], 0

    def __len__(self):
        return len(self.keys)

    def files(self, index):
        return self.root / f"{index}.image", self.root / f"{index}.mask"

    def __getitem__(self, index):
        self.reads += 1
        image, mask = (np.fromfile(path, np.uint8) for path in self.files(index))
        return Sample(
            torch.from_numpy(image.reshape(3, 12, 16)),
            torch.from_numpy(mask.reshape(12, 16)),
            self.keys[index],
        )


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(caching, "SETTLED_NS", 0)
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    root.mkdir()
    for index in range(COUNT):
        rng.integers(0, 256, 3 * 12 * 16, np.uint8).tofile(root / f"{index}.image")
        rng.integers(0, 3, 12 * 16, np.uint8).tofile(root / f"{index}.mask")
    return Files(root)


def info(**changes):
    given = {
        "identity": "acme/x", "version": "1", "classes": ("a", "b", "c"),
        "palette": voc_palette(3), "target": "labels", "ignore_index": 255,
    }  # fmt: skip
    return DataInfo(**{**given, **changes})


def batches(dataset, **changes):
    how = {"size": (8, 8), "batch_size": 4, "workers": 0, "info": info(), **changes}
    return Batches(dataset, how.pop("info"), **how)


def epoch(made, number=0):
    images, targets, keys = zip(*made.epoch(number), strict=True)
    return torch.cat(images), torch.cat(targets), [key for some in keys for key in some]


def same(one, two):
    return torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and one[2] == two[2]


def folder():
    (found,) = caches().iterdir()
    return found


def test_a_picture_is_read_once_and_not_again_by_another_run(data):
    plain = epoch(batches(Files(data.root), cache="none"))
    made = batches(data)
    assert same(epoch(made), plain)
    assert data.reads == FIRST + COUNT
    assert same(epoch(made, 1), plain)
    assert data.reads == FIRST + COUNT
    again = Files(data.root)
    assert same(epoch(batches(again)), plain)
    assert again.reads == FIRST
    assert same(
        epoch(batches(again, shuffle=True, seed=3)),
        epoch(batches(data, shuffle=True, seed=3, cache="none")),
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_fill_it_as_well(data, workers):
    epoch(batches(data, workers=workers))
    again = Files(data.root)
    epoch(batches(again, workers=workers))
    assert again.reads == FIRST


def test_an_edit_is_seen_though_size_and_time_stay(data):
    epoch(batches(data))
    mask = data.root / "2.mask"
    before = mask.stat()
    mask.write_bytes(bytes(12 * 16))
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = Files(data.root)
    _, targets, _ = epoch(batches(again))
    assert not targets[2].any()
    assert again.reads == FIRST + 1
    assert same(epoch(batches(Files(data.root))), epoch(batches(data, cache="none")))


def test_a_file_just_written_is_not_trusted_by_the_next_run(data, monkeypatch):
    monkeypatch.setattr(caching, "SETTLED_NS", 10**12)
    made = batches(data)
    epoch(made)
    epoch(made, 1)
    assert data.reads == FIRST + COUNT  # this run has seen it after it was written
    again = Files(data.root)
    epoch(batches(again))
    assert again.reads == FIRST + COUNT


@pytest.mark.parametrize("name", ["images.bin", "targets.bin", "index.bin"])
def test_a_flipped_bit_anywhere_is_found(data, name, caplog):
    plain = epoch(batches(data))
    path = folder() / name
    stored = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for place in rng.choice(len(stored), 40, replace=False):
        if name == "index.bin" and place % caching.RECORD.size >= 20:
            continue  # padding
        changed = bytearray(stored)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        again = Files(data.root)
        assert same(epoch(batches(again)), plain)
        assert again.reads in (FIRST, FIRST + 1), place
    assert "reading `k" in caplog.text


def test_half_a_file_is_completed(data):
    plain = epoch(batches(data))
    path = folder() / "images.bin"
    path.write_bytes(path.read_bytes()[:700])
    assert same(epoch(batches(Files(data.root))), plain)
    assert same(epoch(batches(Files(data.root))), plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (8, 9)},
        {"info": info(version="2")},
        {"info": info(options={"a": 1})},
        {"info": info(threshold=1)},
    ],
)
def test_other_settings_have_a_cache_of_their_own(data, changes):
    epoch(batches(data))
    again = Files(data.root)
    epoch(batches(again, **changes))
    assert again.reads == FIRST + COUNT
    assert len(list(caches().iterdir())) == 2


def test_other_pictures_have_a_cache_of_their_own(data, tmp_path):
    epoch(batches(data))
    fewer = Files(data.root, count=4)
    assert epoch(batches(fewer))[2] == fewer.keys
    elsewhere = tmp_path / "moved"
    data.root.rename(elsewhere)
    moved = Files(elsewhere)
    epoch(batches(moved))
    assert moved.reads == FIRST + COUNT


def test_a_full_disk_costs_time_alone(data, monkeypatch, caplog):
    def put(self, name, index, array):
        if index >= 3:
            raise OSError(28, "No space left on device")
        return keep(self, name, index, array)

    keep = caching.SampleCache._put
    monkeypatch.setattr(caching.SampleCache, "_put", put)
    made = batches(data)
    plain = epoch(batches(Files(data.root), cache="none"))
    assert same(epoch(made), plain)
    assert same(epoch(made, 1), plain)
    assert caplog.text.count("No space left") == 1


def test_a_folder_that_cannot_be_written_is_done_without(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "file"))
    made = batches(data)
    epoch(made)
    epoch(made, 1)
    assert data.reads == FIRST + COUNT


def test_without_a_cache_nothing_is_written_and_all_read(data):
    for how, reads in (("none", FIRST + 2 * COUNT), ("memory", FIRST + COUNT)):
        dataset = Files(data.root)
        made = batches(dataset, cache=how)
        assert same(epoch(made), epoch(made, 1))
        assert dataset.reads == reads
    assert not caches().exists()


def test_caches_are_bounded_and_the_longest_unused_go(data, monkeypatch):
    slot = 3 * 64 + 64 + caching.RECORD.size
    monkeypatch.setenv("SEGZOO_CACHE_GB", str(2.5 * COUNT * slot / 1e9))
    names = []
    for version in ("1", "2", "3"):
        made = batches(Files(data.root), info=info(version=version))
        epoch(made)
        (new,) = {path.name for path in caches().iterdir()} - set(names)
        names.append(new)
        for age, name in enumerate(reversed(names)):
            if (caches() / name).exists():
                used = 7200 * (age + 1)
                about = caches() / name / "about.json"
                os.utime(about, (about.stat().st_mtime - used,) * 2)
    left = {path.name for path in caches().iterdir()}
    assert left == {names[1], names[2]}


def test_recent_caches_stay_and_the_next_one_takes_what_is_left(data, monkeypatch):
    slot = 3 * 64 + 64 + caching.RECORD.size
    monkeypatch.setenv("SEGZOO_CACHE_GB", str(1.5 * COUNT * slot / 1e9))
    epoch(batches(data))
    second = Files(data.root)
    how = {"info": info(version="2")}
    made = batches(second, **how)
    assert same(epoch(made), epoch(batches(data, cache="none")))
    third = Files(data.root)
    epoch(batches(third, **how))
    assert third.reads == FIRST + COUNT - COUNT // 2
    assert sum(path.stat().st_size for path in caches().rglob("*.bin")) <= 1.5 * COUNT * slot


def test_it_says_what_it_is_made_of(data):
    epoch(batches(data))
    about = json.loads((folder() / "about.json").read_text())
    assert about["data"]["identity"] == "acme/x"
    assert about["size"] == [8, 8]
    assert about["first file"] == str(data.root / "0.image")


FILL = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_sample_cache import Files, batches, epoch
from segzoo.data.loading import cache
cache.SETTLED_NS = 0
for seed in range(3):
    made = batches(Files(Path(sys.argv[2])), shuffle=True, seed=seed)
    epoch(made), epoch(made, 1)
"""


def test_processes_may_fill_it_at_once(data):
    words = [str(Path(__file__).parent), str(data.root)]
    running = [forked.python(FILL, *words) for _ in range(2)]
    assert [process.done().returncode for process in running] == [0, 0]
    again = Files(data.root)
    assert same(epoch(batches(again)), epoch(batches(data, cache="none")))
    assert again.reads == FIRST


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["removed", "cut off", "one file removed", "read-only"])
@pytest.mark.parametrize("when", ["between the first epochs", "in the first epoch"])
def test_what_is_lost_is_read_anew(data, monkeypatch, caplog, workers, how, when):
    plain = epoch(batches(data, cache="none"))
    made = batches(data, workers=workers)
    if when == "in the first epoch":
        reading = made.epoch(0)
        next(reading)
        lose(folder(), how)
        list(reading)
    else:
        epoch(made)
        made._kept._opened.clear()  # type: ignore[union-attr] # as if the files had not been looked at before
        lose(folder(), how)
    with caplog.at_level(logging.WARNING, "segzoo"):
        for number in (1, 2):
            assert same(epoch(made, number), plain)
    assert len([r for r in caplog.records if "read anew" in r.getMessage()]) <= 1


def lose(folder, how):
    if how == "removed":
        shutil.rmtree(folder)
    elif how == "one file removed":
        (folder / "images.bin").unlink()
    elif how == "cut off":
        (folder / "targets.bin").unlink()
        (folder / "targets.bin").write_bytes(b"short")
    else:
        folder.chmod(0o500)


def test_removed_files_that_are_mapped_are_used_on(data, caplog):
    made = batches(data)
    plain = epoch(made)
    assert same(epoch(made, 1), plain)
    reads = data.reads
    shutil.rmtree(folder())
    with caplog.at_level(logging.WARNING, "segzoo"):
        assert same(epoch(made, 2), plain)
    assert (data.reads, caplog.records) == (reads, [])


def test_the_empty_files_of_another_run_are_no_samples(data, caplog):
    made = batches(data)
    plain = epoch(made)
    made._kept._opened.clear()  # type: ignore[union-attr]
    place = folder()
    shutil.rmtree(place)
    batches(data)  # makes it anew, of zeros
    assert place.is_dir()
    with caplog.at_level(logging.WARNING, "segzoo"):
        assert same(epoch(made, 1), plain)
    assert any(
        "have been removed; pictures are read anew" in r.getMessage() for r in caplog.records
    )
