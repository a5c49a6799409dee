import json

import forked
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import segzoo
from segzoo.errors import SegzooError
from segzoo.model.weights import read_info


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train once: a small linknet on the stand-in of hk."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return segzoo.fit(
        model="linknet", data="hk", sample=True, size="64x48", epochs=1, workers=0, out=out,
        model_options={"width": 4}, precision="fp32", progress=False,
    )  # fmt: skip


def rewrite(path, to, change_info=None, drop=None):
    """Copy a weights file with a changed description or without a tensor."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    info = json.loads(metadata["segzoo"])
    if change_info:
        change_info(info)
    tensors = load_file(path)
    if drop:
        del tensors[drop]
    save_file(tensors, to, metadata={**metadata, "segzoo": json.dumps(info)})
    return to


def test_the_header_says_what_the_design_lists(trained):
    info = read_info(trained.weights)
    assert info.format_version == 1
    assert info.model == {
        "identity": "segzoo-linknet/linknet", "version": "0.1.0",
        "options": {"encoder": None, "encoder_weights": "imagenet", "width": 4},
        "in_channels": 3,
    }  # fmt: skip
    assert info.classes == ("background", "person")
    assert len(info.palette) == 2
    assert (info.target, info.threshold, info.size) == ("labels", 127, (64, 48))
    assert info.data["identity"] == "segzoo-hk/hk"
    assert len(info.data["fingerprint"]) == 16
    assert 0 < info.metrics["test"]["mean_iou"] < 1
    assert info.torch == torch.__version__
    assert info.segzoo == segzoo.__version__


def test_a_new_process_gives_the_same_logits_bit_for_bit(trained, tmp_path):
    images = torch.randint(0, 256, (2, 3, 50, 70), dtype=torch.uint8)
    save_file({"images": images}, tmp_path / "in.safetensors")
    code = (
        "import sys, torch, segzoo\n"
        "from safetensors.torch import load_file, save_file\n"
        "torch.set_num_threads(1)\n"
        "images = load_file(sys.argv[2])['images']\n"
        "models = {p: segzoo.load(sys.argv[1], device='cpu', precision=p) for p in sys.argv[4:]}\n"
        "logits = {p: model.logits(images).contiguous() for p, model in models.items()}\n"
        "save_file(logits, sys.argv[3])\n"
    )
    words = [trained.weights, tmp_path / "in.safetensors", tmp_path / "out.safetensors"]
    done = forked.python(code, *map(str, words), "fp32", "bf16").done()
    assert done.returncode == 0, done.stderr
    there = load_file(tmp_path / "out.safetensors")
    for precision in ("fp32", "bf16"):
        here = segzoo.load(trained.weights, device="cpu", precision=precision).logits(images)
        assert torch.equal(there[precision], here)


def test_the_file_holds_the_plugins_own_state_dict(trained):
    model = segzoo.create_model("linknet", options={"width": 4})
    assert load_file(trained.weights).keys() == model.network.state_dict().keys()


def test_a_plugin_that_is_gone_is_named_with_its_pip_line(trained, tmp_path, install):
    def elsewhere(info):
        info["model"]["identity"] = "acme-nets/shiny"

    path = rewrite(trained.weights, tmp_path / "a.safetensors", elsewhere)
    expected = (
        "needs the model `acme-nets/shiny` of the package `acme-nets`.*\n.*`pip install acme-nets`"
    )
    with pytest.raises(SegzooError, match=expected):
        segzoo.load(path)


def test_deleting_the_package_gives_the_error_that_names_it(tmp_path, install):
    net = (
        "from torch import nn\n"
        "def build(*, in_channels, num_classes, options):\n"
        "    return nn.Conv2d(in_channels, num_classes, 3, padding=1)\n"
    )
    source = (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='tiny', summary='s', build='acme.net:build', stride=1)]\n"
    )
    package = install("acme", source, files={"net.py": net})
    result = segzoo.fit(
        model="tiny", data="hk", sample=True, size=16, epochs=1, out=tmp_path / "run",
        workers=0, progress=False,
    )  # fmt: skip
    assert segzoo.load(result.weights).info.model["identity"] == "acme/tiny"
    for path in (package, package.parent / "acme-1.0.dist-info"):
        for file in path.rglob("*"):
            if file.is_file():
                file.unlink()
    (package.parent / "acme-1.0.dist-info").rename(tmp_path / "gone")
    code = (
        f"import segzoo\ntry: segzoo.load({str(result.weights)!r})\n"
        "except segzoo.SegzooError as error: print(error)\n"
    )
    told = forked.python(code).done().stdout
    assert "`acme/tiny` of the package `acme` 1.0, which is not installed" in told
    assert "pip install acme" in told


def other_options(info):
    info["model"]["options"]["width"] = 8


def other_model(info):
    info["model"] = {**info["model"], "identity": "segzoo-unet/unet", "options": {"width": 4}}


def unknown_option(info):
    info["model"]["options"]["hight"] = 8


def later_format(info):
    info["format_version"] = 99


def no_size(info):
    del info["size"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_options, "does not hold the weights of `segzoo-linknet/linknet` with these options"),
        (other_model, "does not hold the weights of `segzoo-unet/unet`"),
        (unknown_option, "no option `hight`"),
        (later_format, "weights format 99.*\n.*upgrade"),
        (no_size, "its description is damaged: `size` is missing"),
    ],
)
def test_weights_that_do_not_fit_are_explained(trained, tmp_path, change, message):
    with pytest.raises(SegzooError, match=message):
        segzoo.load(rewrite(trained.weights, tmp_path / "a.safetensors", change))


def test_a_missing_tensor_is_named(trained, tmp_path):
    name = "stem.0.0.weight"
    with pytest.raises(SegzooError, match=name):
        segzoo.load(rewrite(trained.weights, tmp_path / "a.safetensors", drop=name))


def test_files_that_are_no_weights_are_refused_by_name(trained, tmp_path):
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(SegzooError, match=r"model\.pth is a Python pickle, .*\n.*import"):
        segzoo.load(pickle)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(trained.weights.read_bytes()[:-1000])
    with pytest.raises(SegzooError, match=r"cut\.safetensors is not a readable .*\n.*truncated"):
        segzoo.load(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(SegzooError, match="does not say which segzoo model"):
        segzoo.load(foreign)
    with pytest.raises(SegzooError, match=r"no such file\ngive one of those .*cut\.safetensors"):
        segzoo.load(tmp_path / "gone.safetensors")


def test_tied_weights_are_saved(tmp_path, install):
    net = (
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, c, k):\n"
        "        super().__init__()\n"
        "        self.a = nn.Conv2d(c, c, 1)\n"
        "        self.b = nn.Conv2d(c, c, 1)\n"
        "        self.b.weight = self.a.weight\n"
        "        self.head = nn.Conv2d(c, k, 1)\n"
        "    def forward(self, x): return self.head(self.b(self.a(x)))\n"
        "def build(*, in_channels, num_classes, options): return Net(in_channels, num_classes)\n"
    )
    source = (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='tied', summary='s', build='acme.net:build', stride=1)]\n"
    )
    install("acme", source, files={"net.py": net})
    result = segzoo.fit(
        model="tied", data="hk", sample=True, size=16, epochs=1, out=tmp_path / "run",
        workers=0, progress=False,
    )  # fmt: skip
    network = segzoo.load(result.weights).model.network
    assert torch.equal(network.a.weight, network.b.weight)
