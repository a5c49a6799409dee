"""Code of a plugin that raises something at a random step: what was done is gone on with."""

import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .plugins import RAISES, refuse
from .training import digest
from .watching import heard

PLUGIN = """
from segzoo import DatasetSpec, LossSpec, MetricSpec, ModelSpec
def segzoo_models():
    return [ModelSpec(name="net", summary="m", build="crashing.parts:build_net", stride=1)]
def segzoo_datasets():
    return [DatasetSpec(name="data", summary="d", build="crashing.parts:build_data")]
def segzoo_losses():
    return [LossSpec(name="loss", summary="l", build="crashing.parts:build_loss")]
def segzoo_metrics():
    return [MetricSpec(name="metric", summary="m", build="crashing.parts:build_metric")]
"""
PARTS = """
import torch
from torch import nn

calls = {}
broken = {}  # by a place in this code: (in which call, what is called then)

def reach(place):
    calls[place] = calls.get(place, 0) + 1
    number, call = broken.get(place, (0, None))
    if calls[place] == number:
        call()

class Back(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()
    @staticmethod
    def backward(ctx, gradient):
        reach("backward")
        return gradient

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.ReLU()
        )
        self.head = nn.Conv2d(4, num_classes, 1)
    def forward(self, images):
        features = self.layers(images)
        reach("network")
        return Back.apply(self.head(features)) + 0.01 * torch.rand(())

class Loss(nn.Module):
    def forward(self, logits, target):
        torch.rand(())
        reach("loss")
        return nn.functional.cross_entropy(logits, target, ignore_index=255)

class Metric:
    def update(self, logits, target):
        reach("metric")
    def compute(self):
        reach("metric")
        return 0.5

class Data:
    classes = ("a", "b")
    def __init__(self, count):
        self.keys = [f"picture-{i}" for i in range(count)]
    def __len__(self):
        return len(self.keys)
    def __getitem__(self, index):
        reach("data set")
        image = torch.randint(0, 255, (3, 16, 16), dtype=torch.uint8)
        return image, (image[0] > 100).to(torch.uint8), self.keys[index]

def build_net(*, in_channels, num_classes, options):
    return Net(num_classes)
def build_loss(*, classes, ignore_index, options):
    return Loss()
def build_metric(*, classes, ignore_index, options):
    return Metric()
def build_data(*, root, split, options):
    from segzoo import MissingSplitError
    if split == "test":
        raise MissingSplitError("none")
    return Data(8 if split == "train" else 4)

class Observer:
    def segzoo_epoch_end(self):
        reach("observer")
    def segzoo_checkpoint_saved(self):
        reach("observer")
"""
SETTINGS: dict[str, Any] = {
    "model": "crashing/net", "data": "crashing/data", "loss": "crashing/loss", "size": 16,
    "metrics": "crashing/metric", "epochs": 2, "batch_size": 2, "workers": 0, "cache": "none",
    "precision": "fp32", "progress": False, "device": "cpu", "augment": "strong",
}  # fmt: skip
OWNERS = {
    "network": "model `crashing/net`", "backward": "plugin `crashing`",
    "loss": "loss `crashing/loss`", "metric": "metric `crashing/metric`",
    "data set": "crashing/data, sample ",
}  # fmt: skip


class PanicException(BaseException):
    """What code in Rust raises."""


KINDS: dict[str, Callable[[], object]] = {
    **RAISES,
    "panic": refuse(PanicException("index out of bounds")),
    "GeneratorExit": refuse(GeneratorExit()),
    "Ctrl-C": refuse(KeyboardInterrupt()),
}


def crashes(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Break trainings, go on with them, and compare their ends with that of an undisturbed one."""
    parts = installed(folder)
    failures: list[str] = []
    faults = Counter[str]()
    undrawn = [patch(f"segzoo.report.draw_{name}") for name in ("curves", "predictions")]
    for one in undrawn:
        one.start()
    before = dict(trained(folder / "whole", parts))
    began: dict[str, int] = before.pop("began")
    for number in range(count):
        place = chance.choice([*OWNERS, "observer"])
        how = chance.choice([*KINDS])
        first = began.get(place, 0)
        parts.calls.clear()
        which = first + chance.randint(1, before[place] - first)
        parts.broken[place] = which, anew(KINDS[how])
        way = f"{place}: {how} in call {which} of {before[place]}"
        faults[f"{place}: {how}"] += 1
        out = folder / f"run-{number}"
        fault = ended(out, parts, place, how)
        if not fault and digest(out) != digest(folder / "whole"):
            fault = "other weights"
        if fault:
            failures.append(f"{way}: {fault}")
    for one in undrawn:
        one.stop()
    by_place = Counter(name.partition(":")[0] for name in faults.elements())
    return {
        "crashes": count, "places": dict(by_place),
        "kinds": len({name.partition(": ")[2] for name in faults}), "failures": failures[:20],
    }  # fmt: skip


def anew(call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that raises what `call` does, without where that was raised before."""

    def raise_anew() -> None:
        try:
            call()
        except BaseException as error:
            raise error.with_traceback(None) from None

    return raise_anew


def ended(out: Path, parts: Any, place: str, how: str) -> str:
    """Train with what is broken, and go on without; return what was wrong with that, or ""."""
    from segzoo.train.fit import fit

    raised: BaseException | None = None
    with heard() as said:
        try:
            fit(**SETTINGS, out=str(out), observers=[parts.Observer()])
        except BaseException as error:
            raised = error
        parts.broken.clear()
        fault = untold(out, raised, place, how, said)
        if raised is not None:
            try:
                fit(resume=out, progress=False)
            except BaseException as error:
                return fault or f"not gone on with: {type(error).__name__}: {error}"[:300]
    return fault


def untold(out: Path, raised: Any, place: str, how: str, said: list[str]) -> str:
    """Return what was not said of an error as it has to be, or ""."""
    from segzoo.errors import PluginCodeError

    if how == "Ctrl-C":
        return "" if isinstance(raised, KeyboardInterrupt) else f"raised {raised!r:.80}"
    if not (out / "traceback.txt").is_file():
        return "no traceback.txt"
    if place == "observer":
        told = any("Observer" in line for line in said)
        return f"raised {raised!r:.80}" if raised else "" if told else "not told"
    if not isinstance(raised, PluginCodeError) or OWNERS[place] not in raised.message:
        return f"not named: {raised!r:.200}"
    nothing = "step 1," in raised.message or "after step 0" in raised.message
    saved = "the state before it is saved" in raised.hint
    return "" if saved or nothing else f"not saved: {raised.hint:.200}"


def trained(out: Path, parts: Any) -> dict[str, Any]:
    """Train undisturbed; return how often each place was reached, and `began`: before training."""
    from segzoo.train.fit import fit

    began: dict[str, int] = {}

    class Start:
        def segzoo_fit_start(self) -> None:
            began.update(parts.calls)

    fit(**SETTINGS, out=str(out), observers=[parts.Observer(), Start()])
    return {**parts.calls, "began": began}


def installed(folder: Path) -> Any:
    """Lay the plugin out as pip does; return its module of parts."""
    import importlib

    from segzoo.plugins import get_manager

    package, info = folder / "site" / "crashing", folder / "site" / "crashing-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(PLUGIN)
    (package / "parts.py").write_text(PARTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crashing\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[segzoo.v1]\ncrashing = crashing.plugin\n")
    sys.path.insert(0, str(folder / "site"))
    get_manager.cache_clear()
    return importlib.import_module("crashing.parts")
