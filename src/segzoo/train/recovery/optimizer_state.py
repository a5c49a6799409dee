"""An optimizer's state as tensors by path and JSON values, and back to the bit.

A tensor of the n-th parameter lies at ``optimizer/n/NAME``, a plain value in `optimizer_scalars`.
Lists, tuples and dicts of both are trees there, whose tensors lie at ``optimizer/n/NAME/...``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from segzoo.compute.sharding import spread_as

TREE = "tree"
OF_CONFIG = ("params", "lr", "initial_lr", "weight_decay", "pretrained")
"""What a group has from the run's settings, which may be others when it is resumed."""


def packed(optimizer: Optimizer, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors by path, and the JSON values.

    Raises TypeError naming what is neither, and so cannot be kept. Settings of groups that JSON
    does not hold, as a dtype, are left out: they are the same when the run is resumed.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        if not isinstance(index, int) or not isinstance(values, Mapping):
            raise TypeError(f"it keeps `{index}`, which belongs to no parameter")
        for name, value in values.items():
            path = f"optimizer/{index}/{name}"
            if isinstance(value, Tensor):
                tensors[path] = value
            elif _is_plain(value):
                scalars.setdefault(str(index), {})[name] = value
            else:
                tree = _tree(value, path, tensors)
                scalars.setdefault(str(index), {})[name] = {TREE: tree}
    return tensors, {
        "optimizer_groups": [_plain(group) for group in state["param_groups"]],
        "optimizer_scalars": scalars,
        "optimizer_parameters": parameter_names(optimizer, model),
    }


def load(
    optimizer: Optimizer, model: nn.Module, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Let a freshly made optimizer go on from there; learning rates are still those of the start.

    Its groups may be others than those of the saved one. Raises ValueError or KeyError where it
    has other parameters.
    """
    own = parameter_names(optimizer, model)
    saved: list[str] = values.get("optimizer_parameters", own)
    if sorted(saved) != sorted(own):
        raise ValueError(f"{len(saved)} parameters were trained, not {len(own)}")
    places = {name: place for place, name in enumerate(own)}
    state = {places[saved[n]]: kept for n, kept in _states(values, tensors).items()}
    groups, before = [], [_tuples(group) for group in values["optimizer_groups"]]
    of = {saved[index]: group for group in before for index in group["params"]}
    for group in optimizer.state_dict()["param_groups"]:
        source = of[own[group["params"][0]]]
        kept = {key: value for key, value in source.items() if key not in OF_CONFIG}
        groups.append({**group, **kept})
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, kept in state.items():
        own_state = optimizer.state[parameters[index]]
        for name, value in kept.items():
            own_state[name] = _retyped(own_state[name], value)
    _match_layout(optimizer)


def rates_before(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return (the peak rate, the rate when it was saved) of each parameter by name, if known."""
    names: list[str] = values.get("optimizer_parameters", [])
    return {
        names[index]: (group["initial_lr"], group["lr"])
        for group in values["optimizer_groups"]
        for index in group["params"]
        if names
    }


def parameter_names(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """Return the names of an optimizer's parameters in its order."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    return [named[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _states(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    used: set[str] = set()
    for index, scalars in values["optimizer_scalars"].items():
        state[int(index)] = {
            name: _from_tree(value[TREE], tensors, used) if isinstance(value, dict) else value
            for name, value in scalars.items()
        }
    for path, tensor in tensors.items():
        if path.startswith("optimizer/") and path not in used:
            _, index, name = path.split("/", 2)
            state.setdefault(int(index), {})[name] = tensor
    return state


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _tree(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON, its tensors by their paths; raise TypeError for what is none."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if _is_plain(value):
        return value
    if type(value) in (list, tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_tree(item, f"{path}/{n}", tensors) for n, item in enumerate(value)]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {k: _tree(item, f"{path}/{k}", tensors) for k, item in value.items()}}
    raise TypeError(f"its state `{path.split('/', 2)[-1]}` holds a {type(value).__name__}")


def _from_tree(tree: Any, tensors: Mapping[str, Tensor], used: set[str]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "tensor":
        used.add(value)
        return tensors[value]
    if kind == "dict":
        return {name: _from_tree(item, tensors, used) for name, item in value.items()}
    items = [_from_tree(item, tensors, used) for item in value]
    return tuple(items) if kind == "tuple" else items


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's settings that JSON holds: some keep their rate as a tensor."""
    values = {k: v.item() if isinstance(v, Tensor) else v for k, v in group.items()}
    return {
        key: value
        for key, value in values.items()
        if _is_plain(value) or (isinstance(value, Sequence) and all(map(_is_plain, value)))
    }


def _tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) and key != "params" else value
        for key, value in group.items()
    }


def _retyped(loaded: Any, saved: Any) -> Any:
    """Give tensors the types that they had: torch loads all as their parameter's."""
    if isinstance(saved, Tensor):
        return saved.to(loaded.device) if loaded.dtype != saved.dtype else loaded
    if isinstance(saved, (list, tuple)):
        return type(saved)(_retyped(one, other) for one, other in zip(loaded, saved, strict=True))
    if isinstance(saved, dict):
        return {name: _retyped(loaded[name], value) for name, value in saved.items()}
    return loaded


def _match_layout(optimizer: Optimizer) -> None:
    """Give each moment the memory layout of its parameter, as it had when it was made.

    Files hold contiguous tensors. The fused optimizers go through memory in order, so with a
    channels_last weight and a contiguous moment they would pair the wrong elements, silently.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value = spread_as(parameter, value)
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
