"""Code of a plugin that breaks in a training: said in two lines, and nothing that was done lost."""

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from breaking import PARTS, PLUGIN, SETTINGS
from helpers import run_here, saved_tensors
from safetensors.torch import load_file

from segzoo import SegzooError, fit
from segzoo.compute.randomness import RandomStates
from segzoo.errors import PluginCodeError
from segzoo.train.recovery import saving as keeping
from segzoo.train.recovery import undo


class PanicException(BaseException):
    """What code in Rust raises."""


class SilentError(Exception):
    """Cannot be printed, nor sent to another process."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__

    def __reduce__(self):
        raise TypeError("no pickle")


@pytest.fixture
def parts(install) -> Any:
    """Install the plugin; return its module, whose `broken` says what breaks."""
    install("acme", PLUGIN, files={"parts.py": PARTS})
    return importlib.import_module("acme.parts")


_END: list[Any] = []


@pytest.fixture
def whole(parts, tmp_path):
    """Return the end of a training that nothing disturbs, which is done once."""
    if not _END:
        train(tmp_path / "whole")
        _END.append(end(tmp_path / "whole"))
        parts.calls.clear()
    return _END[0]


def end(folder):
    return load_file(folder / "best.safetensors"), saved_tensors(folder)


def train(out, **changes):
    settings: dict[str, Any] = {**SETTINGS, "out": str(out), **changes}
    return fit(**settings)


def assert_same_end(whole, folder):
    for first, second in zip(whole, end(folder), strict=True):
        assert first.keys() == second.keys()
        assert not [name for name in first if not torch.equal(first[name], second[name])]


def raising(error):
    def call():
        raise error

    return call


def endless():
    endless()


PLACES = [
    # place, call, what of its code is named, where in the training
    ("network", 3, "model `acme/net`", "in step 3, with the pictures picture-"),
    ("network", 1, "model `acme/net`", "in step 1, with"),
    ("loss", 3, "loss `acme/loss`", "in step 3, with"),
    ("loss", 5, "loss `acme/loss`", "in the scoring of epoch 1"),
    ("scored network", 4, "model `acme/net`", "in the scoring of epoch 2"),
    ("metric", 5, "metric `acme/metric`", "in step 4, with"),
    ("computed metric", 3, "metric `acme/metric`", "in the scoring of epoch 1"),
    ("data", 33, "acme/data, sample ", "in epoch 1, after step "),
]


@pytest.mark.parametrize(("place", "call", "owner", "when"), PLACES)
def test_what_breaks_is_named_and_gone_on_with(parts, whole, tmp_path, place, call, owner, when):
    parts.calls.clear()
    parts.broken[place] = call, raising(ZeroDivisionError("7"))
    with pytest.raises(PluginCodeError) as caught:
        train(tmp_path / "b")
    message, hint = str(caught.value).splitlines()
    assert message.startswith(owner)
    assert "ZeroDivisionError: 7" in message
    assert place == "data" or "acme/parts.py:" in message
    assert when in message
    text = (tmp_path / "b" / "traceback.txt").read_text()
    assert "ZeroDivisionError: 7" in text
    assert 'parts.py", line' in text
    assert str(tmp_path / "b" / "traceback.txt") in hint
    assert f"segzoo train --resume {tmp_path / 'b'}" in hint
    parts.broken.clear()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_a_metric_that_has_seen_nothing_is_not_asked(parts, tmp_path, monkeypatch):
    def compute(self):
        return sum(self.seen) / len(self.seen)

    def update(self, logits, target):
        self.seen = [*getattr(self, "seen", ()), float(target.float().mean())]

    monkeypatch.setattr(parts.Metric, "compute", compute)
    monkeypatch.setattr(parts.Metric, "update", update)
    parts.broken["scored network"] = 3, raising(ZeroDivisionError("7"))
    with pytest.raises(PluginCodeError, match="in the scoring of epoch 2"):
        train(tmp_path / "b")
    parts.broken.clear()
    result = fit(resume=tmp_path / "b", progress=False)
    train(tmp_path / "a")
    one, other = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in "ab")
    assert [json.loads(line)["train"] for line in one] == [
        json.loads(line)["train"] for line in other
    ]
    assert "metric" in result.scores["train"]


KINDS = [
    MemoryError(), PanicException("index out of bounds"), SystemExit(3), GeneratorExit(),
    StopIteration(3), RuntimeError("DataLoader says"), ValueError("x" * 1_000_000),
    ExceptionGroup("many", [ValueError("one")]), OSError(28, "No space left on device", "/x"),
    ValueError("\ud800"), AssertionError(), SilentError(), SystemExit(0),
    BaseExceptionGroup("of none", [KeyboardInterrupt()]), ValueError("\x1b[2J\nevil"),
]  # fmt: skip


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["network", "data"])
def test_whatever_is_raised(parts, whole, tmp_path, place, error):
    parts.broken[place] = (6 if place == "network" else 33), raising(error)
    with pytest.raises(PluginCodeError, match=type(error).__name__) as caught:
        train(tmp_path / "b")
    assert len(str(caught.value)) < 2000
    assert "the state before it is saved" in caught.value.hint
    parts.broken.clear()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_a_recursion_without_end(parts, whole, tmp_path):
    parts.broken["loss"] = 3, endless
    with pytest.raises(PluginCodeError, match="loss `acme/loss`: RecursionError"):
        train(tmp_path / "b")
    parts.broken.clear()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_a_network_of_ready_made_layers_is_named(parts, tmp_path):
    def narrow():
        raise_in = torch.nn.Linear(3, 3)
        raise_in(torch.zeros(1, 4))

    parts.broken["network"] = 2, narrow
    with pytest.raises(PluginCodeError, match=r"model `acme/net`: RuntimeError: .*mat1 and mat2"):
        train(tmp_path / "b")


TURNED = """
import torch
class Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, gradient):
        return turn(gradient)
def broken(gradient):
    raise ZeroDivisionError("7")
def turned(x):
    if BODY == "hook":
        x.register_hook(broken)
    return Turned.apply(x)
def turn(gradient):
"""
BODIES = {
    "raises": 'raise ZeroDivisionError("7")',
    "fails in torch": "return gradient @ torch.zeros(3)",
    "is of another shape": "return torch.zeros(7)",
    "is too many": "return gradient, gradient",
    "hook": "return gradient",
}


@pytest.mark.parametrize("how", BODIES)
@pytest.mark.parametrize("where", ["model", "loss", "both"])
def test_an_error_in_a_backward_pass_is_that_of_the_part(parts, tmp_path, monkeypatch, where, how):
    code = f"BODY = {how!r}{TURNED}    {BODIES[how]}\n"
    Path(parts.__file__).with_name("turned.py").write_text(code)
    turned = importlib.import_module("acme.turned")
    kind = parts.Loss if where == "loss" else parts.Net
    real = kind.forward

    def forward(self, first, *rest):
        if where == "loss":
            return real(self, turned.turned(first), *rest)
        return turned.turned(real(self, first, *rest))

    monkeypatch.setattr(kind, "forward", forward)
    other = {"model": "unet", "model_options": {"width": 4, "depth": 2}}
    changes = {"model": {"loss": "ce"}, "loss": other, "both": {}}[where]
    with pytest.raises(PluginCodeError) as caught:
        train(tmp_path / "b", **changes)
    owner = {"model": "model `acme/net`", "loss": "loss `acme/loss`", "both": "plugin `acme`"}
    assert caught.value.message.startswith(f"{owner[where]}: ")
    assert "(in acme/turned.py:" in caught.value.message


def test_an_interruption_out_of_code_is_gone_on_with(parts, whole, tmp_path):
    parts.broken["network"] = 3, raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b")
    parts.broken.clear()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")

    class Impatient:
        def segzoo_epoch_end(self, epoch):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "c", observers=[Impatient()])
    assert saved_tensors(tmp_path / "c")
    fit(resume=tmp_path / "c", progress=False)
    assert_same_end(whole, tmp_path / "c")


def test_a_half_changed_step_is_not_saved(parts, whole, tmp_path, monkeypatch):
    real, steps = torch.optim.AdamW.step, []

    def step(self, *arguments, **keywords):
        real(self, *arguments, **keywords)
        steps.append(1)
        if len(steps) == 6:
            raise RuntimeError("half way")

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(RuntimeError, match="half way"):
            train(tmp_path / "b")
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_the_random_state_of_a_gpu_is_undone_too(parts, whole, tmp_path, monkeypatch):
    """A stand-in has the place of the GPU's state; each step of the network moves it on by one."""
    gpu, real = [torch.zeros(1)], RandomStates
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: gpu[0].clone())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: gpu.__setitem__(0, state)
    )
    monkeypatch.setattr(undo, "RandomStates", lambda device: real(torch.device("cuda")))
    forward = parts.Net.forward

    def drawing(self, images):
        gpu[0] = gpu[0] + 1
        return forward(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(parts.Net, "forward", drawing)
        parts.broken["network"] = 3, raising(ZeroDivisionError("7"))
        with pytest.raises(PluginCodeError):
            train(tmp_path / "b")
    assert gpu[0] == 2  # The third step had drawn as well.
    parts.broken.clear()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_tensors_are_copied_by_kind_of_device_and_type(monkeypatch):
    calls: list[int] = []
    real = vars(torch)["_foreach_copy_"]
    monkeypatch.setattr(
        torch, "_foreach_copy_", lambda into, of: (calls.append(len(of)), real(into, of))
    )
    kinds = [(d, t) for d in ("cpu", "meta") for t in (torch.half, torch.int64)] * 2
    before = [torch.rand(2, device=device).to(kind) for device, kind in kinds]
    undo.copy_all(before, live := [torch.zeros_like(value) for value in before])
    assert calls == [2, 2, 2, 2]
    assert all(
        torch.equal(a, b) for a, b in zip(before, live, strict=True) if a.device.type == "cpu"
    )


def test_a_bug_of_the_core_stays_what_it_is_and_loses_nothing(parts, whole, tmp_path, monkeypatch):
    real = keeping.StateKeeper.before_step

    def before_step(keeper, run):
        real(keeper, run)
        if run.step == 2:
            raise LookupError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(keeping.StateKeeper, "before_step", before_step)
        with pytest.raises(LookupError, match="a bug"):
            train(tmp_path / "b")
    assert "LookupError: a bug" in (tmp_path / "b" / "traceback.txt").read_text()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(whole, tmp_path / "b")


def test_the_command_line_says_two_lines_and_exits_with_1(parts, tmp_path):
    parts.broken["network"] = 3, raising(PanicException("no"))
    names = ("model", "data", "loss", "metrics", "size", "epochs", "workers", "cache")
    words = [word for name in names for word in (f"--{name}", str(SETTINGS[name]))]
    done = run_here("train", *words, "--out", str(tmp_path / "b"), "--device", "cpu")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith(("note", "warning"))]
    assert len(said) == 2, done.stderr
    assert said[0].startswith("error: model `acme/net`: PanicException: no (in acme/parts.py:")


def process():
    return (
        Path.cwd(), torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout, sys.stderr,
    )  # fmt: skip


@pytest.mark.parametrize("place", ["data", "opened data", "built network", "network"])
def test_code_that_changes_the_process_changes_no_training(
    parts, whole, tmp_path, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    before = process()

    def change():
        os.chdir("/")
        if place != "network":  # What a step itself does is not put back, but where files go.
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.set_grad_enabled(False)

    parts.broken[place] = 1, change
    result = train("b")
    monkeypatch.chdir(tmp_path)
    assert process() == before
    assert result.weights == Path("b/best.safetensors")
    assert_same_end(whole, tmp_path / "b")


def test_the_traceback_of_an_observer_is_kept_too(parts, tmp_path):
    class Broken:
        def segzoo_epoch_end(self, epoch):
            raise PanicException("out of ink")

    result = train(tmp_path / "b", observers=[Broken()])
    assert list(result.disabled_observers) == ["Broken (observers[0])"]
    assert "PanicException: out of ink" in (tmp_path / "b" / "traceback.txt").read_text()


def test_errors_before_the_first_step_leave_nothing(parts, tmp_path):
    parts.broken["data"] = 7, raising(ZeroDivisionError("7"))
    with pytest.raises(SegzooError, match="acme/data, sample .: ZeroDivisionError: 7"):
        train(tmp_path / "b")
    assert not (tmp_path / "b").exists()
