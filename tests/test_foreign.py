"""Weights that others saved."""

import json
import os
from typing import Any

import pytest
import torch
from helpers import run_here

import segzoo
from segzoo.errors import SegzooError
from segzoo.foreign import import_weights
from segzoo.weights import load_model

HOW = {"model": "linknet", "options": {"width": 4}, "classes": ["background", "person"]}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    network = segzoo.create_model("linknet", in_channels=3, num_classes=2, options={"width": 4})
    return network.network.state_dict()


def save(path, values):
    torch.save(values, path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()}},
        lambda state: {**state, "epoch": 3, "extra": torch.zeros(2)},
    ],
)
def test_the_usual_wrappings_are_taken_off(state, tmp_path, wrap):
    report = import_weights(
        save(tmp_path / "a.pth", wrap(state)), tmp_path / "b.safetensors", **HOW
    )
    assert report.tensors == len(state)
    model, info = load_model(tmp_path / "b.safetensors")
    assert info.classes == ("background", "person")
    assert all(torch.equal(v, state[k]) for k, v in model.network.state_dict().items())


def test_names_are_replaced(state, tmp_path):
    other = {k.replace("stem.", "first.", 1): v for k, v in state.items()}
    path = save(tmp_path / "a.pth", other)
    with pytest.raises(
        SegzooError, match=r"missing are stem\..*it has besides first\..*\n.*--by-order"
    ):
        import_weights(path, tmp_path / "b.safetensors", **HOW)
    ways: list[dict[str, Any]] = [{"renames": {"first.": "stem."}}, {"by_order": True}]
    for how in ways:
        out = tmp_path / f"{len(how)}-{next(iter(how))}.safetensors"
        import_weights(path, out, **HOW, **how)
        model, _ = load_model(out)
        assert all(torch.equal(v, state[k]) for k, v in model.network.state_dict().items())


def test_what_does_not_fit_is_said(state, tmp_path):
    path = save(tmp_path / "a.pth", state)
    with pytest.raises(SegzooError, match=r"other shapes: .*\n.*--classes"):
        import_weights(path, tmp_path / "b.safetensors", **{**HOW, "classes": ["a", "b", "c"]})
    with pytest.raises(SegzooError, match="holds no tensors by name"):
        import_weights(save(tmp_path / "c.pth", {"a": 1}), tmp_path / "b.safetensors", **HOW)
    with pytest.raises(SegzooError, match="no such file"):
        import_weights(tmp_path / "none.pth", tmp_path / "b.safetensors", **HOW)
    assert not (tmp_path / "b.safetensors").exists()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "a.pth", {"state_dict": Harmful()})
    with pytest.raises(SegzooError, match="cannot be read without running what is in it"):
        import_weights(path, tmp_path / "b.safetensors", **HOW)
    assert not (tmp_path / "harm").exists()


def test_the_command(state, tmp_path):
    path = save(tmp_path / "a.pth", {f"module.{k}": v for k, v in state.items()})
    words = ["import", str(path), "--model", "linknet", "-o", "width=4", "--classes", "sky,ground"]
    done = run_here(*words, "--out", str(tmp_path / "b.safetensors"), "--size", "64x96")
    assert done.returncode == 0, done.stderr
    assert f"{len(state)} tensors matched by name, without `module.`" in done.stdout
    shown = json.loads(run_here("inspect", str(tmp_path / "b.safetensors"), "--json").stdout)
    assert shown["classes"] == ["sky", "ground"]
    assert shown["size"] == [64, 96]
    again = run_here(*words, "--out", str(tmp_path / "b.safetensors"))
    assert "exists already" in again.stderr
