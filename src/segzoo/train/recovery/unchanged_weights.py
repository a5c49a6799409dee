"""Putting back the weights that an observer changes, and telling of it; what cannot be put back."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.compute.sharding import local
from segzoo.errors import SegzooError
from segzoo.train.recovery.undo import overlapping
from segzoo.train.run import Run


class WeightsChangedError(SegzooError):
    """Weights, or moments, are others than the training's, and nothing brings them back."""


@contextlib.contextmanager
def kept_weights(run: Run, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep the weights, those averaged too; `tell` of what had to be put back.

    Parameters are compared with a copy, since a change by `.data` or numpy is seen by nothing else:
    it has the size of the weights, as long as the observer works, and takes 0.1 s for 100 MB of
    them. Of the optimizer's moments, twice as large, torch's counters of changes are compared:
    raises WeightsChangedError where those have changed.
    """
    models = list({id(model): model for model in (run.model, run.deployed)}.values())
    built = [(m, [dict(part) for part in _parts(m)]) for model in models for m in model.modules()]
    named = {id(p): (name, p) for model in models for name, p in model.named_parameters()}
    weights = [_Weight(name, parameter) for name, parameter in named.values()]
    moments = _moments(run)
    try:
        yield
    finally:
        changed = [weight.name for weight in weights if weight.put_back()]
        changed += [type(module).__name__ for module, parts in built if _rebuilt(module, parts)]
        if _moments(run) != moments:
            raise WeightsChangedError("the optimizer's moments were changed")
    if changed:
        tell(f"{changed[0]} and {len(changed) - 1} others" if changed[1:] else changed[0])


class _Weight:
    """A parameter as it was: its memory, and a copy of what was in it."""

    def __init__(self, name: str, parameter: nn.Parameter) -> None:
        self.name, self.parameter = name, parameter
        self.memory = parameter.data
        self.copy = None if overlapping(local(self.memory)) else local(self.memory).clone()

    def put_back(self) -> bool:
        """Let it have its memory and values; say whether it did not."""
        changed = not same_memory(self.parameter.data, self.memory)
        if changed:
            self.parameter.data = self.memory
        now = local(self.memory)
        if self.copy is not None and not _equal(now, self.copy):
            now.copy_(self.copy)
            changed = True
        return changed


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same view of the same memory."""
    one, other = local(one), local(other)
    forms = [(t.data_ptr(), t.shape, t.stride(), t.dtype, t.device) for t in (one, other)]
    return forms[0] == forms[1]


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _parts(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules


def _rebuilt(module: nn.Module, parts: list[dict[str, Any]]) -> bool:
    """Let a module have the parts that it had; say whether it has others."""
    changed = False
    for live, kept in zip(_parts(module), parts, strict=True):
        same = [*live] == [*kept] and all(live[name] is kept[name] for name in kept)
        if not same:
            live.clear()
            live.update(kept)
            changed = True
    return changed


def _moments(run: Run) -> list[tuple[int, str, int, int]]:
    """Return which tensors the optimizer keeps, and how often each has been written to."""
    return [
        (id(parameter), name, id(value), value._version)
        for parameter, state in run.optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    ]
