import pytest
import torch
from torch import nn

from segzoo.errors import SegzooError
from segzoo.model.network import create_model, model_record
from segzoo.model.pixels import Preprocess, normalization
from segzoo.plugins.options import options_dict

SPEC = """
from segzoo import ModelSpec
def segzoo_models():
    return [ModelSpec(name="odd", summary="s", build="acme.net:build", stride={stride}{more})]
"""


def with_network(install, body, stride=8, more=""):
    source = "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
    source += "    def __init__(self, c, k):\n        super().__init__()\n"
    source += "        self.conv = nn.Conv2d(c, k, 1)\n"
    source += f"    def forward(self, images, target=None):\n        {body}\n"
    source += (
        "def build(*, in_channels, num_classes, options): return Net(in_channels, num_classes)\n"
    )
    install("acme", SPEC.format(stride=stride, more=more), files={"net.py": source})
    return create_model("odd", num_classes=3)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16), (33, 5)])
def test_any_size_is_padded_to_the_stride_and_cropped(install, size):
    model = with_network(install, "assert images.shape[2] % 8 == images.shape[3] % 8 == 0\n"
                                  "        return self.conv(images)")  # fmt: skip
    images = torch.randn(2, 3, *size)
    conv = model.network.get_submodule("conv")
    assert torch.allclose(model(images), conv(images))


def test_dict_outputs_are_cropped_in_training(install):
    body = "out = self.conv(images); return {'out': out, 'aux': 2 * out}"
    model = with_network(install, body).train()
    output = model(torch.randn(1, 3, 9, 9))
    assert output["out"].shape == output["aux"].shape == (1, 3, 9, 9)


def test_a_model_that_computes_its_loss_gets_the_target(install):
    body = (
        "out = self.conv(images)\n"
        "        if not self.training: return out\n"
        "        assert target.shape[1:] == images.shape[2:]\n"
        "        assert target.tolist() == [[[7] * 16] * 16]\n"
        "        return {'out': out, 'loss': out.mean() + target.float().mean() * 0}"
    )
    model = with_network(install, body, more=", computes_loss=True").train()
    output = model(torch.randn(1, 3, 9, 9), torch.full((1, 9, 9), 7))
    assert output["loss"].ndim == 0
    assert model.eval()(torch.randn(1, 3, 9, 9)).shape == (1, 3, 9, 9)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return self.conv(images)[:, :, ::2, ::2]",
            r"model `acme/odd` returned logits of \(8, 8\)",
        ),
        ("return self.conv(images)[:, :2]", "its contract is logits B x 3"),
    ],
)
def test_a_model_that_breaks_its_contract_is_named(install, body, message):
    with pytest.raises(SegzooError, match=message):
        with_network(install, body)(torch.randn(1, 3, 16, 16))


def test_the_number_of_channels_is_checked():
    with pytest.raises(SegzooError, match="made for 3 channels, the picture has 1"):
        create_model("linknet", options={"width": 4})(torch.randn(1, 1, 64, 64))


def test_options_come_typed_or_as_strings():
    network = create_model("unet", options={"width": "4"}).network
    assert network.get_parameter("head.weight").shape[1] == 4
    with pytest.raises(
        SegzooError,
        match="model `segzoo-unet/unet`: option `width` takes a whole number of at least 1",
    ):
        create_model("unet", options={"width": 0})
    with pytest.raises(SegzooError, match="up=unpool needs"):
        create_model("unet", options={"up": "unpool", "down": "avg"})


def test_what_is_built_must_be_a_module(install):
    install("acme", SPEC.format(stride=1, more=""), files={"net.py": "def build(**_): return 3\n"})
    with pytest.raises(SegzooError, match="build returned int"):
        create_model("odd")


def test_preprocess_is_totensor_and_normalize():
    mean, std = normalization("imagenet", 3)
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = (images / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert torch.allclose(Preprocess(mean, std, (0, 255))(images), expected, atol=1e-5)
    deep = torch.tensor([[[[0, 65535]]]], dtype=torch.uint16)
    made = Preprocess(*normalization("unit", 1), (0, 65535))(deep)
    assert torch.allclose(made, torch.tensor([0.0, 1.0]))
    assert normalization("imagenet", 4) == ((0.5,) * 4, (0.5,) * 4)
    assert isinstance(Preprocess(mean, std, (0, 255)), nn.Module)


CARRIED = """
from dataclasses import dataclass
from segzoo import ModelSpec, option
@dataclass(frozen=True, kw_only=True)
class Options:
    width: int = option(2, "channels")
    start: str | None = option(None, "file of weights to start from")
def segzoo_models():
    return [ModelSpec(name="odd", summary="s", build="acme.net:build", stride=1, options=Options)]
"""
CARRIED_NET = """
from torch import nn
def build(*, in_channels, num_classes, options):
    if options.start == "gone":
        raise FileNotFoundError("the file is not read when weights are loaded")
    network = nn.Conv2d(in_channels, num_classes, options.width)
    network.saved_options = {saved}
    return network
"""


def test_saved_options_take_the_place_of_those_that_were_given(install):
    install("acme", CARRIED, files={"net.py": CARRIED_NET.format(saved='{"width": 3}')})
    model = create_model("odd", options={"start": "there"})
    assert model_record(model)["options"] == {"width": 3, "start": None}
    assert options_dict(model.options) == {"width": 2, "start": "there"}


@pytest.mark.parametrize("saved", ["3", "{'hight': 3}"])
def test_saved_options_that_are_none_of_the_model_are_refused(install, saved):
    install("acme", CARRIED, files={"net.py": CARRIED_NET.format(saved=saved)})
    with pytest.raises(SegzooError, match=r"saved_options.* `acme/odd`|`acme/odd`: saved_options"):
        model_record(create_model("odd"))
