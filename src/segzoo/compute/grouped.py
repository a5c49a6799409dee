"""Grouped convolutions in fp32 within bf16, where this CPU is faster so.

Depthwise and other grouped convolutions read and write much and multiply little, so that bf16 has
little to give them; and torch since 2.13 has lost the fast CPU path for many of them
(https://github.com/pytorch/pytorch/issues/183815). The dense convolutions around them, most of the
work, stay in bf16.
"""

import functools
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MARGIN = 0.8
"""The share of bf16's time that fp32, conversions included, must stay below to be preferred."""


class _InFp32:
    """Mixed into a convolution's class: under autocast it computes in fp32, from and to bf16."""

    def forward(self, input: Tensor) -> Tensor:
        kind = input.device.type
        if not torch.is_autocast_enabled(kind):
            return super().forward(input)  # type: ignore[misc]
        with torch.autocast(kind, enabled=False):
            output = super().forward(input.float())  # type: ignore[misc]
        return output.to(torch.get_autocast_dtype(kind))


@functools.cache
def _in_fp32(kind: type[nn.Conv2d]) -> Any:
    """Return a class of convolutions, computing in fp32."""
    return type(kind.__name__, (_InFp32, kind), {"plain": kind})


def keep_grouped_fp32(model: nn.Module, keep: bool) -> None:
    """Let the model's grouped convolutions compute in fp32 under autocast, or no longer so.

    Parameters, names and results in fp32 stay as they are.
    """
    for module in model.modules():
        if _is_grouped(module) and isinstance(module, _InFp32) != keep:
            kind: Any = type(module)
            module.__class__ = _in_fp32(kind) if keep else kind.plain


def better_in_fp32(model: nn.Module, device: torch.device, precision: str) -> bool:
    """Whether the model has grouped convolutions that are faster in fp32 on this machine."""
    if precision != "bf16" or device.type != "cpu":
        return False
    return any(_is_grouped(module) for module in model.modules()) and _slow_in_bf16()


def _is_grouped(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1


@functools.cache
def _slow_in_bf16() -> bool:
    """Time a depthwise convolution forwards and back, as it is in an encoder; takes about 0.1 s."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        images_BCHW = torch.ones(4, 144, 64, 64, dtype=torch.bfloat16)
        images_BCHW = images_BCHW.to(memory_format=torch.channels_last).requires_grad_()
        weight_C1HW = torch.ones(144, 1, 3, 3, requires_grad=True)

        def seconds(dtype: torch.dtype) -> float:
            took = []
            for _ in range(4):
                start = time.perf_counter()
                output = functional.conv2d(
                    images_BCHW.to(dtype), weight_C1HW.to(dtype), padding=1, groups=144
                )
                output.bfloat16().sum().backward()
                took.append(time.perf_counter() - start)
            return min(took[1:])

        return seconds(torch.float32) < MARGIN * seconds(torch.bfloat16)
