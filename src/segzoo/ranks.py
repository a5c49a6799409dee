"""Several processes that train or score together, as `torchrun` starts them.

Each process, a rank, has a share of every batch. B batch, K classes, N pictures, S sums.
"""

import contextlib
import contextvars
import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

PATIENCE = datetime.timedelta(minutes=30)
"""How long a rank waits for the others, who may be reading pictures for the first time. One that
has ended is noticed at once."""

_together: contextvars.ContextVar[float] = contextvars.ContextVar("together", default=0.0)


@dataclass(frozen=True)
class Ranks:
    """Which rank this is, of how many, and which of those on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and speaks for all."""
        return self.rank == 0

    def share(self, pictures: int) -> slice:
        """Return which pictures of a batch are this rank's: in order, equally many but for one."""
        each, left = divmod(pictures, self.count)
        start = self.rank * each + min(self.rank, left)
        return slice(start, start + each + (self.rank < left))


def asked_for() -> Ranks:
    """Return what the environment of `torchrun` says; one rank where there is none."""
    names = {"rank": "RANK", "count": "WORLD_SIZE", "local": "LOCAL_RANK"}
    return Ranks(**{k: int(os.environ[name]) for k, name in names.items() if name in os.environ})


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other ranks for the time of the block, over NCCL on CUDA devices, else over gloo."""
    ranks = asked_for()
    if ranks.count == 1:
        yield ranks
        return
    mine = not dist.is_initialized()
    if mine:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield ranks
    finally:
        if mine:
            dist.destroy_process_group()


@contextlib.contextmanager
def one_batch(share: float) -> Iterator[None]:
    """Let losses in the block be those of a batch of all ranks, of which this one has `share`.

    `total` then adds up over the ranks, and `own_share` is what the mean over this rank's pictures
    counts in the mean over the ranks, 1 where all have equally many.
    """
    token = _together.set(share * dist.get_world_size() if dist.is_initialized() else 0.0)
    try:
        yield
    finally:
        _together.reset(token)


def total(value: Tensor) -> Tensor:
    """Return the sum of `value` over the ranks that have a batch in common, with its gradient."""
    return all_reduce(value) if _together.get() else value


def own_share() -> float:
    """Return what weighs a mean over this rank's pictures; 1 without other ranks."""
    return _together.get() or 1.0


def summed(value: Tensor) -> Tensor:
    """Return the sum of `value` over all ranks, without a gradient."""
    if not dist.is_initialized():
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value


def gathered(rows_NS: Tensor) -> list[Tensor]:
    """Return the rows of every rank, by rank; they may be differently many."""
    if not dist.is_initialized():
        return [rows_NS]
    counts = [
        torch.zeros(1, dtype=torch.long, device=rows_NS.device)
        for _ in range(dist.get_world_size())
    ]
    dist.all_gather(counts, torch.tensor([len(rows_NS)], device=rows_NS.device))
    most = max(int(count) for count in counts)
    padded_NS = rows_NS.new_zeros((most, *rows_NS.shape[1:]))
    padded_NS[: len(rows_NS)] = rows_NS
    parts = [torch.empty_like(padded_NS) for _ in counts]
    dist.all_gather(parts, padded_NS)
    return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]


def told(value: Any, device: torch.device) -> list[Any]:
    """Return a value of every rank, by rank; values are what JSON can say."""
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    return [json.loads(part.cpu().numpy().tobytes()) for part in gathered(data)]


def same_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch norms see the batch of all ranks: torch's own on CUDA, where it has one."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                child.__class__ = SummedBatchNorm  # keeps its parameters, buffers and hooks
                assert getattr(module, name) is child
    return model


class SummedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batch of all ranks, where torch.nn.SyncBatchNorm does not run.

    Means of the values and of their squared distances are added up in two steps, weighted by the
    ranks' pictures, as Ioffe & Szegedy's equations over the whole batch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input_BCHW."""
        if not (self.training and _together.get()):
            return super().forward(input)
        values_BCHW = input.float()
        size = torch.tensor(float(input.numel() // input.shape[1]), device=input.device)
        size = all_reduce(size)
        mean_C = all_reduce(values_BCHW.sum((0, 2, 3))) / size
        centred_BCHW = values_BCHW - mean_C[:, None, None]
        variance_C = all_reduce(centred_BCHW.square().sum((0, 2, 3))) / size
        if self.track_running_stats and self.running_mean is not None:
            self._remember(mean_C.detach(), variance_C.detach(), float(size))
        scale_C = torch.rsqrt(variance_C + self.eps)
        if self.affine:
            scale_C = scale_C * self.weight
        out_BCHW = centred_BCHW * scale_C[:, None, None]
        if self.affine:
            out_BCHW = out_BCHW + self.bias[:, None, None]
        return out_BCHW.to(input.dtype)

    def _remember(self, mean_C: Tensor, variance_C: Tensor, size: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C * (size / max(size - 1, 1)), momentum)
