"""What is printed fits a terminal of 80 and of 60 columns, and no number is broken for it."""

import io
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import run_here
from rich.console import Console

from segzoo.cli import console as printing
from segzoo.cli import tables, zoo
from segzoo.report.progress import Screen

WIDTHS = (80, 60)
SCORES = {
    "loss": 0.31416,
    "pixel_accuracy": 0.98765,
    "mean_iou": 0.87654,
    "iou/a": 0.9,
    "iou/b": 0.85,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tokens(text: str) -> list[str]:
    return re.findall(r"\S*\d\S*", text)


def fake_run(**changes: Any) -> Any:
    batches = SimpleNamespace(stream=False, count=123456)
    return SimpleNamespace(
        config=SimpleNamespace(size=(256, 256), epochs=100, tolerance=2.0), choosing_split="val",
        model=SimpleNamespace(entry=SimpleNamespace(identity="segzoo-linknet/linknet")),
        info=SimpleNamespace(identity="segzoo/folder", classes=("a", "b"), target="labels"),
        parameters=12_952_614, device="cpu", precision="fp32", folder="runs/linknet-folder-2",
        train=batches, evals={"val": batches, "test": batches}, epoch=7, best_epoch=7,
        monitor="mean_iou",
        history=[{"seconds": 4000.0, "images_per_second": 12.3}], images_done=61728, **changes,
    )  # fmt: skip


def test_without_tolerance_only_the_best_epoch_is_kept():
    stream, run = io.StringIO(), fake_run()
    run.config.tolerance = 0.0
    Screen(run, stream).start()
    assert "of earlier ones: its val mean_iou is the best so far\n" in stream.getvalue()


def screen_text(monkeypatch: pytest.MonkeyPatch, width: int, stream: io.StringIO) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(fake_run(), stream)
    screen.start()
    time.sleep(0.15)
    screen.stop()
    screen.epoch_end({"train": SCORES, "val": SCORES, "test": SCORES})
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_a_training_breaks_a_number(monkeypatch, width):
    plain = screen_text(monkeypatch, width, io.StringIO())
    assert len(plain.splitlines()) == 4  # a line an epoch in a log file
    rule = "its val mean_iou is the best so far, or within 2 standard errors of it (--tolerance)\n"
    assert plain.count(rule) == 1
    assert "epoch   7/100  train loss 0.3142 acc 0.9877" in plain
    shown = screen_text(monkeypatch, width, Terminal())
    assert max(map(len, shown.splitlines())) <= width
    assert set(tokens(plain)) <= set(tokens(shown))
    for name in ("loss 0.3142", "12.3 img/s", "left *", "12,952,614"):
        assert any(name in line for line in shown.splitlines()), shown
    assert "61728/123456" in shown  # the bar


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_breaks_sentences_and_no_numbers(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    words = " ".join(["long"] * 40)
    rows = [("tv-deeplabv3", 0.12345678, words, 1234567.5), ("unet", 0.5, "short", 2)]
    printing.print_table(("name", "score", "what it is", "count"), rows)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert {"tv-deeplabv3", "0.12345678", "1234567.5"} <= set(text.split())


def test_a_table_of_long_names_alone_loses_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    names = [f"{letter * 22}" for letter in "abc"]
    printing.print_table(("one", "two", "three", "why"), [(*names, "a sentence of several words")])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 60
    for letter in "abc":
        assert sum(word.count(letter) for word in text.split()[4:]) >= 22
    for word in ("sentence", "several", "words"):
        assert word in text.split()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_gives_its_width_to_names_and_summaries(monkeypatch, capsys, install, width):
    source = (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='unet', summary='another', build='acme.net:build', stride=1)]\n"
    )
    install("acme", source)
    monkeypatch.setattr(
        zoo, "make_console",
        lambda: Console(file=sys.stdout, force_terminal=True, width=width, highlight=False),
    )  # fmt: skip
    zoo.list_command()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    names = {line.split()[0] for line in lines if line.strip()}
    assert {"model", "tv-deeplabv3-mobilenet-v3-large", "portraits", "ce"} <= names
    assert {"acme/unet", "segzoo-unet/unet"} <= names  # one name for two
    assert not any("segzoo/ce" in line for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_notices_and_errors_are_broken_between_words(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    words = "train 56, val 14; " * 12
    text = printing.fitted(f"note: {words}\n  /a/very/long/path{'/more' * 20}", Terminal())
    *lines, path = text.split("\n")
    assert max(map(len, lines)) <= width
    assert " ".join(text.split()) == " ".join(f"note: {words} {path}".split())
    assert path.startswith("  /a/very")
    assert printing.fitted(words, io.StringIO()) == words


def test_in_a_pipe_the_list_has_a_line_a_part(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    listing = run_here("list").stdout
    (line,) = (x for x in listing.splitlines() if "segzoo-unet/unet" in x)
    assert line.split()[:3] == ["model", "unet", "segzoo-unet/unet"]
    assert not any(x.endswith(" ") for x in listing.splitlines())
    monkeypatch.setenv("COLUMNS", "80")
    assert run_here("list").stdout == listing


def test_in_a_pipe_tables_heed_columns_and_end_without_spaces(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    rows = [[f"run-{n}", *["0.1234 (0.123-0.456)"] * 5] for n in range(3)]
    tables.print_pieces(["run", *"abcde"], rows)
    printing.print_table(("name", "what it is"), [("unet", "word " * 40), ("fcn", "short")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith(" ") for line in lines)


def test_a_slow_command_says_on_a_terminal_that_it_is_at_work(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(printing, "SLOW_SECONDS", 0.01)
    printing.announce_if_slow("evaluate")
    time.sleep(0.2)
    printing.end_announcing()
    assert terminal.getvalue() == "segzoo: starting evaluate ...\n"
    printing.announce_if_slow("train")
    printing.announce("reading folder")
    time.sleep(0.1)
    assert terminal.getvalue().splitlines()[1:] == ["segzoo: reading folder ..."]
    printing.announce_if_slow("list")
    printing.end_announcing()
    time.sleep(0.1)
    assert len(terminal.getvalue().splitlines()) == 2


def test_nothing_of_it_is_said_in_a_pipe_or_by_a_further_rank(monkeypatch):
    for stream, rank in ((io.StringIO(), "0"), (Terminal(), "1")):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("RANK", rank)
        printing.announce("reading folder")
        assert stream.getvalue() == ""
