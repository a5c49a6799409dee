"""Hostile and damaged weights files: refused by name, before they take memory."""

import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import segzoo
from segzoo.errors import SegzooError
from segzoo.model.tensors import parse_json, read_header
from segzoo.model.weights import load_model, read_info


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(kind="F32", shape=(2,), at=(0, 8)):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(at)}


def test_a_sound_file_says_what_it_holds(tmp_path):
    tensors = {"a": torch.zeros(2, 3), "b": torch.zeros(0, 4), "c": torch.ones(5).bool()}
    tensors["d"] = torch.tensor(1, dtype=torch.int64)
    save_file(tensors, tmp_path / "a.safetensors", metadata={"x": "ü"})
    header = read_header(tmp_path / "a.safetensors")
    assert header.metadata == {"x": "ü"}
    assert header.shapes == {name: tuple(value.shape) for name, value in tensors.items()}
    assert header.types == {"a": "F32", "b": "F32", "c": "BOOL", "d": "I64"}


HOSTILE = {
    "longer than any": (b"", "it does not begin as such a file does"),
    "longer than the file": (struct.pack("<Q", 99), "a header of 99 bytes in a file of 16"),
    "no json": (b"{", "Expecting"),
    "no text": (b"\xff\xfe", "codec"),
    "a list": ([], "is not an object"),
    "deep": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested deeper"),
    "huge shape": ({"a": tensor(shape=(2**40, 2**40))}, "bytes for F32"),
    "overflowing shape": ({"a": tensor(shape=(2**63, 2**63), at=(0, 0))}, "has the shape"),
    "negative shape": ({"a": tensor(shape=(-2,))}, "has the shape"),
    "a shape of truths": ({"a": tensor(shape=(True,))}, "has the shape"),
    "fractions": ({"a": tensor(shape=(2.0,))}, "has the shape"),
    "beyond the end": ({"a": tensor(shape=(4,), at=(0, 16))}, "bytes of tensors where"),
    "backwards": ({"a": tensor(at=(8, 0))}, "is at"),
    "overlap": ({"a": tensor(), "b": tensor(at=(4, 12))}, "overlap or leave a hole"),
    "hole": ({"a": tensor(shape=(1,), at=(4, 8))}, "overlap or leave a hole"),
    "unknown type": ({"a": tensor(kind="PICKLE")}, "unknown type 'PICKLE'"),
    "not described": ({"a": {"dtype": "F32"}}, "is not described"),
    "metadata are no texts": ({"__metadata__": {"a": 1}, "a": tensor()}, "are not texts"),
    "a name twice": (b'{"a": 1, "a": 2}', "comes twice"),
    "not a number": (b'{"a": NaN}', "NaN is not a number"),
    "many dimensions": ({"a": tensor(shape=(1,) * 99 + (2,))}, "has the shape"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_by_name(tmp_path, name):
    header, message = HOSTILE[name]
    path = write(tmp_path / "x.safetensors", header, bytes(8))
    if name == "longer than any":
        path.write_bytes(struct.pack("<Q", 2**62))
    elif name == "longer than the file":
        path.write_bytes(header + bytes(8))
    for read in (read_header, read_info, load_model):
        with pytest.raises(SegzooError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return segzoo.fit(
        model="linknet", data="hk", sample=True, size=32, epochs=1, workers=0, progress=False,
        out=out, model_options={"width": 4},
    ).weights  # fmt: skip


def unsigned(weights):
    """Return weights' metadata as those of an older segzoo, which wrote no checksum."""
    info = json.loads(read_header(weights).metadata["segzoo"]) | {"checksum": None}
    return {"format": "pt", "segzoo": json.dumps(info)}


def changed_info(weights, path, **changes):
    """Copy weights with another description."""
    info = json.loads(read_header(weights).metadata["segzoo"])
    info["checksum"] = None  # As a file that was written so.
    for name, value in changes.items():
        info["model" if name in info["model"] else name] = (
            {**info["model"], name: value} if name in info["model"] else value
        )
    save_file(load_file(weights), path, metadata={"format": "pt", "segzoo": json.dumps(info)})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 10**9}, "description is damaged"),
        (
            {"in_channels": 4000, "mean": [0.5] * 4000, "std": [0.5] * 4000},
            "does not hold the weights",
        ),
        ({"options": {"width": 10**6}}, "does not hold the weights"),
        (
            {"classes": ["a"] * 50_000, "palette": [[0, 0, 0]] * 50_000},
            "does not hold the weights",
        ),
        ({"size": [10**9, 10**9]}, "description is damaged"),
        ({"mean": [float("inf")] * 3}, "description is damaged"),
        ({"identity": "os/system"}, "is not installed"),
    ],
)
def test_what_a_description_asks_for_takes_no_memory(weights, tmp_path, changes, message):
    path = changed_info(weights, tmp_path / "x.safetensors", **changes)
    with pytest.raises(SegzooError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("outlined", [True, False])
def test_networks_that_need_values_are_not_built_larger_than_their_file(
    weights, tmp_path, monkeypatch, outlined
):
    path = changed_info(weights, tmp_path / "x.safetensors", options={"width": 10**5})
    if not outlined:
        monkeypatch.setattr("segzoo.model.weights.outlined", lambda *_: None)
    with pytest.raises(SegzooError, match=rf"{path}.*the file's are far smaller" if not outlined
                       else f"{path} does not hold the weights"):  # fmt: skip
        load_model(path)


SENSELESS = {
    "model": [5, {}, {"identity": "segzoo-linknet/linknet"}],
    "identity": ["x", "../x", "a b/c", "evil; rm -rf ~/x", "a/b/c", "\x1b[2J/x", 5],
    "version": [5, "\x1b[2J"],
    "options": [5, [], {"width": [4]}, {"width": float("1e300")}, {"width": {"a": 4}}],
    "in_channels": [0, -1, "3", 3.0, True, None, 10**400],
    "classes": [[], "ab", [1, 2], ["a", "\x1b[31mb"], ["a", "\ud800"], {"a": 1}, ["a"]],
    "palette": [5, [[0, 0, 0]], [[0, 0, 0], [0, 0, 256]], [[0, 0, 0], [0, 0]], [[0, 0, 0], "abc"]],
    "target": ["mattes", None, 5],
    "ignore_index": ["255", 1.5, 10**30, True],
    "threshold": ["127", -1, 0.5],
    "value_range": [[0], [255, 0], [0, 0], [0, 1e300], ["0", "1"], [0, 10**400]],
    "mean": [[0.5], [0.5, 0.5, "x"], [1e9] * 3, 0.5, [0.5, 0.5, 10**400]],
    "std": [[0, 0, 0], [1e-30] * 3, [-1, -1, -1], [1, 1]],
    "size": [[32], [32, 32.5], ["32", 32], [0, 32], [1 << 16, 1 << 16], 32],
    "data": [5, {}, {"identity": "os; system", "version": "", "options": {}, "fingerprint": ""}],
    "metrics": [5, {"val": 5}, {"val": {"loss": "x"}}, {"val": {"\x1b": 1}}],
    "epoch": ["1", -1, 1.5],
    "precision": ["int3", None],
    "format_version": ["1", 0, None, True],
    "segzoo": [5], "torch": [None],
}  # fmt: skip


@pytest.mark.parametrize("name", SENSELESS)
def test_every_value_of_a_description_is_checked(weights, tmp_path, name):
    for value in SENSELESS[name]:
        path = changed_info(weights, tmp_path / "x.safetensors", **{name: value})
        with pytest.raises(SegzooError, match="its description is damaged: `") as caught:
            read_info(path)
        assert str(path) in caught.value.message
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "NaN", "9" * 5000, "[" * 40 + "]" * 40])
def test_odd_numbers_in_a_description(weights, tmp_path, literal):
    for name in ("in_channels", "epoch", "ignore_index"):
        path = changed_info(weights, tmp_path / "x.safetensors", **{name: "@"})
        info = read_header(path).metadata["segzoo"].replace('"@"', literal)
        save_file(load_file(weights), path, metadata={"segzoo": info})
        with pytest.raises(SegzooError, match="its description is damaged"):
            load_model(path)


def test_a_file_downloads_and_reads_nothing_besides_itself(weights, tmp_path, monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda *a: asked.append(a))
    for name, message in (("imagenet", "does not hold the weights"), ("a1_in1k", "reads or down")):
        options = {"encoder": "resnet18", "encoder_weights": name}
        path = changed_info(weights, tmp_path / "x.safetensors", options=options)
        with pytest.raises(SegzooError, match=message):
            load_model(path)
    assert not asked
    # A file of tensors on this disk is no less outside of the weights file.
    import timm

    encoder = timm.create_model("resnet18")
    save_file(encoder.state_dict(), tmp_path / "resnet18.safetensors")
    made = segzoo.create_model(
        "linknet",
        options={"encoder": "resnet18", "encoder_weights": str(tmp_path / "resnet18.safetensors")},
    )
    described = json.loads(read_header(weights).metadata["segzoo"])
    described["model"]["options"] = {
        "encoder": "resnet18", "encoder_weights": str(tmp_path / "resnet18.safetensors"),
    }  # fmt: skip
    path = tmp_path / "y.safetensors"
    save_file(made.network.state_dict(), path, metadata={"segzoo": json.dumps(described)})
    with pytest.raises(SegzooError, match=r"option encoder_weights=.* reads or downloads"):
        load_model(path)


def test_weights_that_are_no_numbers_are_refused(weights, tmp_path):
    tensors = load_file(weights)
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    for value in (float("nan"), float("inf")):
        tensors[name].view(-1)[0] = value
        save_file(tensors, tmp_path / "x.safetensors", metadata=unsigned(weights))
        with pytest.raises(SegzooError, match=rf"x\.safetensors: the values of `{name}` are not"):
            load_model(tmp_path / "x.safetensors")


def test_weights_load_as_they_were_saved(weights):
    model, _ = load_model(weights)
    tensors = load_file(weights)
    assert all(torch.equal(v, tensors[k]) for k, v in model.network.state_dict().items())
    assert all(not p.is_meta and p.requires_grad for p in model.parameters())


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_changed_files_are_refused_or_mean_the_same(weights, tmp_path_factory, data):
    whole = weights.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, length + 8))
        changed[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([None, length // 2, length + 100]))
    path = tmp_path_factory.mktemp("changed") / "x.safetensors"
    path.write_bytes(changed[:cut] if cut else changed)
    try:
        header = read_header(path)
    except SegzooError as error:
        assert str(path) in str(error)
        return
    # What is let through is what the format's own reader finds in it.
    assert {name: tuple(value.shape) for name, value in load_file(path).items()} == header.shapes


@pytest.mark.parametrize("text", [b"[1, 2]", b'{"a": {"b": "}]]]]]]]]]]]]]]]]]]]]"}}', b'"\\"[["'])
def test_brackets_in_texts_are_no_depth(text):
    assert parse_json(text) == json.loads(text)
