"""A few steps on one batch, as ModelConformance needs them: does it learn, is all of it reached."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.losses.pixelwise import CrossEntropy
from segzoo.model.network import SegmentationModel
from segzoo.train.step import loss_of

STEPS = 20


@dataclass
class Training:
    """Losses by step, the parameters no gradient reached, the last output, the model itself."""

    model: SegmentationModel
    losses: list[float] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    output: Any = None


def pictures(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return images_BCHW of about zero mean and unit variance, the same every time."""
    generator = torch.Generator().manual_seed(count * 10_007 + height * 101 + width)
    return torch.randn(count, channels, height, width, generator=generator)


def bright_boxes(count: int, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """Return images_BCHW with a bright box each, and labels_BHW that are 1 in the box."""
    labels_BHW = torch.zeros(count, side, side, dtype=torch.int64)
    for index in range(count):
        top, left = (index * side // 7) % (side // 2), (index * side // 5) % (side // 2)
        labels_BHW[index, top : top + side // 2, left : left + side // 2] = 1
    images_BCHW = 0.3 * pictures(count, channels, side, side)
    return images_BCHW + (2.0 * labels_BHW - 1)[:, None], labels_BHW


def train_a_little(model: SegmentationModel, side: int) -> Training:
    """Train by AdamW at 1e-3 on one batch of 4 pictures, side x side.

    For 20 steps, or fewer: until the loss has fallen well and every parameter was reached.
    """
    images_BCHW, labels_BHW = bright_boxes(4, model.in_channels, side)
    record = Training(model.train())
    trained = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    unreached = set(trained)
    loss = CrossEntropy(None, 0.0)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, fused=True) if trained else None
    while len(record.losses) < STEPS and (unreached or not _has_learned(record.losses)):
        record.output = model(images_BCHW, labels_BHW)
        value, _ = loss_of(record.output, labels_BHW, loss, 0.4)
        record.losses.append(float(value.detach()))
        if optimizer is None or not value.requires_grad:
            continue
        value.backward()
        unreached -= {n for n in unreached if _has_gradient(trained[n])}
        nn.utils.clip_grad_norm_(trained.values(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    record.unreached = [name for name in trained if name in unreached]
    return record


def _has_learned(losses: list[float]) -> bool:
    """Say whether the last three losses are well below the first one."""
    return len(losses) > 3 and max(losses[-3:]) < 0.8 * losses[0]


def _has_gradient(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool((parameter.grad != 0).any())
