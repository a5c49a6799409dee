"""Several processes that train or score together, as `torchrun` starts them.

Each process, a rank, has a share of every batch. B batch, K classes, N pictures, S sums.
"""

import contextlib
import contextvars
import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

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
