"""Names out of files, archives and folders are printed so that no terminal obeys them."""

import json
import re

import numpy as np
import pytest
import torch
from helpers import run_here
from PIL import Image
from safetensors.torch import load_file, save_file

import segzoo
from segzoo.cli.tables import printable
from segzoo.errors import SegzooError
from segzoo.model.foreign import import_weights
from segzoo.model.tensors import read_header
from segzoo.words import visible

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u2028\x08"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


def harmless(*words):
    """Run a command and return its output, in which nothing is that a terminal obeys."""
    result = run_here(*map(str, words))
    text = result.stdout + result.stderr
    assert not OBEYED.search(text), repr(text)
    return text


def test_what_is_made_visible():
    assert (
        visible("plain, 中文, é, \u3000, a\u200db\n\tc") == "plain, 中文, é, \u3000, a\u200db\n\tc"
    )
    assert visible(EVIL) == ("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202egnp.exe\\u2066\\u2028\\x08")
    assert visible("\udc80\ufeff\U000e0041\x7f") == "\\udc80\\ufeff\\U000e0041\\x7f"
    assert printable("a\nb\tc") == "a\\nb\\tc"
    assert not OBEYED.search(str(SegzooError(EVIL, EVIL)))


@pytest.fixture(scope="module")
def state():
    network = segzoo.create_model("unet", options={"width": 2, "depth": 2}).network
    return network.state_dict()


def the_words(file, out):
    return ("import", file, "--model", "unet", "-o", "width=2", "-o", "depth=2", "--out", out,
            "--classes", "a,b")  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_import_and_its_errors(state, tmp_path, suffix):
    def save(values):
        path = tmp_path / f"a{suffix}"
        torch.save(values, path) if suffix == ".pth" else save_file(values, path)
        return path

    told = harmless(*the_words(save({**state, EVIL: torch.zeros(1)}), tmp_path / "x.safetensors"))
    assert "not used: \\x1b]0;owned" in told
    renamed = {(EVIL + name if place == 0 else name): v for place, (name, v) in
               enumerate(state.items())}  # fmt: skip
    assert "it has besides \\x1b" in harmless(*the_words(save(renamed), tmp_path / "y.safetensors"))
    assert "no such file" in harmless(*the_words(tmp_path / f"{EVIL}.pth", tmp_path / "y"))
    if suffix == ".pth":
        told = harmless(*the_words(save({**state, EVIL: 5}), tmp_path / "z.safetensors"))
        assert "no tensors: \\x1b" in told
        assert "\\x1b" in harmless(*the_words(save({EVIL: 5}), tmp_path / "y.safetensors"))


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.save(state, folder / "a.pth")
    import_weights(
        folder / "a.pth", folder / "a.safetensors", model="unet",
        options={"width": 2, "depth": 2}, classes=["a", "b"],
    )  # fmt: skip
    return folder / "a.safetensors"


BIDI = "\u202egnp\u2066"  # Those of its characters that no rule of a description refuses.


def test_inspect_and_errors_of_weights(weights, tmp_path):
    info = json.loads(read_header(weights).metadata["segzoo"]) | {"checksum": None}
    info["classes"] = [BIDI, "b"]
    info["data"]["fingerprint"] = info["data"]["version"] = BIDI
    info["data"]["options"] = {BIDI: BIDI}
    info["metrics"] = {BIDI: {BIDI: 0.5, f"iou/{BIDI}": 0.5}}
    info["segzoo"] = info["torch"] = info["model"]["version"] = BIDI
    path = tmp_path / f"{BIDI}.safetensors"
    save_file(load_file(weights), path, metadata={"segzoo": json.dumps(info)})
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    assert "\\u202e" in harmless("inspect", path)
    assert "\\u202e" in harmless("inspect", path, "--json")
    info["model"]["options"] = {BIDI: BIDI}
    save_file(load_file(weights), path, metadata={"segzoo": json.dumps(info)})
    assert "has no option" in harmless("predict", path, tmp_path, "-o", tmp_path / "out")
    for other in ("data", "fingerprint"):
        info[other] = EVIL
        save_file(load_file(weights), path, metadata={"segzoo": json.dumps(info)})
        harmless("inspect", path)
    tensors = load_file(weights)
    tensors[EVIL] = torch.zeros(1)
    save_file(tensors, path, metadata={"segzoo": read_header(weights).metadata["segzoo"]})
    assert "is none of them" in harmless("predict", path, tmp_path, "-o", tmp_path / "out")


def test_names_of_pictures_and_folders(tmp_path):
    root = tmp_path / f"root{EVIL[:4]}"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for number in range(3):
            values = np.full((32, 32), number, np.uint8)
            Image.fromarray(values).save(root / kind / f"{number}\x1b[2J\u202e.png")
    (root / "images" / "3\x1b[2J.png").write_bytes(b"no picture")
    (root / "masks" / "3\x1b[2J.png").write_bytes(b"no picture")
    assert "\\x1b[2J" in harmless("data", "check", "folder", "--root", root)
    assert "\\x1b[2J" in harmless("data", "check", "folder", "--root", root / "none\x1b[2J")
    assert "\\x1b" in harmless("list", "models\x1b[2J") + harmless("show", "models\x1b[2J")
