"""Trying an optimizer before the first step: whether it can step, be saved, and go on."""

import json
from collections.abc import Iterator

import torch
from torch import nn

from segzoo.compute.randomness import kept_random, seed_random
from segzoo.errors import SegzooError
from segzoo.plugins.isolation import one_line
from segzoo.train.config import RunConfig
from segzoo.train.optim import make_optimizer
from segzoo.train.recovery.optimizer_state import load, packed

KNOWN = ("adam", "adamw", "sgd")
WORK = "adamw, adam, sgd, nadamw, lamb, lion, adan, adopt, muon and most others of timm"
STEPS_BEFORE, STEPS_AFTER = 3, 12
"""Some do something else in every few steps."""


class _Few(nn.Module):
    """A vector, a matrix and a kernel, as networks have them."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        for name, shape in (("bias", (4,)), ("matrix", (4, 6)), ("kernel", (4, 6, 3, 3))):
            setattr(self, name, nn.Parameter(torch.rand(shape, device=device)))


def check_optimizer(config: RunConfig, device: torch.device) -> None:
    """Raise SegzooError for an optimizer that cannot be used, and what could be.

    It takes some steps with a few parameters; saved, loaded and gone on with, it must come to the
    same bits. Takes milliseconds. torch's own, which are known, are not tried.
    """
    if config.optimizer in KNOWN:
        return
    with kept_random(device):
        if reason := _fault(config, device):
            raise SegzooError(f"--optimizer {config.optimizer}: {reason}", f"there are {WORK}")


def _fault(config: RunConfig, device: torch.device) -> str:
    """Say what an optimizer cannot do, or ""."""
    try:
        seed_random(0)
        model, again = _Few(device), _Few(device)
        # It compiles code where it has to: for minutes, and again for other shapes.
        with torch.compiler.set_stance("fail_on_recompile"):
            optimizer = make_optimizer(model, config)
            for _ in _steps(model, optimizer, range(STEPS_BEFORE)):
                pass
            try:
                tensors, values = packed(optimizer, model)
            except TypeError as error:
                return f"a training with it could not be saved: {error}"
            values = json.loads(json.dumps(values))
            tensors = {path: value.detach().cpu().clone() for path, value in tensors.items()}
            again.load_state_dict(model.state_dict())
            other = make_optimizer(again, config)
            for group in other.param_groups:
                group["initial_lr"] = group["lr"]
            load(other, again, values, tensors)
            later = range(STEPS_BEFORE, STEPS_BEFORE + STEPS_AFTER)
            pairs = zip(_steps(model, optimizer, later), _steps(again, other, later), strict=True)
            if all(all(map(torch.equal, *pair)) for pair in pairs):
                return ""
        return "a training with it would not go on, once resumed, as it does without a stop"
    except SegzooError:
        raise
    except Exception as error:
        if "recompile" in str(error):
            return "it compiles code when it begins, which takes minutes"
        return f"it cannot be used here: {one_line(error)[:200]}"


def _steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range
) -> Iterator[list[torch.Tensor]]:
    """Take steps with gradients that depend on their number alone; yield the parameters then."""
    for number in numbers:
        seed_random(number)
        for parameter in model.parameters():
            parameter.grad = torch.rand(parameter.shape).to(parameter.device) - 0.5
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield [parameter.detach().clone() for parameter in model.parameters()]
