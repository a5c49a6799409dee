"""A user must never be hurt by somebody else's plugin: tests/plugins, installed all at once."""

import json
import os
import random
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hatchling.builders.wheel import WheelBuilder
from safetensors.torch import load_file

from segzoo import SegzooError, fit
from segzoo.cli.training import run_training

PACKAGES = Path(__file__).parent / "plugins"
OTHER_TESTS = {"faulty-parts"}  # what segzoo.testing has to find; loads as it should
SLOW = "slow-import,torch-at-top"  # left out where a test is about something else

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Install the packages into a new environment, all at once; return what runs segzoo there."""
    folder = tmp_path_factory.mktemp("isolation")
    # pip builds in a copy, so that nothing is written into the repository.
    sources = shutil.copytree(PACKAGES, folder / "sources")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    # torch, segzoo and the rest come from the running interpreter, editable installs included.
    outer = "; ".join(f"site.addsitedir({path!r})" for path in site.getsitepackages())
    (packages / "outer.pth").write_text(f"import site; {outer}\n")
    others = {*OTHER_TESTS, "editable"}
    plain = [path for path in sorted(sources.iterdir()) if path.name not in others]
    # Built here, as pip would have two processes do it for each.
    wheels = [
        wheel for path in plain for wheel in WheelBuilder(str(path)).build(versions=["standard"])
    ]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"),
            *("--no-compile", *wheels),
            *("--editable", str(sources / "editable")),
        ],
        check=True,
    )
    damage(packages)

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(python), "-m", "segzoo", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            cwd=folder,
            timeout=300,
        )

    return run


def damage(packages: Path) -> None:
    """Leave metadata as broken installations leave them; test_plugins.py has those of a kind that
    torch does not survive either."""
    for name, metadata, points in (
        ("no_metadata", "", "[segzoo.v1]\nlost = no_metadata.plugin\n"),
        # What pip leaves when it is interrupted while it takes `good` away.
        ("~ood", "Name: good\nVersion: 1.0\n", "[segzoo.v1]\ngone = gone.plugin\n"),
    ):
        info = packages / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(points)
        (info / "METADATA").write_text(metadata)


TRAINING = (
    *("train", "--model", "good-model", "--data", "good-data", "--sample", "--epochs", "3"),
    *("--loss", "good-loss + segzoo/dice", "--metrics", "good-metric", "--size", "16"),
    *("--batch-size", "4", "--workers", "0", "--device", "cpu"),
)
COMMANDS = {
    "list": ("list",),
    "list --json": ("list", "--json"),
    "plugins": ("plugins",),
    "plugins --json": ("plugins", "--json"),
    "--help": ("--help",),
    "--why": ("plugins", "--why", "broken-import"),
    "train": (*TRAINING, "--out", "run"),
}
QUICK = {"list", "list --json", "--help", "--why"}  # without the slow ones, to save time


@pytest.fixture(scope="module")
def results(installed: Run) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """Run each of COMMANDS once; some at a time, as they wait for the slow plugins."""

    def run(name: str) -> "subprocess.CompletedProcess[str]":
        without = {"SEGZOO_DISABLE": SLOW} if name in QUICK else {}
        return installed(*COMMANDS[name], COLUMNS="", **without)  # Lines are not broken then.

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(COMMANDS, pool.map(run, COMMANDS), strict=True))


@pytest.fixture(scope="module")
def records(results) -> dict[str, dict]:
    listed = json.loads(results["plugins --json"].stdout)
    records = {record["identity"]: record for record in listed}
    assert len(records) == len(listed)
    return records


@pytest.mark.parametrize("command", COMMANDS)
def test_with_all_of_them_every_command_works(results, command):
    result = results[command]
    assert result.returncode == 0, result.stderr
    assert "future-api was imported" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


FAULTS = {
    "broken-import/broken-import": ("broken", "import", "No module named 'nothing_of_this_name'"),
    "broken-exit/broken-exit": ("broken", "import", "SystemExit: no licence for this machine"),
    "misspelt-hook/misspelt-hook": ("broken", "check_pending", "did you mean `segzoo_models`?"),
    "unknown-argument/unknown-argument": (
        "broken",
        "register",
        "segzoo_epoch_end takes `colour`, which this hook does not have: write "
        "`segzoo_epoch_end(run, epoch, metrics)`, or fewer of these",
    ),
    "keyword-only/keyword-only": ("broken", "register", "takes `run` by keyword only"),
    "raising-hook/raising-hook": ("broken", "collect", "cannot read [/etc/models]"),
    "invalid-spec/invalid-spec": ("broken", "validate", "'Big Name': a name is lower-case"),
    "future-api/future-api": ("incompatible", "gate", "written for plugin API 2"),
    "no-metadata/lost": ("broken", "metadata", "its METADATA is missing or damaged"),
}
WARNINGS = {
    "clash-acme/clash-acme": [
        "loss `dice` is another plugin's too: say `clash-acme/dice` or `segzoo/dice`",
        "model `twin` is another plugin's too: say `clash-bolt/bolt` or `clash-acme/twin`",
    ],
    "clash-bolt/clash-bolt": [
        "model `twin` is another plugin's too: say `clash-bolt/bolt` or `clash-acme/twin`"
    ],
    "segzoo/core": ["loss `dice` is another plugin's too: say `clash-acme/dice` or `segzoo/dice`"],
    "torch-at-top/torch-at-top": [
        "imports torch",
        "at the top: every command waits for it (",
        "import it inside the functions that need it",
    ],
    "slow-import/slow-import": ["takes 2.", "s to import: every command waits for it"],
    "command-clash/command-clash": [
        "`segzoo list` is the core's command; this one is `segzoo command-clash/list`"
    ],
    "leaves-traces/leaves-traces": [
        "changes sys.path",
        "changes the environment for all: LEFT_BY_A_PLUGIN",
    ],
}
SOUND = {
    "good/good": ["models", "datasets", "losses", "metrics", "commands"],
    "editable/editable": ["models"],
    "noisy/noisy": ["models"],
    "bad-markup/bad-markup": ["models"],
    "same-entry-one/same": ["models"],
    "same-entry-two/same": ["models"],
    "observer-raises/observer-raises": [],
    "observer-exits/observer-exits": [],
}


def test_no_package_is_left_out_of_the_tables_below(records):
    ours = {*FAULTS, *WARNINGS, *SOUND}
    folders = {path.name for path in PACKAGES.iterdir() if path.name not in OTHER_TESTS}
    assert folders <= {identity.partition("/")[0] for identity in ours}
    assert {*ours, "segzoo-unet/unet", "segzoo-hk/hk"} <= set(records)
    assert "good/gone" not in records


@pytest.mark.parametrize("identity", FAULTS)
def test_a_faulty_one_is_shown_for_what_it_is(results, records, identity):
    status, phase, reason = FAULTS[identity]
    record = records[identity]
    assert (record["status"], record["phase"]) == (status, phase)
    assert reason in record["reason"]
    assert "\n" not in record["reason"]
    assert record["provides"] == {}
    told = f"not loaded: {identity} is {status}"
    told += f" ({phase}): " if status == "broken" else ": "
    assert told + record["reason"] in results["list"].stdout


@pytest.mark.parametrize("identity", WARNINGS)
def test_one_that_works_but_disturbs_has_warnings(results, records, identity):
    record = records[identity]
    assert (record["status"], record["phase"], record["reason"]) == ("ok", "", "")
    for text in WARNINGS[identity]:
        assert text in "\n".join(record["warnings"])
    assert "warning: " + record["warnings"][0][:30] in results["plugins"].stdout


@pytest.mark.parametrize("identity", SOUND)
def test_a_sound_one_is_untouched_by_the_others(records, identity):
    record = records[identity]
    assert record["status"] == "ok"
    assert [text for text in record["warnings"] if "to import" not in text] == []
    assert list(record["provides"]) == SOUND[identity]
    assert 0 < record["seconds"] < records["slow-import/slow-import"]["seconds"]


def test_the_tables_show_text_with_brackets_as_it_is(results):
    assert "red[/red]" in results["list"].stdout
    assert "cannot read [/etc/models]" in results["plugins"].stdout


def test_what_plugins_print_does_not_reach_the_json(results):
    listed = json.loads(results["list --json"].stdout)
    models = {model["identity"] for model in listed["models"]}
    assert {"good/good-model", "clash-acme/twin", "clash-bolt/bolt", "noisy/noisy"} <= models
    for text in ("noisy is imported", "noisy is asked"):
        assert text in results["list --json"].stderr
        assert text not in results["list"].stdout


def test_why_prints_the_traceback(results):
    assert "broken-import/broken-import 1.0: broken" in results["--why"].stdout
    assert "Traceback" in results["--why"].stdout
    assert "import nothing_of_this_name" in results["--why"].stdout


def test_the_help_has_the_commands_of_all(results):
    for text in ("greet", "Say hello.", "command-clash/list", "train"):
        assert text in results["--help"].stdout


def test_commands_of_plugins_run_beside_a_cores_of_the_same_name(installed):
    assert installed("greet", "you", SEGZOO_DISABLE=SLOW).stdout == "hello you\n"
    other = installed("command-clash/list", SEGZOO_DISABLE=SLOW)
    assert other.stdout == "the other list\n"


def test_an_ambiguous_name_is_an_error_with_both_identities(installed):
    words = ["loss" if word == "good-loss + segzoo/dice" else word for word in TRAINING]
    words[words.index("good-model")] = "twin"
    result = installed(*words, "--out", "never", SEGZOO_DISABLE=SLOW)
    assert result.returncode == 2
    assert "the model `twin` is provided by 2 plugins" in result.stderr
    assert "`clash-acme/twin`" in result.stderr
    assert "`clash-bolt/bolt`" in result.stderr


def test_observers_that_raise_are_disabled_and_the_good_one_goes_on(results):
    result = results["train"]
    folder = Path(result.args[0]).parents[2] / "run"
    summary = json.loads((folder / "summary.json").read_text())
    errors = {
        "observer-exits/observer-exits": "SystemExit: the disk is mine (in "
        "segzoo_checkpoint_saved of epoch 1)",
        "observer-raises/observer-raises": "RuntimeError: out of ink (in segzoo_epoch_end of "
        "epoch 2)",
    }
    assert summary["observer_errors"] == errors
    assert summary["disabled_observers"] == list(errors)
    for name, error in errors.items():
        assert f"disabled observer: {name} raised {error}" in result.stdout
    assert (folder / "good.txt").read_text().splitlines() == [
        f"{epoch} ['train', 'val']" for epoch in (1, 2, 3)
    ]
    assert summary["scores"]["val"]["good-metric"] == 4 * 16 * 16
    assert "observer-raises was told of epoch 2" in result.stdout
    assert "observer-raises was told of epoch 3" not in result.stdout
    # A dictConfig of a plugin mutes all loggers; segzoo's own notices are heard nevertheless.
    assert "warning: observer observer-raises/observer-raises raised" in result.stderr
    assert "a STAND-IN" in result.stderr


def test_what_plugins_print_in_a_training_does_not_reach_its_json(
    install, hk_root, tmp_path, capsys
):
    install("acme", "def segzoo_epoch_end(epoch): print('epoch', epoch, 'seen')\n")
    given = {"model": "linknet", "data": "hk", "root": str(hk_root), "size": "32", "epochs": "1"}
    given["workers"] = "0"
    lists = {"o": ["width=4"], "O": [], "config": None, "resume": None, "recipe": None}
    run_training({**given, **lists, "out": str(tmp_path / "run"), "json": True})
    printed = capsys.readouterr()
    assert json.loads(printed.out)["epochs"] == 1
    assert "epoch 1 seen" in printed.err


DROPOUT = """
from segzoo import ModelSpec
def segzoo_models():
    return [ModelSpec(name="dropout", summary="d", build="acme.net:build", stride=1)]
"""
NET = """
from torch import nn
def build(*, in_channels, num_classes, options):
    return nn.Sequential(nn.Dropout(0.5), nn.Conv2d(in_channels, num_classes, 1))
"""


def test_an_observer_cannot_change_the_training(install, hk_root, tmp_path):
    install("acme", DROPOUT, files={"net.py": NET})

    class Meddler:
        def segzoo_fit_start(self, run):
            run.drawn = torch.rand(3), np.random.random(3), random.random()

        def segzoo_epoch_end(self, run, metrics):
            torch.manual_seed(run.epoch)
            np.random.seed(1)
            random.seed(1)
            torch.set_grad_enabled(False)
            for scores in metrics.values():
                scores.clear()

        def segzoo_fit_end(self, result):
            result.scores.clear()

    def train(name, *observers):
        result = fit(
            model="dropout", data="hk", root=str(hk_root), out=str(tmp_path / name), epochs=3,
            size=(32, 32), workers=0, batch_size=4, device="cpu", progress=False,
            observers=observers,
        )  # fmt: skip
        return result.scores, load_file(result.weights)

    scores, weights = train("alone")
    observed_scores, observed = train("observed", Meddler())
    assert observed_scores == scores
    assert all(torch.equal(weights[key], observed[key]) for key in weights)
    assert torch.is_grad_enabled()


def test_an_object_that_is_no_observer_is_refused_before_anything_is_written(hk_root, tmp_path):
    class Misspelt:
        def segzoo_epoch_ends(self, run):
            pass

    class Wrong:
        def segzoo_epoch_end(self, run, epoch=0):
            pass

    out = tmp_path / "run"
    for observer, text in ((Misspelt(), "did you mean `segzoo_epoch_end`"), (Wrong(), "a default")):
        with pytest.raises(SegzooError, match=rf"{type(observer).__name__} \(observers\[0\]\).*"):
            fit(model="unet", data="hk", root=hk_root, out=out, observers=[observer])
        with pytest.raises(SegzooError, match=text):
            fit(model="unet", data="hk", root=hk_root, out=out, observers=[observer])
    assert not out.exists()
