"""Every error that a hook's page quotes is provoked in the page's example, and is as quoted."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from doc_blocks import HOOK_PAGES, blocks_of, install_page, reason_of, section_of
from typer.testing import CliRunner

import segzoo
from segzoo.cli import make_app
from segzoo.cli.zoo import _warnings
from segzoo.metrics.selection import MetricSet

Act = Callable[[], object]


def train(**settings: Any) -> Act:
    """Return a call that trains for one epoch on a stand-in; settings go before these."""
    usual: dict[str, Any] = {"model": "unet", "data": "folder", "size": 32, "epochs": 1}
    usual |= {"model_options": {"width": 4, "depth": 2}, "sample": True, "workers": 0}
    return lambda: segzoo.fit(progress=False, **{**usual, **settings})


def build_mini(size: int = 64) -> None:
    segzoo.create_model("mini")(torch.zeros(1, 3, size, size))


def run_balance() -> None:
    CliRunner().invoke(make_app(), ["balance", "folder"], catch_exceptions=False)


def own_scores(each: bool = False) -> None:
    how = {"classes": ("a", "b"), "ignore_index": 255, "target": "labels"}
    MetricSet("kappa", **how, each=each).names(2, "labels")


def raising(error: str, before: str) -> str:
    """Return the first line of a docstring with a statement before it that raises."""
    return f"    raise {error}\n    {before}"


# `folder` would refuse the ids of its stand-in as mattes.
SOFT = {"data": "hk", "data_options": {"matte": "soft"}}
# The hook, what is changed in its page's example, and what is then done; None: it is loaded.
FAULTS: list[tuple[str, str, str, Act | None]] = [
    ("models", 'name="mini"', 'name="Mini"', None),
    ("models", "network:build", "network.build", None),
    ("models", '"segzoo_mini.', '"segzo_mini.', None),
    ("models", "@dataclass(frozen=True, kw_only=True)", "@dataclass", None),
    ("models", "network:build", "network:built", build_mini),
    (
        "models",
        "    return Mini(",
        '    raise ValueError(f"width {options.width} is no multiple of 3")\n    return Mini(',
        build_mini,
    ),
    (
        "models",
        "        return functional.interpolate(",
        "        return logits_BKhw\n        return functional.interpolate(",
        build_mini,
    ),
    ("datasets", "    sample=", '    classes=("a", "b"), palette=((0, 0, 0),), sample=', None),
    ("datasets", "    sample=", '    target="label", sample=', None),
    (
        "datasets",
        'sample="segzoo_tiles.dataset:write_sample",',
        "",
        lambda: segzoo.DataSource("tiles", sample=True),
    ),
    ("datasets", "self.folder, self.classes =", "self.folder, _ =", train(data="tiles")),
    ("datasets", "left + 22] = 1", "left + 22] = 7", train(data="tiles")),
    ("losses", 'targets="labels"', 'targets="soft"', None),
    ("losses", "", "", train(loss="asymmetric", **SOFT)),
    ("losses", "", "", train(loss="asymmetric(alpha=-1)")),
    ("losses", "", "", train(loss="asymmetric(gamma=1)")),
    ("metrics", "", "", train(metrics="kappa", **SOFT)),
    ("metrics", "", "", train(monitor="kappa")),
    ("metrics", "return float(", 'return {"mean_iou": 1} or (', own_scores),
    ("metrics", "return torch.stack(counts).flatten(1)", "", lambda: own_scores(each=True)),
    ("encoder_weights", 'tag="scans"', 'tag="my scans"', None),
    ("encoder_weights", "segzoo_scans.weights:load", "weights.py", None),
    (
        "encoder_weights",
        "segzoo_scans.weights:load",
        "segzoo_scans.files:load",
        lambda: segzoo.get_registry().get("encoder_weights", "resnet10t.scans").resolve("load"),
    ),
    ("commands", 'name="balance"', 'name="list"', None),
    ("commands", '"segzoo_balance.', '"segzoo_balances.', None),
    ("commands", "command:balance", "command:main", run_balance),
    ("fit_start", '(run: "Run")', '(run: "Run", model)', None),
    (
        "fit_start",
        '    """Write layers',
        raising('FileNotFoundError("no such folder")', '"""Write layers'),
        train(),
    ),
    ("epoch_end", "segzoo_epoch_end", "segzoo_epoch_ended", None),
    ("epoch_end", '(run: "Run", metrics: dict[str, dict[str, Any]])', "(metrics, epoch=1)", None),
    (
        "checkpoint_saved",
        '    """Copy',
        raising('OSError("No space left on device")', '"""Copy'),
        train(),
    ),
    ("checkpoint_saved", "def segzoo", "async def segzoo", None),
    (
        "fit_end",
        '    """Add the line',
        raising('PermissionError("ledger.jsonl")', '"""Add the line'),
        train(),
    ),
    ("fit_end", '    """Add the line."""', '    yield\n    """Add the line."""', None),
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_an_error_is_quoted_as_it_is(number, install, tmp_path, monkeypatch, caplog):
    hook, old, new, act = FAULTS[number]
    place = [fault[0] for fault in FAULTS[:number]].count(hook)
    page = HOOK_PAGES[f"segzoo_{hook}"]
    quoted = blocks_of(section_of(page, "Errors"), "text")[place]
    example, _, _ = page.partition("\n## Errors\n")
    assert old in example
    package = install_page(example.replace(old, new), install)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))  # for the stand-in as changed
    # The command line, run in this process by another test, has notices go to stderr alone.
    monkeypatch.setattr(logging.getLogger("segzoo"), "propagate", True)
    said = provoke(package.name.replace("_", "-"), act, caplog)
    assert set(quoted.splitlines()) <= set(said)


def provoke(distribution: str, act: Act | None, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the user sees, line by line."""
    (plugin,) = (p for p in segzoo.get_manager().plugins if p.distribution == distribution)
    if act is None:
        warnings = [f"warning: {warning}" for warning in _warnings(plugin)]
        return warnings if plugin.status == "ok" else [reason_of(distribution)]
    assert plugin.status == "ok", plugin.reason
    try:
        act()
    except segzoo.SegzooError as error:
        return [f"error: {error.message}", *(f"  {line}" for line in error.hint.splitlines())]
    return [f"warning: {record.getMessage()}" for record in caplog.records]


def test_no_page_quotes_an_error_that_is_not_provoked():
    for hook, page in HOOK_PAGES.items():
        quoted = blocks_of(section_of(page, "Errors"), "text")
        provoked = [fault for fault in FAULTS if f"segzoo_{fault[0]}" == hook]
        assert len(quoted) == len(provoked), hook
