"""`segzoo cache`: what is kept is shown, and only what segzoo put there is cleared."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import run_here

from segzoo import DataSource, SegzooError
from segzoo.cli.cache import size_text
from segzoo.data.loading import cleaning
from segzoo.data.loading.batches import Batches

DIGEST = "0123456789abcdef" * 2


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SEGZOO_CACHE", str(folder))
    return folder


def fill(cache: Path, *paths: str, size: int = 5000) -> list[Path]:
    files = [cache / path for path in paths]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    return files


def records() -> dict[str, dict]:
    parts = json.loads(run_here("cache", "--json").stdout)["parts"]
    return {part["kind"]: part for part in parts}


def test_an_empty_cache_is_told_so(cache):
    assert run_here("cache").stdout == f"nothing in {cache}\n"
    assert run_here("cache", "--clear").stdout == "0 B freed\n"
    assert not cache.exists()


def test_what_a_training_leaves_is_shown_and_cleared(cache, folder_root):
    source = DataSource("folder", root=folder_root)
    DataSource("hk", sample=True).split("train")
    for file in folder_root.rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    data = source.split("train")
    batches = Batches(data, source.info(data), size=(16, 16), batch_size=4, workers=0)
    list(batches.epoch(0))
    found = records()
    assert set(found) == {"resized", "samples"}
    (resized,) = found["resized"]["entries"]
    assert resized["about"].startswith("segzoo/folder at 16x16: ")
    assert 0 < found["resized"]["bytes"] < 100_000
    assert "segzoo/folder at 16x16" in run_here("cache", "resized").stdout

    told = run_here("cache", "--clear").stdout
    assert resized["path"] in told  # used just now
    assert set(records()) == {"resized"}
    run_here("cache", "--clear", "resized", "--force")
    assert records() == {}


def test_one_kind_is_cleared_and_the_others_stay(cache):
    fill(cache, f"resized/{DIGEST}/images.bin", f"indices/{DIGEST}.npz", "samples/x-1.0/hk/a.png")
    fill(cache, "portraits/v1-seed0-1000+100/training/00000.png")
    os.utime(cache / "resized" / DIGEST, (1e9, 1e9))
    assert set(records()) == {"resized", "indices", "samples", "portraits"}
    freed = json.loads(run_here("cache", "--clear", "portraits", "--json").stdout)
    assert freed["left"] == []
    assert freed["freed"] >= 5000
    assert set(records()) == {"resized", "indices", "samples"}
    assert "freed" in run_here("cache", "--clear").stdout
    assert records() == {}


def test_what_others_put_there_is_listed_and_never_touched(cache):
    strangers = fill(
        cache, "notes.txt", "hk/training/1.png", "portraits/mine/1.png", "samples/readme.md",
        f"resized/{DIGEST}-copy/1.bin", f"indices/{DIGEST}.npz.bak",
    )  # fmt: skip
    fill(cache, f"indices/{DIGEST}.npz")
    assert set(records()) == {"indices", "other"}
    assert records()["other"]["ours"] is False
    run_here("cache", "--clear", "--force")
    assert set(records()) == {"other"}
    assert all(path.is_file() for path in strangers)
    with pytest.raises(SegzooError, match=r"kind `other` is kept.*\nthere is: indices"):
        cleaning.clear("other")


def test_links_are_removed_and_what_they_lead_to_stays(cache, tmp_path):
    (kept,) = fill(tmp_path, "elsewhere/1.bin")
    (cache / "resized").mkdir(parents=True)
    (cache / "resized" / DIGEST).symlink_to(kept.parent)
    cleaning.clear(force=True)
    assert kept.is_file()
    assert not (cache / "resized" / DIGEST).is_symlink()


def test_what_is_being_written_stays(cache):
    (file,) = fill(cache, "portraits/.making-abc/1.png")
    freed, left = cleaning.clear()
    assert (freed, [entry.path for entry in left]) == (0, [str(file.parent)])
    long_ago = time.time() - 7200
    os.utime(file.parent, (long_ago, long_ago))
    assert cleaning.clear()[1] == []
    assert not file.exists()


def test_a_misspelt_kind_is_told_before_anything_is_removed(cache):
    (file,) = fill(cache, f"indices/{DIGEST}.npz")
    result = run_here("cache", "--clear", "indexes")
    assert result.returncode == 2
    assert "did you mean `indices`" in result.stderr
    assert file.is_file()


def test_it_imports_nothing_heavy(cache):
    code = (
        "import sys; sys.argv = ['segzoo', 'cache', '--json']\n"
        "from segzoo.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', [name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes_are_for_people(count, text):
    assert size_text(int(count)) == text
