"""Several processes that train or score together, as `torchrun` starts them.

Each process, a rank, has a share of every batch. B batch, K classes, N pictures, S sums.
"""

import contextlib
import contextvars
import functools
import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segzoo.errors import SegzooError, listed

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


ALONE = Ranks()


def asked_for() -> Ranks:
    """Return what the environment of `torchrun` says; one rank where there is none."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in (*names, "MASTER_ADDR")):
        return ALONE
    texts = [os.environ[name].strip() for name in names]
    numbers = [int(text) if re.fullmatch("[0-9]{1,6}", text) else -1 for text in texts]
    rank, count, local = numbers
    if not (0 <= rank < count and 0 <= local < count):
        said = " ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise SegzooError(
            f"{said} in the environment: not the numbers of one of several processes",
            "start them by `torchrun --nproc-per-node N -m segzoo ...`, or unset MASTER_ADDR",
        )
    return Ranks(rank, count, local)


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
    return _Sum.apply(value) if _together.get() else value  # type: ignore[return-value]


class _Sum(torch.autograd.Function):
    """The sum over the ranks; what it is used for on each of them is added up in its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return summed(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return summed(gradients[0])


def own_share() -> float:
    """Return what weighs a mean over this rank's pictures; 1 without other ranks."""
    return _together.get() or 1.0


def summed(value: Tensor) -> Tensor:
    """Return the sum of `value` over all ranks, without a gradient."""
    if not dist.is_initialized():
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def told(value: Any) -> list[Any]:
    """Return a value of every rank, by rank; values are what JSON can say."""
    if not dist.is_initialized():
        return [value]
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    return [json.loads(part.numpy().tobytes()) for part in _gathered_rows(data)]


def agreed(value: Any, what: str) -> Any:
    """Return a value that is to be the same on every rank; raise SegzooError on all where not."""
    said = told(value)
    others = [rank for rank, other in enumerate(said) if other != said[0]]
    if others:
        raise SegzooError(
            f"{what} of rank {listed(map(str, others))} is not that of rank 0",
            "give every process, on whichever machine, the same files and settings",
        )
    return value


def gathered(rows_NS: Tensor) -> list[Tensor]:
    """Return the rows of every rank, by rank, as float64 on the CPU.

    They may be differently many, and a rank that has none need not know how long they are.
    """
    rows_NS = rows_NS.detach().cpu().double()
    if not dist.is_initialized():
        return [rows_NS]
    lengths = [length for rows, length in told(list(rows_NS.shape)) if rows]
    return _gathered_rows(rows_NS if rows_NS.numel() else rows_NS.new_zeros(0, max(lengths)))


def _gathered_rows(rows: Tensor) -> list[Tensor]:
    counts = [torch.zeros(1, dtype=torch.long) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    most = max(int(count) for count in counts)
    padded = rows.new_zeros((most, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]


def in_their_order(
    firsts: list[int], keys: list[str], rows: dict[str, list[Tensor]]
) -> tuple[list[str], dict[str, list[Tensor]]]:
    """Return the keys and rows of all ranks' batches, the batch with the first pictures first.

    Each rank gives the place of the first picture of each of its batches, and all keys; `rows` has
    by name a tensor B x S for each batch.
    """
    counts = [len(part) for part in next(iter(rows.values()), [])]
    says = told({"firsts": firsts, "counts": counts, "keys": keys})
    places = [
        (first, rank, number)
        for rank, told_by in enumerate(says)
        for number, first in enumerate(told_by["firsts"])
    ]
    places.sort()
    keys_by_rank = [_cut(told_by["keys"], told_by["counts"]) for told_by in says]
    ordered: dict[str, list[Tensor]] = {}
    for name, parts in rows.items():
        all_rows = gathered(torch.cat(parts) if parts else torch.zeros(0, 0))
        cut = [
            list(one.split(told_by["counts"])) for one, told_by in zip(all_rows, says, strict=True)
        ]
        ordered[name] = [cut[rank][number] for _, rank, number in places]
    return [key for _, rank, number in places for key in keys_by_rank[rank][number]], ordered


def _cut(values: list[str], counts: list[int]) -> list[list[str]]:
    ends = list(itertools.accumulate(counts))
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]


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
