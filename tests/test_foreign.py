"""Weights that others saved."""

import copy
import json
import os
import pickle
import zipfile
from typing import Any

import pytest
import torch
from helpers import run_here

import segzoo
from segzoo.errors import SegzooError
from segzoo.model.building import BoundedMemory
from segzoo.model.foreign import import_weights, read_tensors
from segzoo.model.pickled import load_pickled
from segzoo.model.weights import load_model

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
    ("spoil", "message"),
    [
        (lambda v: v.to(torch.int64), "holds int64, no weights"),
        (lambda v: v > 0, "holds bool, no weights"),
        (lambda v: v.to(torch.complex64), "holds complex64, no weights"),
        (lambda v: v.to_sparse(), "is a sparse, quantized or empty tensor"),
        (lambda v: v * float("nan"), "are not all finite numbers"),
    ],
)
def test_tensors_that_can_be_no_weights_are_refused(state, tmp_path, spoil, message):
    name = next(name for name, value in state.items() if value.ndim == 4)
    path = save(tmp_path / "a.pth", {**state, name: spoil(state[name])})
    with pytest.raises(SegzooError, match=rf"a\.pth: .*`{name}` {message}"):
        import_weights(path, tmp_path / "b.safetensors", **HOW)
    assert not (tmp_path / "b.safetensors").exists()


def test_a_variance_is_not_negative(state, tmp_path):
    name = next(name for name in state if name.endswith("running_var"))
    path = save(tmp_path / "a.pth", {**state, name: -state[name]})
    with pytest.raises(SegzooError, match=rf"`{name}`, a variance, is negative"):
        import_weights(path, tmp_path / "b.safetensors", **HOW)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is damaged"), (b"some text", "is damaged"), (b"PK\x03\x04" + bytes(99), "is damaged")],
)
def test_files_of_others_are_told_from_programs(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(SegzooError, match=rf"a\.pth {message}") as caught:
        import_weights(tmp_path / "a.pth", tmp_path / "b.safetensors", **HOW)
    assert "weights_only" not in str(caught.value)


def test_a_module_or_a_program_is_refused_by_what_it_needs(tmp_path):
    path = save(tmp_path / "a.pth", torch.nn.Linear(2, 2))
    with pytest.raises(SegzooError, match=r"without running what is in it: it needs `torch\.nn.*`"):
        import_weights(path, tmp_path / "b.safetensors", **HOW)
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "b.pt")
    with pytest.raises(SegzooError, match=r"b\.pt is a TorchScript archive"):
        import_weights(tmp_path / "b.pt", tmp_path / "b.safetensors", **HOW)


def test_settings_of_an_import_are_checked_first(state, tmp_path):
    path = save(tmp_path / "a.pth", state)
    for how, message in (
        ({"normalize": "imagnet"}, r"--normalize imagnet\ndid you mean `imagenet`"),
        ({"classes": ["a", "a"]}, "--classes a,a"),
        ({"classes": ["", ""]}, "--classes ,"),
    ):
        with pytest.raises(SegzooError, match=message):
            import_weights(path, tmp_path / "b.safetensors", **{**HOW, **how})


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


def zipped(path, *, packed, size=1 << 20, name="archive/data/0"):
    """Write an archive as torch.save does, one of whose members is said, or made, to be large."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
        file.writestr("archive/version", "3")
        file.writestr(name, bytes(size))
    return path


def overlapping(path):
    """Write an archive whose directory names the same bytes many times."""
    zipped(path, packed=False)
    with zipfile.ZipFile(path, "a") as file:
        for number in range(1, 50):
            twice = copy.copy(file.getinfo("archive/data/0"))
            twice.filename = f"archive/data/{number}"
            file.filelist.append(twice)
        setattr(file, "_didModify", True)  # noqa: B010 - so that the directory is written anew
    return path


HOSTILE = {
    "compressed": (lambda path: zipped(path, packed=True), "is compressed, .* bytes"),
    "overlapping": (overlapping, "52 members of .* bytes"),
    "a large pickle": (
        lambda path: zipped(path, packed=False, size=(64 << 20) + 1, name="archive/b.pkl"),
        "of them names and plain values",
    ),
    "cut": (lambda path: path.write_bytes(zipped(path, packed=False).read_bytes()[:-30]), "damag"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_takes_more_than_its_file_is_refused_by_its_directory(
    tmp_path, name, monkeypatch
):
    make, message = HOSTILE[name]
    make(tmp_path / "a.pth")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("it was read"))
    with pytest.raises(SegzooError, match=rf"a\.pth.*{message}"):
        import_weights(tmp_path / "a.pth", tmp_path / "b.safetensors", **HOW)


def test_a_pickle_that_makes_large_tensors_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(2, 2)}, tmp_path / "small.pth")
    assert load_pickled(tmp_path / "small.pth")["a"].shape == (2, 2)
    with pytest.raises(SegzooError, match=r"x: .*it makes a tensor"), BoundedMemory("x", 100):
        torch.empty(10**9)


def nested(depth: int) -> bytes:
    """Return a pickle of lists within lists, which reading in C or printing would not survive."""
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (nested(300_000), "no tensors by name"),
        (b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".", "no tensors by name"),
        (b"\x80\x02}q\0.", "no tensors by name"),
        (b"", "damaged"),
    ],
    ids=["deep", "a long number", "nothing", "empty"],
)
def test_odd_pickles(tmp_path, pickled, said):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", "3")
    with pytest.raises(SegzooError, match=said):
        read_tensors(tmp_path / "x.pth")


def test_a_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(SegzooError, match="no such file|is a pipe, not a file of weights"):
        import_weights(tmp_path / "a.pth", tmp_path / "b.safetensors", **HOW)
    with pytest.raises(SegzooError, match="is a pipe, not a file of weights"):
        load_pickled(tmp_path / "a.pth")
