"""Parts of plugins that return something else than their contracts say: named, in one error."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segzoo import SegzooError, fit
from segzoo.compute.contracts import check_dataset, check_logits, check_parameters, check_scores
from segzoo.losses.weighted import make_loss

SOURCE = """
from segzoo.plugins.hookspecs import hookimpl
from segzoo.plugins.specs import LossSpec, MetricSpec, ModelSpec

def segzoo_losses():
    names = {losses!r}
    return [
        LossSpec(name=name, summary="breaks its contract", build=f"acme.parts:{{name}}")
        for name in names
    ]

def segzoo_metrics():
    names = {metrics!r}
    return [
        MetricSpec(name=name, summary="breaks its contract", build=f"acme.parts:{{name}}")
        for name in names
    ]

def segzoo_models():
    names = {models!r}
    return [
        ModelSpec(name=name, summary="breaks its contract", build=f"acme.parts:{{name}}", stride=1)
        for name in names
    ]
"""

LOSSES = {
    "none": "None",
    "text": "'0.5'",
    "number": "0.5",
    "pixels": "logits.square().mean(1)",
    "one_long": "logits.mean()[None]",
    "complex_one": "logits.mean() * 1j",
    "whole": "logits.mean().long()",
    "several": "(logits.mean(), 1)",
    "detached": "logits.detach().mean()",
    "changes": "logits.mul_(2).mean()",
    "zeroes": "logits.clamp_(min=0).mean()",
}
METRICS = {
    "a_text": "'high'",
    "nothing": "None",
    "nested": "{'a': {'b': 1.0}}",
    "vector": "torch.zeros(3)",
    "unnamed": "{1: 0.5}",
    "imaginary": "1j",
}
MODELS = {
    "list_out": "[self.conv(x)]",
    "none_out": "None",
    "text_out": "'logits'",
    "whole_out": "self.conv(x).long()",
    "complex_out": "self.conv(x) * 1j",
    "no_out": "{'logits': self.conv(x)}",
    "loss_text": "{'out': self.conv(x), 'loss': '0.5'}",
    "loss_pixels": "{'out': self.conv(x), 'loss': self.conv(x)}",
}
PARTS = """
import torch
from torch import nn

class Metric:
    def __init__(self, value): self.value = value
    def update(self, logits, target): pass
    def compute(self): return self.value

class Net(nn.Module):
    def __init__(self, how, channels, classes):
        super().__init__()
        self.conv, self.how = nn.Conv2d(channels, classes, 1), how
    def forward(self, x): return self.how(self, x)
"""


def parts() -> str:
    text = PARTS
    for name, value in LOSSES.items():
        text += f"\ndef {name}(**_): return lambda logits, target: {value}\n"
    for name, value in METRICS.items():
        text += f"\ndef {name}(**_): return Metric({value})\n"
    for name, value in MODELS.items():
        text += (
            f"\ndef {name}(*, in_channels, num_classes, options):"
            f"\n    return Net(lambda self, x: {value}, in_channels, num_classes)\n"
        )
    return text


@pytest.fixture
def acme(install: Any) -> None:
    """Install a package of parts that break their contracts."""
    source = SOURCE.format(losses=list(LOSSES), metrics=list(METRICS), models=list(MODELS))
    install(
        "acme",
        source.replace("from segzoo.plugins.hookspecs import hookimpl\n", ""),
        files={"parts.py": parts()},
    )


def train(root: Path, out: Path, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "model": "unet", "model_options": {"width": 4, "depth": 2}, "data": "hk", "size": 32,
        "epochs": 1, "batch_size": 4, "workers": 0, "precision": "fp32", "device": "cpu",
        "progress": False, "cache": "none", "root": str(root), "out": str(out),
    }  # fmt: skip
    return fit(**{**settings, **changes})


@pytest.mark.parametrize("name", LOSSES)
def test_losses(acme, name):
    loss = make_loss(f"ce + {name}", classes=("a", "b"), ignore_index=255, target="labels")
    alone = make_loss(name, classes=("a", "b"), ignore_index=255, target="labels")
    logits_BKHW = torch.rand(2, 2, 4, 4, requires_grad=True) * 1
    labels_BHW = torch.zeros(2, 4, 4, dtype=torch.long)
    for made in (alone, *([loss] if name != "detached" else [])):
        with pytest.raises(SegzooError, match=f"loss `acme/{name}`"):
            made(logits_BKHW, labels_BHW)
    for made in (alone, loss) if name == "detached" else ():
        made(logits_BKHW.detach(), labels_BHW)  # As in scoring, where nothing learns.


@pytest.mark.parametrize("name", ["pixels", "detached", "zeroes"])
def test_a_training_names_the_loss_before_a_weight_changes(acme, hk_root, tmp_path, name):
    with pytest.raises(SegzooError, match=f"loss `acme/{name}`"):
        train(hk_root, tmp_path / "run", loss=name)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_named_before_the_first_step(acme, hk_root, tmp_path, name):
    with pytest.raises(SegzooError, match=rf"metric `acme/{name}` gives .*contract is a number"):
        train(hk_root, tmp_path / "run", metrics=name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", MODELS)
def test_networks(acme, hk_root, tmp_path, name):
    with pytest.raises(SegzooError, match=rf"model `acme/{name}` returned .*contract is"):
        train(hk_root, tmp_path / "run", model=name, model_options={})
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


class Holding(nn.Module):
    """A network of one parameter of some type."""

    def __init__(self, dtype: torch.dtype | None, learns: bool = True) -> None:
        super().__init__()
        if dtype is not None:
            self.kernel = nn.Parameter(torch.zeros(2, dtype=dtype), requires_grad=learns)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Holding(torch.uint8, learns=False), "parameter `kernel` is of uint8"),
        (Holding(torch.int8, learns=False), "parameter `kernel` is of int8"),
        (Holding(torch.float8_e4m3fn, learns=False), "parameter `kernel` is of float8_e4m3fn"),
        (Holding(torch.bool, learns=False), "parameter `kernel` is of bool"),
        (Holding(torch.float32, learns=False), "none of its parameters learns"),
        (Holding(None), "it has no parameters"),
    ],
)
def test_parameters_that_cannot_be_trained(network, said):
    with pytest.raises(SegzooError, match=f"^model `acme/net`: .*{said}"):
        check_parameters(network, "model `acme/net`")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64])
def test_parameters_that_can(dtype):
    check_parameters(Holding(dtype), "model `acme/net`")


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 3, 8, 8), (1, 2, 8, 4), (0,)])
def test_logits_of_other_shapes(shape):
    with pytest.raises(SegzooError, match="its contract is"):
        check_logits(torch.zeros(shape), "model `acme/net`", 2, (8, 8))


@pytest.mark.parametrize(
    "value", [1, True, 0.5, torch.tensor(0.5), torch.tensor([0.5]), float("nan")]
)
def test_scores_that_are_numbers(value):
    assert type(check_scores({"a": value}, "metric `acme/a`")["a"]) is float


class Data:
    """A data set that answers what it is told to."""

    def __init__(self, **answers: Any) -> None:
        vars(self).update(answers)

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    "answers",
    [
        {"files": lambda index: "/a/b.png"},
        {"files": lambda index: Path("/a/b.png")},
        {"files": lambda index: ["/a/b.png", "/a/c.png"]},
        {"files": lambda index: [None]},
        {"files": lambda index: None},
        {"files": lambda index: []},
        {"files": [Path("/a/b.png")]},
        {"files": "a.png"},
        {"keys": "ab"},
        {"keys": [1, 2]},
        {"keys": (None, "b")},
    ],
)
def test_data_sets(answers):
    with pytest.raises(SegzooError, match=r"^data set `acme/set`: `(files|keys).*contract is"):
        check_dataset(Data(**answers), "data set `acme/set`")


@pytest.mark.parametrize(
    "answers",
    [
        {}, {"keys": ["a", "b"]}, {"keys": {"a": 1}.keys}, {"keys": None},
        {"files": lambda index: (Path("/a"),)}, {"files": lambda index: iter([Path("/a")])},
    ],
)  # fmt: skip
def test_data_sets_that_keep_their_contract(answers):
    check_dataset(Data(**answers), "data set `acme/set`")


def test_a_training_names_the_data_set_before_the_first_step(hk_root, tmp_path, monkeypatch):
    from segzoo_hk import dataset

    monkeypatch.setattr(dataset.HKDataset, "files", lambda self, index: "a.png", raising=True)
    with pytest.raises(SegzooError, match=r"data set `segzoo-hk/hk`: `files\(0\)` is 'a.png'"):
        train(hk_root, tmp_path / "run")
    assert not (tmp_path / "run").exists()
