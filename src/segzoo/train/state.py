"""Resume state: everything a training needs to go on, in one safetensors file, no pickle.

``last/state.safetensors`` holds tensors by path (model/..., average/..., optimizer/0/exp_avg, ...)
and, as JSON in its header, the plain values: settings, counters, history and Python's and numpy's
random states. It is saved after an epoch, atomically, so that a kill leaves the previous one.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.ranks import told
from segzoo.store import atomic
from segzoo.train.grouped import keep_grouped_fp32
from segzoo.train.run import Run
from segzoo.train.sharding import spread_as, whole

STATE_VERSION = 1
MOST_TIME_SAVING = 0.1


def state_path(folder: Path) -> Path:
    """Return where a run folder keeps its resume state."""
    return folder / "last" / "state.safetensors"


class StateKeeper:
    """Saves the state after an epoch, unless that would take over a tenth of the time."""

    def __init__(self) -> None:
        self._cost = 0.0
        self._saved_at = time.monotonic()

    def save(self, run: Run, *, last: bool) -> None:
        """Save now if the last save was long enough ago, and always at the `last` epoch.

        The first rank decides, and writes.
        """
        start = time.monotonic()
        due = last or (start - self._saved_at) * MOST_TIME_SAVING >= self._cost
        if not told(due)[0]:
            return
        save_state(run)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start


def save_state(run: Run) -> None:
    """Write the run's state atomically. All ranks take part, and the first one writes."""
    if not (run.ranks.first or run.config.shard):
        return
    tensors = {f"model/{k}": v for k, v in run.model.state_dict().items()}
    if run.average:
        tensors |= {f"average/{k}": v for k, v in run.average.weights.items()}
    optimizer = run.optimizer.state_dict()
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    tensors = whole(tensors)
    if not run.ranks.first:
        return
    tensors["random/cpu"] = torch.get_rng_state()
    if run.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(run.device)
    python = random.getstate()
    numpy = np.random.get_state(legacy=False)
    values = {
        "version": STATE_VERSION,
        "epoch": run.epoch,
        "step": run.step,
        "seconds": run.seconds,
        "best_epoch": run.best_epoch,
        "best_score": run.best_score,
        "history": run.history,
        "average_updates": run.average.updates if run.average else 0,
        "optimizer_groups": [_plain(group) for group in optimizer["param_groups"]],
        "optimizer_scalars": scalars,
        "schedule": run.schedule.state_dict(),
        "scaler": run.scaler.state_dict(),
        "grouped_fp32": run.grouped_fp32,
        "random_python": [python[0], list(python[1]), python[2]],
        "random_numpy": _plain_numpy(numpy),
    }
    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic(state_path(run.folder)) as temporary:
        save_file(own, temporary, metadata={"segzoo_state": json.dumps(values)})


def load_state(run: Run, folder: Path) -> None:
    """Bring a freshly prepared run to where the state in `folder` left off.

    Raises SegzooError for a missing or damaged state, or one of another model or optimizer.
    """
    path = state_path(folder)
    values, tensors = _read(path)
    try:
        like = run.model.state_dict()
        known = _below(tensors, "model/").items()
        run.model.load_state_dict({name: spread_as(like.get(name), v) for name, v in known})
        if run.average:
            run.average.load(_below(tensors, "average/"))
            run.average.updates = values["average_updates"]
        run.optimizer.load_state_dict(_optimizer_state(values, tensors))
        _match_layout(run.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        raise SegzooError(
            f"{path} does not fit this model and optimizer: {str(error).splitlines()[0]}",
            "resume with the run's own settings",
        ) from error
    run.schedule.load_state_dict(values["schedule"])
    run.scaler.load_state_dict(values["scaler"])
    for name in ("epoch", "step", "seconds", "best_epoch", "best_score", "history", "grouped_fp32"):
        setattr(run, name, values[name])
    # It was measured; what is measured again may come out otherwise.
    for model in {run.model, run.deployed}:
        keep_grouped_fp32(model, run.grouped_fp32)
    torch.set_rng_state(tensors["random/cpu"])
    if run.device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], run.device)
    version, internal, gauss = values["random_python"]
    random.setstate((version, tuple(internal), gauss))
    numpy = values["random_numpy"]
    numpy["state"]["key"] = np.array(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state(numpy)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise SegzooError(f"nothing to resume: {path} is not there", "give a run folder")
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})["segzoo_state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise SegzooError(f"{path} is damaged or no resume state: {error}") from error
    if values.get("version") != STATE_VERSION:
        raise SegzooError(f"{path} has state version {values.get('version')}, not {STATE_VERSION}")
    return values, tensors


def _optimizer_state(values: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {
        int(index): dict(scalars) for index, scalars in values["optimizer_scalars"].items()
    }
    for path, tensor in _below(tensors, "optimizer/").items():
        index, _, name = path.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    groups = [
        {
            key: tuple(value) if isinstance(value, list) and key != "params" else value
            for key, value in group.items()
        }
        for group in values["optimizer_groups"]
    ]
    return {"state": state, "param_groups": groups}


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter, as it had when it was made.

    Files hold contiguous tensors. The fused optimizers go through memory in order, so with a
    channels_last weight and a contiguous moment they would pair the wrong elements, silently.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value = spread_as(parameter, value)
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    """Turn an optimizer's settings into JSON values: some keep their rate as a tensor."""
    return {k: v.item() if isinstance(v, Tensor) else v for k, v in group.items()}


def _plain_numpy(state: Any) -> dict[str, Any]:
    inner = {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}
    return {**state, "state": inner}
