"""A state that meets other settings than its own: what takes effect, and what is refused."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from segzoo.errors import SegzooError, listed
from segzoo.train.recovery.optimizer_state import load, parameter_names, rates_before
from segzoo.train.run import Run

log = logging.getLogger("segzoo")


def check_history(run: Run, history: Sequence[Mapping[str, Any]]) -> None:
    """Refuse splits and a monitored score that the epochs so far do not have."""
    for record in history:
        missing = [split for split in run.evals if split not in record]
        if missing:
            raise SegzooError(
                f"--eval-splits: the epochs so far were not scored on `{missing[0]}`",
                "resume with the run's own splits, or train anew",
            )
        known = run.chosen_scores(record)  # type: ignore[arg-type]
        if run.monitor not in known:
            raise SegzooError(
                f"--monitor {run.monitor}: the epochs so far do not have this score, by which the "
                "best one is to be chosen",
                f"they have: {listed(known)}",
            )


def load_optimizer(run: Run, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Let optimizer and schedule go on; changed rates and decays, and another optimizer, count.

    Another one begins with moments of its own, at the place of the schedule that was reached.
    """
    before = values.get("optimizer", run.config.optimizer)
    same = before == run.config.optimizer
    if same:
        load(run.optimizer, run.model, values, tensors)
    else:
        log.warning(
            "%s begins here, with moments of its own: those of %s are of no use to it",
            *(run.config.optimizer, before),
        )
    schedule = run.schedule
    groups = run.optimizer.param_groups
    schedule.load_state_dict(dict(values["schedule"]))
    schedule.base_lrs = [group["initial_lr"] for group in groups]
    steps = values.get("steps_per_epoch", run.steps_per_epoch)
    moved = steps != run.steps_per_epoch
    if moved and steps and run.steps_per_epoch:
        schedule.last_epoch = round(schedule.last_epoch * run.steps_per_epoch / steps)
    names = iter(parameter_names(run.optimizer, run.model))
    rates = rates_before(values)
    for group, factor in zip(groups, schedule.lr_lambdas, strict=True):
        first, *_ = (next(names) for _ in group["params"])
        peak, rate = rates.get(first, (None, None))
        if not same or moved or peak != group["initial_lr"]:
            rate = group["initial_lr"] * factor(schedule.last_epoch)
        group["lr"] = rate
    schedule._last_lr = [group["lr"] for group in groups]


def pictures_of(identity: str, classes: Sequence[str], splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a data set that others are not: see `other_than`."""
    counts = {name: len(data) if hasattr(data, "__len__") else -1 for name, data in splits.items()}
    return {"data": identity, "classes": list(classes), "splits": counts}


def other_than(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in words in what a data set differs from the one before."""
    said = []
    if before.get("data", now["data"]) != now["data"]:
        said.append(f"{now['data']} instead of {before['data']}")
    if before.get("classes", now["classes"]) != now["classes"]:
        said.append(f"the classes {listed(now['classes'])} instead of {listed(before['classes'])}")
    for split, count in now["splits"].items():
        known = before.get("splits", {}).get(split, count)
        if known != count:
            said.append(f"{count} pictures in `{split}` instead of {known}")
    for split in before.get("splits", {}).keys() - now["splits"].keys():
        said.append(f"no `{split}`")
    return "; ".join(said) or "names, sizes of files or options differ"
