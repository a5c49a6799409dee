"""What a network may hold so that it can be kept and read: known before the first step."""

import importlib
import json
from typing import Any

import pytest
import torch
from breaking import PARTS, PLUGIN, SETTINGS
from safetensors.torch import load_file, save_file

import segzoo
from segzoo import SegzooError, fit
from segzoo.model.tensors import MOST_DIMENSIONS, SIZES, TYPES, read_header, tensors_fault


@pytest.fixture
def parts(install) -> Any:
    """Install the plugin; return its module, of which `Net` is what `acme/net` builds."""
    install("acme", PLUGIN, files={"parts.py": PARTS})
    return importlib.import_module("acme.parts")


def train(out, **changes):
    settings: dict[str, Any] = {**SETTINGS, "epochs": 1, "out": str(out), **changes}
    return fit(**settings)


def with_buffer(parts, monkeypatch, value, name="table"):
    """Give the network a buffer, which its output does not depend on."""
    real = parts.Net

    class Net(real):
        def __init__(self, num_classes):
            super().__init__(num_classes)
            self.register_buffer(name, value.clone())

    monkeypatch.setattr(parts, "Net", Net)


ALLOWED = {
    "a causal mask": torch.full((3, 3), -torch.inf).triu(1),
    "a table of NaN": torch.tensor([1.0, torch.nan]),
    "complex": torch.tensor([1 + 2j, 3j]),
    "complex and infinite": torch.tensor([complex(torch.inf, 0)]),
    "float8": torch.zeros(3).to(torch.float8_e4m3fn),
    "uint16": torch.zeros(3, dtype=torch.uint16),
    "bool": torch.tensor([True]),
    "empty": torch.zeros(0, 3),
}


@pytest.mark.parametrize("kind", ALLOWED)
def test_buffers_hold_anything(parts, monkeypatch, tmp_path, kind):
    value = ALLOWED[kind]
    with_buffer(parts, monkeypatch, value)
    result = train(tmp_path / "a")
    network = segzoo.load(result.weights).model.network
    assert torch.equal(as_bytes(network.table), as_bytes(value))
    fit(resume=tmp_path / "a", epochs=2, progress=False)
    segzoo.load(result.weights)


def as_bytes(value):
    return value.contiguous().view(torch.uint8) if value.numel() else value


@pytest.mark.parametrize("name", ["running_var", "my_running_var", "running_mean"])
def test_only_norms_have_variances(parts, monkeypatch, tmp_path, name):
    with_buffer(parts, monkeypatch, torch.tensor([-1.0, torch.inf]), name)
    assert segzoo.load(train(tmp_path / "a").weights)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("layers.1.running_var", -1.0, "`layers.1.running_var`, a variance, is negative"),
        ("layers.1.running_mean", torch.nan, "values of `layers.1.running_mean` are not all finit"),
        ("layers.0.weight", torch.inf, "values of `layers.0.weight` are not all finite"),
    ],
)
def test_damaged_weights_are_refused(parts, tmp_path, name, value, said):
    path = train(tmp_path / "a").weights
    tensors, metadata = load_file(path), read_header(path).metadata
    tensors[name].flatten()[0] = value
    described = json.loads(metadata.pop("segzoo"))
    del described["checksum"], metadata["checksum"]  # as an earlier segzoo wrote it
    metadata["segzoo"] = json.dumps(described)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(SegzooError, match=said):
        segzoo.load(path)


REFUSED = {
    "complex128": (torch.zeros(2, dtype=torch.complex128), "`table` is of complex128, which"),
    "sparse": (torch.zeros(2, 2).to_sparse(), "`table` is of sparse_coo, which files do not hold"),
    "deep": (torch.zeros([1] * (MOST_DIMENSIONS + 1)), "tensor `table` has the shape"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_files_do_not_hold_is_known_before_the_first_step(parts, monkeypatch, tmp_path, kind):
    value, said = REFUSED[kind]
    with_buffer(parts, monkeypatch, value, "table")
    with pytest.raises(SegzooError, match=said) as caught:
        train(tmp_path / "a")
    assert "model `acme/net` could be trained, but not kept" in str(caught.value)
    assert not (tmp_path / "a").exists()
    assert "network" not in parts.calls


def test_further_state_is_refused(parts, monkeypatch, tmp_path):
    monkeypatch.setattr(parts.Net, "get_extra_state", lambda self: {"a": 1}, raising=False)
    monkeypatch.setattr(parts.Net, "set_extra_state", lambda self, state: None, raising=False)
    with pytest.raises(SegzooError, match="`_extra_state` is a dict, no tensor"):
        train(tmp_path / "a")


def test_a_state_dict_that_does_not_load_is_refused(parts, monkeypatch, tmp_path):
    def renamed(self, *arguments, **keywords):
        state = super(parts.Net, self).state_dict(*arguments, **keywords)
        for name in [name for name in state if "head.weight" in name]:
            state[f"{name}.renamed"] = state.pop(name)
        return state

    monkeypatch.setattr(parts.Net, "state_dict", renamed, raising=False)
    with pytest.raises(SegzooError, match=r"cannot be loaded again: .*head.weight"):
        train(tmp_path / "a")


def test_a_network_that_is_built_otherwise_each_time_is_refused(parts, monkeypatch, tmp_path):
    widths = iter(range(2, 100))

    class Net(torch.nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.a = torch.nn.Conv2d(3, width := next(widths), 1)
            self.b = torch.nn.Conv2d(width, num_classes, 1)

        def forward(self, images):
            return self.b(self.a(images))

    monkeypatch.setattr(parts, "Net", Net)
    with pytest.raises(SegzooError, match="built anew with its options .* it takes other tensors"):
        train(tmp_path / "a")


def test_the_dry_run_leaves_the_training_as_it_is(parts, monkeypatch, tmp_path):
    train(tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr("segzoo.train.fit.rehearse", lambda run: None)
        train(tmp_path / "b")
    one, other = (load_file(tmp_path / name / "best.safetensors") for name in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_complex_parameters_are_trained_and_kept(parts, monkeypatch, tmp_path):
    class Net(parts.Net):
        def __init__(self, num_classes):
            super().__init__(num_classes)
            self.turn = torch.nn.Parameter(torch.ones(1, dtype=torch.complex64))

        def forward(self, images):
            return super().forward(images * (self.turn.abs()))

    monkeypatch.setattr(parts, "Net", Net)
    assert segzoo.load(train(tmp_path / "a").weights).model.network.turn.is_complex()


def test_what_is_written_is_what_is_read(tmp_path):
    assert set(TYPES.values()) == set(SIZES)
    tensors = {name: torch.zeros(2, 3).to(getattr(torch, name)) for name in TYPES}
    assert not tensors_fault(tensors)
    save_file(tensors, tmp_path / "all.safetensors")
    assert read_header(tmp_path / "all.safetensors").types == {n: TYPES[n] for n in TYPES}
    for name in ("complex128", "float8_e8m0fnu"):
        assert tensors_fault({"a": torch.zeros(2).to(getattr(torch, name))})
    assert "too long" in tensors_fault(
        {f"{n}" * 400: torch.zeros(1) for n in range(10_000, 13_000)}
    )
    assert tensors_fault({"a": torch.zeros([1] * (MOST_DIMENSIONS + 1))})
