"""The checksum of weights files: every bit counts, and files without one are read as before."""

import json
import random

import pytest
import torch
from helpers import run_here
from safetensors.torch import load_file, save_file

import segzoo
from segzoo.errors import SegzooError
from segzoo.model.checksum import sum_of
from segzoo.model.foreign import import_weights
from segzoo.model.tensors import read_header
from segzoo.model.weights import load_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    network = segzoo.create_model("unet", options={"width": 2, "depth": 2}).network
    torch.save(network.state_dict(), folder / "a.pth")
    import_weights(
        folder / "a.pth", folder / "a.safetensors", model="unet",
        options={"width": 2, "depth": 2}, classes=["background", "person"],
    )  # fmt: skip
    return folder / "a.safetensors"


def test_a_rotten_bit_anywhere_is_noticed(weights, tmp_path):
    whole, chance = weights.read_bytes(), random.Random(0)
    path = tmp_path / "x.safetensors"
    for _ in range(60):
        place = chance.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(SegzooError, match=r"x\.safetensors"):
            load_model(path)


@pytest.mark.parametrize("word", [b"checksum", b"person", b"blake2b", b"format", b"pt"])
def test_so_is_one_in_every_word_of_the_header(weights, tmp_path, word):
    whole = weights.read_bytes()
    place = whole.index(word)
    while place >= 0:
        for at in range(place, place + len(word)):
            for bit in range(8):
                changed = bytearray(whole)
                changed[at] ^= 1 << bit
                (tmp_path / "x.safetensors").write_bytes(changed)
                with pytest.raises(SegzooError, match=r"x\.safetensors"):
                    load_model(tmp_path / "x.safetensors")
        place = whole.find(word, place + 1)


def test_what_was_written_otherwise_is_said_to_be(weights, tmp_path):
    tensors, metadata = load_file(weights), read_header(weights).metadata
    names = list(tensors)
    swapped = {**tensors, names[0]: tensors[names[0]] + 1e-3}
    save_file(swapped, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(SegzooError, match="are not those that were written"):
        load_model(tmp_path / "x.safetensors")


def test_files_of_an_older_segzoo_are_read_and_inspect_says_so(weights, tmp_path):
    info = json.loads(read_header(weights).metadata["segzoo"])
    assert info["checksum"] == "blake2b"
    assert "checksum    blake2b" in run_here("inspect", str(weights)).stdout
    del info["checksum"]
    metadata = {"format": "pt", "segzoo": json.dumps(info)}
    save_file(load_file(weights), tmp_path / "x.safetensors", metadata=metadata)
    load_model(tmp_path / "x.safetensors")
    told = run_here("inspect", str(tmp_path / "x.safetensors")).stdout
    assert "none: of an older segzoo" in told


def test_names_types_and_shapes_count_and_so_do_many_bytes():
    one = {"a": torch.zeros(4), "b": torch.zeros(0)}
    sums = {
        sum_of({"x": "y"}, tensors)
        for tensors in (
            one,
            {"a": torch.zeros(2, 2), "b": torch.zeros(0)},
            {"a": torch.zeros(4, dtype=torch.int32), "b": torch.zeros(0)},
            {"b": torch.zeros(4), "a": torch.zeros(0)},
            {"a": torch.zeros(4, dtype=torch.bfloat16), "b": torch.zeros(0)},
            {"a": torch.tensor(0.0), "b": torch.zeros(0)},
            {"a": torch.zeros(1 << 20)},
        )
    }
    assert len(sums) == 7
    assert sum_of({"x": "y"}, one) == sum_of({"x": "y"}, dict(reversed(one.items())))
