"""Batch norms over the batch of all ranks."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.compute.ranks import _together, total


def same_norms(model: nn.Module) -> None:
    """Let a model's batch norms see the batch of all ranks, on every device.

    Changes the modules in place and keeps their parameters, buffers and names. torch's own
    SyncBatchNorm runs on GPUs alone, and leaves out the activations that timm's norms have.
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SummedBatchNorm
        elif isinstance(module, nn.BatchNorm2d) and hasattr(module, "act"):
            module.__class__ = _with_activation(type(module))


class SummedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batch of all ranks, as Ioffe & Szegedy, 2015, over the whole of it."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input_BCHW."""
        together = self.training and _together.get()
        return _normalised(self, input) if together else super().forward(input)


@functools.cache
def _with_activation(norm: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """Return the same for a norm of timm (BatchNormAct2d), which has `drop` and `act` besides."""

    class SummedBatchNormAct(norm):
        def forward(self, x: Tensor) -> Tensor:
            if not (self.training and _together.get()):
                return super().forward(x)
            out_BCHW: Any = _normalised(self, x)
            for after in (self.drop, self.act):
                out_BCHW = after(out_BCHW)  # type: ignore[operator]
            return out_BCHW

    return SummedBatchNormAct


def _normalised(norm: nn.BatchNorm2d, input_BCHW: Tensor) -> Tensor:
    """Normalise by the mean and variance over all ranks, and remember them.

    The values and then their squared distances from the mean are added up: the difference of the
    mean square and the squared mean would lose what it is about.
    """
    values_BCHW = input_BCHW.float()
    sizes = values_BCHW.new_tensor([input_BCHW.numel() // input_BCHW.shape[1]])
    sums = total(torch.cat([values_BCHW.sum((0, 2, 3)), sizes]))
    mean_C, size = sums[:-1] / sums[-1], sums[-1].detach()
    centred_BCHW = values_BCHW - mean_C[:, None, None]
    variance_C = total(centred_BCHW.square().sum((0, 2, 3))) / size
    if norm.track_running_stats and norm.running_mean is not None:
        _remember(norm, mean_C.detach(), variance_C.detach() * size / (size - 1).clamp(min=1))
    scale_C = torch.rsqrt(variance_C + norm.eps)
    if norm.weight is not None:
        scale_C = scale_C * norm.weight
    out_BCHW = centred_BCHW * scale_C[:, None, None]
    if norm.bias is not None:
        out_BCHW = out_BCHW + norm.bias[:, None, None]
    return out_BCHW.to(input_BCHW.dtype)


@torch.no_grad()
def _remember(norm: nn.BatchNorm2d, mean_C: Tensor, variance_C: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:
        momentum = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean_C, momentum)
    norm.running_var.lerp_(variance_C, momentum)
