"""A plugin whose parts break where a test or the fault campaign tells them to."""

from typing import Any

PLUGIN = """
from segzoo import DatasetSpec, LossSpec, MetricSpec, ModelSpec
def segzoo_models():
    return [ModelSpec(name="net", summary="m", build="acme.parts:build_net", stride=1)]
def segzoo_datasets():
    return [DatasetSpec(name="data", summary="d", build="acme.parts:build_data")]
def segzoo_losses():
    return [LossSpec(name="loss", summary="l", build="acme.parts:build_loss")]
def segzoo_metrics():
    return [MetricSpec(name="metric", summary="m", build="acme.parts:build_metric")]
"""
PARTS = '''
import torch
from torch import nn

broken = {}  # by the name of a place: (after so many calls, what is called)
calls = {}

def reach(place):
    """Count that code of the plugin comes by here; break where that is to be."""
    calls[place] = calls.get(place, 0) + 1
    after, call = broken.get(place, (0, None))
    if call is not None and calls[place] == after:
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
        reach("network" if self.training else "scored network")
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
        reach("computed metric")
        return 0.5

class Data:
    classes = ("a", "b")
    def __init__(self, count):
        reach("opened data")
        self.keys = [f"picture-{i}" for i in range(count)]
    def __len__(self):
        return len(self.keys)
    def __getitem__(self, index):
        reach("data")
        image = torch.arange(3 * 16 * 16, dtype=torch.uint8).reshape(3, 16, 16) * (index + 1)
        image += torch.randint(0, 50, image.shape, dtype=torch.uint8)
        return image, (image[0] > 100).to(torch.uint8), self.keys[index]

def build_net(*, in_channels, num_classes, options):
    network = Net(num_classes)
    reach("built network")
    return network
def build_loss(*, classes, ignore_index, options):
    return Loss()
def build_metric(*, classes, ignore_index, options):
    return Metric()
def build_data(*, root, split, options):
    from segzoo import MissingSplitError
    if split == "test":
        raise MissingSplitError("none")
    return Data(8 if split == "train" else 4)
'''
SETTINGS: dict[str, Any] = {
    "model": "acme/net", "data": "acme/data", "loss": "acme/loss", "metrics": "acme/metric",
    "size": 16, "epochs": 2, "batch_size": 2, "workers": 0, "cache": "none", "precision": "fp32",
    "progress": False, "device": "cpu", "augment": "strong",
}  # fmt: skip
"""Of a training of 4 steps and 2 scored batches an epoch, which takes a fifth of a second."""
