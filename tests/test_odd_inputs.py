"""Listings and looks at data with names, files and folders as nobody expects: no traceback."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run_here, untrained_run
from PIL import Image

from segzoo.cli.console import print_json
from segzoo.devtools import doctor
from segzoo.errors import SegzooError
from segzoo.train.config import make_config

NOT_UTF8 = os.fsdecode(b"n\xff")
LONG = "x" * 5000


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """Write pairs below a folder, and under names, that are not UTF-8."""
    root = tmp_path / NOT_UTF8
    try:
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    for index in range(6):
        Image.new("RGB", (40, 40), (index * 20, 0, 0)).save(
            root / "images" / f"{NOT_UTF8}{index}.png"
        )
        mask = Image.new("L", (40, 40))
        mask.paste(1, (0, 0, 20, 20))
        mask.save(root / "masks" / f"{NOT_UTF8}{index}.png")
    return root


def test_names_that_are_not_utf8_are_read_and_written(odd_names, tmp_path):
    given = ("folder", "--root", str(odd_names))
    for words in (("data", "stats", *given), ("data", "check", *given)):
        assert run_here(*words).returncode in (0, 1)
        done = run_here(*words, "--json")
        assert done.returncode in (0, 1)
        assert json.loads(done.stdout)
    weights = str(untrained_run(tmp_path / "run") / "best.safetensors")
    done = run_here(
        "predict", weights, str(odd_names / "images"), "-o", str(tmp_path / "p"), "--json"
    )
    assert len(json.loads(done.stdout)) == 6
    done = run_here("data", "preview", *given, "-o", str(tmp_path / f"{NOT_UTF8}.png"))
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["x.xyz", "x", "x.jpg", ".png", "x.png.gz"])
def test_a_preview_is_a_png(name, folder_root, tmp_path):
    done = run_here(
        "data", "preview", "folder", "--root", str(folder_root), "-o", str(tmp_path / name)
    )
    assert done.returncode == 2
    assert "a preview is a PNG: end it in .png" in done.stderr
    assert not (tmp_path / name).exists()


LISTS = ["0 ² a", "(²,0,0) a\n(1,1,1) b", "² 0 0 a\n1 1 1 b", "#²00000 a\n#000001 b", "²\n1", "\0"]


@pytest.mark.parametrize("text", LISTS)
def test_digits_that_are_none_in_lists_of_classes(text, folder_root):
    (folder_root / "c.txt").write_text(text, encoding="utf-8")
    done = run_here("data", "stats", "folder", "--root", str(folder_root), "-O", "classes=c.txt")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize(
    "option",
    [
        "range=²,3", "threshold=²", "ignore=²", "tolerance=²", "pair=²", "group=(", "val=nan",
        "lists=²", "palette=²", "exif=²",
    ],
)  # fmt: skip
def test_options_of_data_that_are_no_numbers(option, folder_root):
    done = run_here("data", "stats", "folder", "--root", str(folder_root), "-O", option)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1


SUMMARY = {
    "model": "m", "data": "d", "scores": {"val": {"mean_iou": 0.5}}, "best_epoch": 1, "epochs": 1,
}  # fmt: skip
ODD_SUMMARIES = [
    {"model": "\ud800"}, {"model": 1}, {"best_epoch": "x"}, {"epochs": [1]}, {"scores": {}},
    {"seconds_per_epoch": "x"}, {"scores": {"val": {}}}, {"monitor": [1]}, {"parameters": "\x1b["},
    {"classes": 3}, {"size": "x"}, {"scores": []}, {"scores": {"val": {"mean_iou": "0.5"}}},
]  # fmt: skip


@pytest.mark.parametrize("changed", ODD_SUMMARIES)
def test_compare_of_odd_summaries(changed, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY | changed))
    for words in (("compare", str(tmp_path)), ("compare", str(tmp_path), "--json")):
        done = run_here(*words)
        assert done.returncode in (0, 2)
        assert "\x1b" not in done.stdout + done.stderr
        done.stdout.encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[]", b'{"a":"\\ud800"}', b"nul", b"1e999"])
def test_files_that_hold_something_else(data, tmp_path):
    for name in ("summary.json", "config.toml", "best.safetensors"):
        (tmp_path / name).write_bytes(data)
    for words in (
        ("inspect", str(tmp_path / "best.safetensors")), ("inspect", str(tmp_path)),
        ("compare", str(tmp_path)), ("train", "--resume", str(tmp_path)),
        ("train", "--config", str(tmp_path / "config.toml")),
    ):  # fmt: skip
        done = run_here(*words)
        assert done.returncode == 2
        assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--model", "unet", "--data", "folder", "--root", LONG), ("compare", LONG),
        ("inspect", LONG), ("predict", LONG, LONG), ("train", "--resume", LONG),
        ("train", "--config", LONG), ("data", "stats", "hk", "--root", LONG),
        ("import", LONG, "--model", "unet", "--classes", "a,b", "--out", "o"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_names_that_no_file_system_takes(words):
    done = run_here(*words)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1


def test_json_has_no_numbers_that_json_does_not_have(capsys):
    print_json({"a": [float("nan"), 1.5], "b": {"c": float("-inf")}, "d": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": {"c": None}, "d": "x"}


def test_a_file_error_that_nobody_expects_is_one_line(monkeypatch):
    def refuse():
        raise PermissionError(13, "Permission denied", "/a/b")

    monkeypatch.setattr("segzoo.cli.zoo.get_registry", refuse)
    done = run_here("show", "unet")
    assert done.stderr.startswith("error: /a/b: Permission denied\n")
    monkeypatch.setenv("SEGZOO_TRACEBACK", "1")
    with pytest.raises(PermissionError):
        run_here("show", "unet")


@pytest.mark.parametrize("name", ["root", "out"])
def test_names_with_a_null_byte(name):
    with pytest.raises(SegzooError, match=f"--{name} 'a.x00': no name holds|null byte"):
        make_config({name: "a\0"})


def test_the_doctor_goes_on_where_a_look_fails(tmp_path, monkeypatch):
    def broken() -> Iterator[doctor.Finding]:
        yield doctor.Finding(area="a", state=doctor.OK, text="first")
        raise PermissionError(13, "Permission denied", "/a/b")

    states = [finding.state for finding in doctor.kept_going("a", broken)]
    assert states == [doctor.OK, doctor.TROUBLE]
    monkeypatch.setenv("SEGZOO_CACHE", LONG)
    monkeypatch.setenv("HF_HOME", "/dev/null")
    monkeypatch.setenv("TORCH_HOME", "~nobody-of-this-name/x")
    monkeypatch.setenv("SEGZOO_CACHE_GB", "abc")
    for check in (doctor._folders, doctor._limit_of_cache):
        assert any(f.state == doctor.TROUBLE for f in doctor.kept_going("folders", check))
