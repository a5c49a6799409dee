"""Networks whose parameters are spread over the ranks: torch's FSDP2, by `--shard`.

Each rank has a part of every parameter, of its gradient and of the optimizer's state; whole ones
are gathered, some layers at a time, while they are computed with (Zhao et al., PyTorch FSDP,
2023).
"""

from typing import Any

import torch
from torch import Tensor, nn

from segzoo.errors import SegzooError

TOGETHER = 4_000_000
"""Parameters of 4 bytes that are gathered at a time, at least."""


def shard(model: nn.Module, device: torch.device) -> None:
    """Spread the parameters of a model over the ranks, in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    taken: set[int] = set()
    try:
        for module in _inner_first(model):
            own = [p for p in module.parameters() if id(p) not in taken]
            if sum(p.numel() for p in own) >= TOGETHER and module is not model:
                fully_shard(module, mesh=mesh)
                taken |= {id(p) for p in module.parameters()}
        fully_shard(model, mesh=mesh)
    except (ValueError, NotImplementedError) as error:
        raise SegzooError(
            f"--shard: this network cannot be spread over the ranks: {error}",
            "leave --shard out; each process then has all of its parameters",
        ) from error


def _inner_first(module: nn.Module) -> list[nn.Module]:
    children = [inner for child in module.children() for inner in _inner_first(child)]
    return [*children, module]


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with those that are spread over the ranks gathered. All ranks take part."""
    return {name: _full(value) for name, value in tensors.items()}


def _full(value: Tensor) -> Tensor:
    gather = getattr(value, "full_tensor", None)
    return gather() if gather else value


def local(value: Tensor) -> Tensor:
    """Return this rank's part of a tensor, which is all of it where it is not spread."""
    part = getattr(value, "to_local", None)
    return part() if part else value


def spread_as(like: Any, value: Tensor) -> Tensor:
    """Return a whole tensor spread over the ranks as another of its shape is, or as it is."""
    if not hasattr(like, "placements"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
