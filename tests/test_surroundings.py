"""What an observer changes around a training, or of its optimizer: put back, to the bit."""

import gc
import importlib
import logging
import os
import resource
import signal
import sys
import tempfile
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from breaking import PARTS, PLUGIN, SETTINGS
from helpers import saved_tensors

from segzoo import fit
from segzoo.compute.surroundings import unchanged_surroundings


def lower(name, soft):
    def change():
        number = getattr(resource, name)
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))

    return change


def limit(name):
    return lambda: resource.getrlimit(getattr(resource, name))


CHANGES: dict[str, tuple[Any, Any]] = {  # what changes it, and what reads it
    "a variable": (lambda: os.environ.update(PATH="/nowhere"), lambda: os.environ["PATH"]),
    "all variables": (os.environ.clear, lambda: "PATH" in os.environ),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: warnings.filters[:]),
    "logging": (lambda: logging.disable(100), lambda: logging.root.manager.disable),
    "gc": (gc.disable, gc.isenabled),
    "recursion": (lambda: sys.setrecursionlimit(987), sys.getrecursionlimit),
    "umask": (lambda: os.umask(0o777), lambda: os.umask(os.umask(0o22)) and 0),
    "files": (lower("RLIMIT_NOFILE", 3), limit("RLIMIT_NOFILE")),
    "sizes of files": (lower("RLIMIT_FSIZE", 10), limit("RLIMIT_FSIZE")),
    "temporary files": (
        lambda: setattr(tempfile, "tempdir", "/nowhere"), lambda: tempfile.tempdir
    ),
    "numpy": (lambda: np.seterr(all="raise"), np.geterr),
    "autocast": (
        lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")
    ),
    "anomalies": (
        lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled
    ),
    "oneDNN": (
        lambda: setattr(torch.backends.mkldnn, "enabled", False),
        lambda: torch.backends.mkldnn.enabled,
    ),
    "an alarm": (
        lambda: signal.setitimer(signal.ITIMER_REAL, 100),
        lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_put_back(name):
    change, read = CHANGES[name]
    before = read()
    with unchanged_surroundings():
        change()
    assert read() == before


def test_what_is_heard_or_new_stays(monkeypatch):
    monkeypatch.delenv("SEGZOO_A_NEW_ONE", raising=False)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with unchanged_surroundings():
            os.environ["SEGZOO_A_NEW_ONE"] = "needed later"
            signal.setitimer(signal.ITIMER_REAL, 100)
        assert os.environ.pop("SEGZOO_A_NEW_ONE") == "needed later"
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Meddling:
    """An observer that does something to the run."""

    def __init__(self, meddle):
        self.meddle = meddle

    def segzoo_epoch_end(self, run):
        self.meddle(run)


def all_around(run):
    for change, _ in CHANGES.values():
        change()


def rates(run):
    for group in run.optimizer.param_groups:
        group.update(lr=0.9, weight_decay=0.5, betas=(0.1, 0.1))


def groups(run):
    run.optimizer.param_groups[0]["params"].clear()
    run.optimizer.param_groups.clear()


def schedule(run):
    run.schedule.base_lrs.clear()
    run.schedule.last_epoch = 99
    run.schedule.step()


def lists(run):
    for name in ("evals", "pictures", "history", "skipped", "picture_sums"):
        getattr(run, name).clear()


@pytest.fixture
def trained(install, tmp_path):
    install("acme", PLUGIN, files={"parts.py": PARTS})
    importlib.import_module("acme.parts")

    def train(name, observers):
        settings: dict[str, Any] = {**SETTINGS, "out": str(tmp_path / name)}
        fit(**settings, observers=observers)
        return saved_tensors(tmp_path / name)

    return train


@pytest.mark.parametrize(
    "meddle",
    [
        all_around, rates, groups, schedule, lists,
        lambda run: run.schedule.step(),
        lambda run: run.optimizer.state.clear(),
        lambda run: sys.stdout.detach(),  # type: ignore[attr-defined]
        lambda run: run.evals.popitem(),
    ],
)  # fmt: skip
def test_a_training_goes_on_as_without_it(trained, meddle):
    alone, watched = trained("alone", []), trained("watched", [Meddling(meddle)])
    assert alone.keys() == watched.keys()
    assert not [name for name in alone if not torch.equal(alone[name], watched[name])]
