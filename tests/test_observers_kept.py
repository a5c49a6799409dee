"""What observers may change and what is put back after them: the process, the run, the weights."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from breaking import PARTS, PLUGIN
from test_plugin_code import assert_same_end, end, process, train

from segzoo import SegzooError, fit

_END = []


@pytest.fixture(autouse=True)
def parts(install):
    """Install the plugin."""
    install("acme", PLUGIN, files={"parts.py": PARTS})


@pytest.fixture
def whole(tmp_path):
    """Return the end of a training that nothing disturbs, which is done once."""
    if not _END:
        train(tmp_path / "whole")
        _END.append(end(tmp_path / "whole"))
    return _END[0]


class Careless:
    """An observer that leaves everything otherwise than it was."""

    def __init__(self, folder):
        self.folder = folder

    def segzoo_epoch_end(self, run):
        run.model(torch.ones(2, 3, 16, 16)).sum().backward()
        os.chdir(self.folder)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.close()
        sys.stderr.close()
        run.history.clear()
        run.epoch, run.best_epoch = 7, 0
        run.model.requires_grad_(False)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)


def test_what_an_observer_leaves_behind_changes_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = process()
    result = train("b", observers=[Careless("/")])
    assert process() == before
    assert not sys.stdout.closed
    assert result.folder == Path("b")
    assert not result.disabled_observers
    assert_same_end(whole, tmp_path / "b")


def swapped(run):
    run.model.network.head = torch.nn.Conv2d(4, 2, 1)


def loaded(run):
    run.model.load_state_dict({k: v * 0 for k, v in run.model.state_dict().items()}, assign=True)


@torch.no_grad()
def in_place(run):
    for parameter in [*run.model.parameters(), *run.deployed.parameters()]:
        parameter.mul_(2)


def stepped(run):
    for parameter in run.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    run.optimizer.param_groups[0]["lr"] = 9.0
    run.schedule.step()


CHANGES = {
    "in place": in_place,
    "by .data": lambda run: [p.data.zero_() for p in run.model.parameters()],
    "by numpy": lambda run: run.model.network.head.weight.detach().numpy().fill(7),
    "other memory": lambda run: setattr(run.model.network.head.bias, "data", torch.ones(3)),
    "the average": lambda run: run.deployed.load_state_dict(
        {k: v * 0 for k, v in run.deployed.state_dict().items()}
    ),
    "a state dict": loaded,
    "another parameter": lambda run: setattr(
        run.model.network.head, "weight", torch.nn.Parameter(torch.ones(2, 4, 1, 1))
    ),
    "another module": swapped,
    "another type": lambda run: run.model.double(),
    "no weights": lambda run: run.model.network.layers.pop(0),
}


@pytest.mark.parametrize("how", CHANGES)
def test_weights_that_an_observer_changes_are_put_back(whole, tmp_path, caplog, how):
    class Meddling:
        def segzoo_epoch_end(self, run):
            CHANGES[how](run)

    result = train(tmp_path / "b", observers=[Meddling()])
    assert (
        caplog.text.count("observer Meddling (observers[0]) changed weights in segzoo_epoch") == 1
    )
    assert not result.disabled_observers
    assert_same_end(whole, tmp_path / "b")


def test_rates_that_an_observer_sets_are_put_back(whole, tmp_path, caplog):
    class Meddling:
        def segzoo_epoch_end(self, run):
            stepped(run)

    train(tmp_path / "b", observers=[Meddling()])
    assert "changed weights" not in caplog.text
    assert_same_end(whole, tmp_path / "b")


def test_moments_that_an_observer_changes_end_the_training(whole, tmp_path):
    class Stepping:
        def segzoo_epoch_end(self, run, epoch):
            if epoch == 2:
                stepped(run)
                run.optimizer.step()

    with pytest.raises(
        SegzooError, match="Stepping .*moments were changed, which cannot"
    ) as caught:
        train(tmp_path / "b", observers=[Stepping()])
    assert "the state of the last save stands" in caught.value.hint
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")
