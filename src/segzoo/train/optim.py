"""Optimizers, learning-rate schedules and averaged weights, by name, from torch and timm."""

import logging
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from segzoo.compute.sharding import local, spread_as, whole
from segzoo.errors import SegzooError, choices, listed, nearest
from segzoo.model.network import numbers_of
from segzoo.train.config import RunConfig
from segzoo.train.layers import layer_factors

log = logging.getLogger("segzoo")

SCHEDULES = ("step", "cosine", "poly", "constant")


def make_optimizer(model: nn.Module, config: RunConfig) -> Optimizer:
    """Make the optimizer; norms, biases and other vectors get no weight decay.

    The parameters of the submodule that the network's attribute `pretrained` names learn at
    `encoder_lr` times the rate; their groups have the key `pretrained`. With a `layer_decay` below
    1 there are groups for each of its layers, with the factors of `layer_factors` besides.
    adam, adamw and sgd (Nesterov momentum 0.9) are torch's fused ones, everything else is timm's
    by name: importing timm takes seconds, which the usual run is spared.
    """
    known = pretrained_module(model)
    factors = _encoder_factors(known, config)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for factor in (None, *sorted(set(factors.values()))):
        parameters = [p for p in trained if factors.get(id(p)) == factor]
        pretrained = factor is not None
        lr = config.lr * (factor if pretrained else 1.0)
        for decay, some in (
            (config.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if some:
                groups.append(
                    {"params": some, "weight_decay": decay, "lr": lr, "pretrained": pretrained}
                )
    real = all(p.is_floating_point() for p in trained)  # The fused ones take no complex numbers.
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.lr, fused=real)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=real)
    if config.optimizer == "sgd":
        # torch 2.15 has no fused SGD of parameters that are spread over ranks.
        fused = real and not any(hasattr(p, "placements") for p in trained)
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)
    # timm names these two in its documentation, though its stubs call them private.
    from timm.optim import (
        create_optimizer_v2,  # pyright: ignore[reportPrivateImportUsage]
        list_optimizers,  # pyright: ignore[reportPrivateImportUsage]
    )

    names = ["adam", "adamw", "sgd", *list_optimizers()]
    if config.optimizer not in names:
        raise SegzooError(
            f"unknown optimizer `{config.optimizer}`",
            choices(config.optimizer, names, how="adamw, adam and sgd are usual", limit=100),
        )
    return create_optimizer_v2(groups, opt=config.optimizer, lr=config.lr)


def _encoder_factors(encoder: nn.Module | None, config: RunConfig) -> dict[int, float]:
    """Return the factor of the rate of each parameter of a pretrained encoder, by its id()."""
    if encoder is None:
        if config.layer_decay < 1:
            log.warning(
                "--layer-decay %g has no effect: %s has no pretrained encoder",
                config.layer_decay,
                config.model,
            )
        return {}
    if config.layer_decay == 1:
        return {id(p): config.encoder_lr for p in encoder.parameters()}
    factors = layer_factors(encoder, config.layer_decay)
    return {key: config.encoder_lr * factor for key, factor in factors.items()}


def pretrained_module(model: nn.Module) -> nn.Module | None:
    """Return the submodule whose weights came from a pretraining, or None."""
    network = getattr(model, "network", model)
    name = getattr(network, "pretrained", "")
    return network.get_submodule(name) if isinstance(name, str) and name else None


def hold_pretrained(model: nn.Module, optimizer: Optimizer, held: bool) -> None:
    """Freeze the pretrained parameters and their norms' statistics, or let them learn again."""
    for group in optimizer.param_groups:
        if group.get("pretrained"):
            for parameter in group["params"]:
                parameter.requires_grad_(not held)
    if held and (module := pretrained_module(model)):
        module.eval()


def make_schedule(optimizer: Optimizer, config: RunConfig, steps_per_epoch: int) -> LambdaLR:
    """Make the schedule, to be stepped after every optimizer step.

    With `steps_per_epoch` 0, for a stream of unknown length, it is stepped once an epoch and holds
    the rate of the epoch's middle.
    """
    if config.schedule not in SCHEDULES:
        raise SegzooError(
            f"unknown schedule `{config.schedule}`",
            f"{nearest(config.schedule, SCHEDULES)}there is: {listed(SCHEDULES)}",
        )
    return LambdaLR(optimizer, _factor(config, steps_per_epoch))


def reschedule(schedule: LambdaLR, config: RunConfig, steps_per_epoch: int) -> None:
    """Have a schedule follow other settings from its next step on."""
    schedule.lr_lambdas = [_factor(config, steps_per_epoch)] * len(schedule.lr_lambdas)


def _factor(config: RunConfig, steps_per_epoch: int) -> Callable[[int], float]:
    if steps_per_epoch == 0:
        return lambda epoch: lr_factor(config, epoch + 0.5)
    return lambda step: lr_factor(config, step / steps_per_epoch)


def lr_factor(config: RunConfig, epoch: float) -> float:
    """Return the factor of the peak learning rate `epoch` epochs into the training.

    Linear warm-up first. step: times step_gamma every step_epochs; cosine: half a cosine to 0
    (Loshchilov and Hutter, 2017, eq. 5); poly: (1 - progress)^0.9 (Chen et al., DeepLab, 2017).
    """
    if epoch < config.warmup_epochs:
        return (epoch + 1e-3) / (config.warmup_epochs + 1e-3)
    progress = (epoch - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
    progress = min(max(progress, 0.0), 1.0)
    if config.schedule == "step":
        return config.step_gamma ** (epoch // config.step_epochs)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "poly":
        return (1 - progress) ** 0.9
    return 1.0


class WeightAverage:
    """An exponential moving average of weights and statistics of norms: `model`.

    Other buffers are copied: a mask of -inf, or a table of anything, has no mean.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates (as in TensorFlow's
    ExponentialMovingAverage), so that a short training does not average in its random start.
    torch's AveragedModel keeps its count on the device and reads it back at each step, which makes
    the host wait; this one counts on the host.

    Of a model that is spread over the ranks each has its part of the average, and `model` is a
    `copy` of the model from before; `gather` brings the average into it.
    """

    def __init__(self, model: nn.Module, decay: float, copy: nn.Module | None = None) -> None:
        self.model = (copy or deepcopy(model)).eval().requires_grad_(False)
        self.weights = self.model.state_dict()
        self.spread = copy is not None
        if self.spread:
            self.weights = {name: v.detach().clone() for name, v in model.state_dict().items()}
        kept = self.weights
        self.learnt = {n for n, _ in numbers_of(model) if n in kept and kept[n].is_floating_point()}
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights; other buffers are copied."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged = {name: local(value) for name, value in self.weights.items()}
        current = {name: local(value) for name, value in model.state_dict().items()}
        names = [name for name in averaged if name in self.learnt]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [averaged[name] for name in names], [current[name] for name in names], weight
        )
        for name in averaged.keys() - set(names):
            averaged[name].copy_(current[name])

    def gather(self) -> None:
        """Bring `model` up to date. All ranks take part."""
        if self.spread:
            self.model.load_state_dict(whole(self.weights))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from the whole weights of an average."""
        self.model.load_state_dict(state)
        if self.spread:
            for name, value in self.weights.items():
                local(value).copy_(local(spread_as(value, state[name])))
