"""Trainings left in the middle of a step, of waiting for pictures, of scoring; or by an error."""

import contextlib
import os
import signal
import time
from typing import Any

import pytest
import torch
from helpers import stop_after
from safetensors.torch import load_file

from segzoo import SegzooError, fit
from segzoo.errors import Overdue, StoppedError
from segzoo.train import loop, step
from segzoo.train.recovery import saving as keeping
from segzoo.train.recovery import stopping
from segzoo.train.recovery.state import _newest

TINY = {
    "model": "linknet", "data": "hk", "size": 32, "epochs": 2, "batch_size": 2, "workers": 0,
    "model_options": {"width": 4}, "precision": "fp32", "progress": False, "device": "cpu",
    "augment": "strong",
}  # fmt: skip
LONG = 60  # seconds, which nobody waits for


def train(root, out, **changes):
    settings: dict[str, Any] = {**TINY, "root": str(root), "out": str(out), **changes}
    return fit(**settings)


def assert_same_end(one, two):
    ends = [
        {**load_file(folder / "best.safetensors"), **_newest(folder)[1]} for folder in (one, two)
    ]
    assert ends[0].keys() == ends[1].keys()
    assert not [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])]


def long_time():
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        time.sleep(0.01)
    raise AssertionError("waited for")


@pytest.fixture
def slow(monkeypatch):
    """Let a call of something take very long, SIGTERM coming meanwhile."""
    monkeypatch.setattr(stopping, "PATIENCE", 0.3)

    def slow(where, name, call, started=(True,)):
        """Call number `call` since `started` holds something takes long."""
        real, calls = getattr(where, name), []

        def wrapped(*args, **how):
            result = real(*args, **how)
            calls.extend([1] * bool(started))
            if started and len(calls) == call:
                os.kill(os.getpid(), signal.SIGTERM)
                long_time()
            return result

        monkeypatch.setattr(where, name, wrapped)

    return slow


@pytest.mark.parametrize("call", [1, 4, 6])
def test_a_step_that_takes_long_is_undone(hk_root, tmp_path, slow, monkeypatch, call):
    train(hk_root, tmp_path / "a")
    slow(step, "loss_of", call)
    start = time.monotonic()
    with pytest.raises(
        StoppedError, match=f"stopped by SIGTERM in epoch .*, after step {call - 1}"
    ):
        train(hk_root, tmp_path / "b")
    assert time.monotonic() - start < LONG / 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    monkeypatch.undo()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(tmp_path / "a", tmp_path / "b")


def test_backward_passes_are_left_too(hk_root, tmp_path, slow, monkeypatch):
    train(hk_root, tmp_path / "a")
    monkeypatch.setattr(keeping, "SLOW", 0.0)

    class Slow(torch.autograd.Function):
        """A backward pass that hears nothing by itself, as none does, and then goes on."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    real, calls = step.loss_of, []

    def loss_of(*args):
        loss, logits = real(*args)
        calls.append(1)
        if len(calls) == 3:
            loss.register_hook(lambda _: os.kill(os.getpid(), signal.SIGTERM))
            parameter = next(iter(run[0].model.parameters()))
            parameter.register_post_accumulate_grad_hook(lambda _: long_time())
        return loss, logits

    run = []
    real_epoch = loop.train_epoch
    monkeypatch.setattr(
        loop, "train_epoch", lambda r, *rest: (run.append(r), real_epoch(r, *rest))[1]
    )
    monkeypatch.setattr(step, "loss_of", loss_of)
    with pytest.raises(StoppedError, match="after step 2"):
        train(hk_root, tmp_path / "b")
    monkeypatch.undo()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("alone", [True, False])
def test_one_of_several_processes_leaves_nothing_in_the_middle(monkeypatch, alone):
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    with stopping.listening(alone=alone) as wish:
        os.kill(os.getpid(), signal.SIGTERM)
        assert wish.signal == signal.SIGTERM
        expected = pytest.raises(Overdue) if alone else contextlib.nullcontext()
        with expected, wish.interruptible():
            time.sleep(0.5)
        time.sleep(0.1)  # Outside nothing is raised either way.
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_scoring_that_takes_long_is_left(hk_root, tmp_path, slow, monkeypatch):
    train(hk_root, tmp_path / "a")
    slow(loop, "memory_format", 3)  # asked for before each split is scored
    with pytest.raises(StoppedError, match="in the scoring of epoch 2"):
        train(hk_root, tmp_path / "b")
    monkeypatch.undo()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(tmp_path / "a", tmp_path / "b")


def test_waiting_for_a_picture_is_left(hk_root, tmp_path, slow, monkeypatch):
    how = {"cache": "none"}
    train(hk_root, tmp_path / "a", **how)
    import segzoo_hk.dataset as hk

    # Before the first step pictures are looked at, as many as there is time for.
    real, steps = step.loss_of, []

    def loss_of(*args, **how):
        steps.append(1)
        return real(*args, **how)

    monkeypatch.setattr(step, "loss_of", loss_of)
    slow(hk, "read_matte", 2, started=steps)
    with pytest.raises(StoppedError, match="stopped by SIGTERM in"):
        train(hk_root, tmp_path / "b", **how)
    monkeypatch.undo()
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(tmp_path / "a", tmp_path / "b")


def test_an_error_loses_nothing_that_was_done_before_it(hk_root, tmp_path, monkeypatch):
    how = {"save_minutes": 0, "augment": "none"}
    train(hk_root, tmp_path / "a", **how)
    real, calls = step.loss_of, []

    def loss_of(output, target, loss, weight):
        calls.append(1)
        value, logits = real(output, target, loss, weight)
        return value * (float("nan") if len(calls) == 6 else 1), logits

    with monkeypatch.context() as patch:
        patch.setattr(step, "loss_of", loss_of)
        with pytest.raises(SegzooError, match="not finite in step 6, with the pictures"):
            train(hk_root, tmp_path / "b", **how)
    saved, tensors = _newest(tmp_path / "b")
    assert saved.values["step"] == 5
    assert all(torch.isfinite(v).all() for v in tensors.values() if v.is_floating_point())
    assert fit(resume=tmp_path / "b", on_nonfinite="skip", progress=False).skipped_steps == ()
    assert_same_end(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_gradient_that_is_no_number_is_seen_where_nothing_is_clipped(
    hk_root, tmp_path, monkeypatch, policy
):
    real, calls = step.add_gradients, []

    def add_gradients(run, group, watch):
        real(run, group, watch)
        calls.append(1)
        if len(calls) == 2:
            next(p for p in run.model.parameters() if p.grad is not None).grad[0] = float("inf")

    monkeypatch.setattr(step, "add_gradients", add_gradients)
    how = {"clip_grad": 0.0, "on_nonfinite": policy}
    if policy == "stop":
        with pytest.raises(SegzooError, match="gradient is not finite in step 2, with the picture"):
            train(hk_root, tmp_path / "a", **how)
        assert _newest(tmp_path / "a")[0].values["step"] == 1
        return
    result = train(hk_root, tmp_path / "a", **how)
    ((number, pictures),) = result.skipped_steps
    assert number == 2
    assert len(pictures) == 2
    assert all(
        torch.isfinite(v).all() for v in load_file(result.weights).values() if v.is_floating_point()
    )


DATA = """
from segzoo import DatasetSpec
def segzoo_datasets():
    return [DatasetSpec(name="chance", summary="d", build="acme.data:build")]
"""
DATA_CODE = """
import random
import numpy as np
import torch
def sample(index):
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    image[0, :8] = random.randrange(256)
    image[1, :8] = int(np.random.randint(256))
    return image, (image[0] > 100).to(torch.uint8), str(index)
class Chance:
    classes = ("a", "b")
    keys = [str(i) for i in range(7)]
    def __len__(self):
        return 7
    def __getitem__(self, index):
        return sample(index)
class Stream:
    classes = ("a", "b")
    def __iter__(self):
        yield from map(sample, range(7))
def build(*, root, split, options):
    from segzoo import MissingSplitError
    if split != "train":
        raise MissingSplitError("none")
    return Stream() if root and root.name == "stream" else Chance()
"""


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("map", {"workers": 0, "cache": "none"}),
        ("map", {"workers": 2, "cache": "none"}),
        ("map", {"workers": 0}),
        ("stream", {}),
    ],
)
def test_what_a_data_set_draws_is_drawn_again(install, tmp_path, monkeypatch, kind, how):
    install("acme", DATA, name="chance", files={"data.py": DATA_CODE})
    (tmp_path / kind).mkdir()
    how = {"data": "acme/chance", "model": "unet", "model_options": {"width": 4, "depth": 2}, **how}
    train(tmp_path / kind, tmp_path / "a", **how)
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        with pytest.raises(StoppedError):
            train(tmp_path / kind, tmp_path / "b", **how)
    fit(resume=tmp_path / "b", progress=False)
    assert_same_end(tmp_path / "a", tmp_path / "b")
    if kind == "map" and how["workers"] == 0 and "cache" in how:  # nor does it matter who reads
        train(tmp_path / kind, tmp_path / "c", **{**how, "workers": 1})
        assert_same_end(tmp_path / "a", tmp_path / "c")
