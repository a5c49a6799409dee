"""Resume state: everything a training needs to go on, to the bit, without pickle.

``last/`` holds two generations, written in turn, each of two files::

    state-a.safetensors   tensors by path: model/..., average/..., optimizer/0/exp_avg, random/...
    state-a.json          plain values: counters, history, settings, and checksums of both files

A generation is written beside the other one, tensors first, each file synced and renamed. So a kill
at any moment leaves one that is whole, and a damaged one is found out by its checksums.
"""

import hashlib
import json
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segzoo.compute.grouped import keep_grouped_fp32
from segzoo.compute.ranks import summed, told
from segzoo.compute.sharding import spread_as, whole
from segzoo.data.fingerprint import former_fingerprints
from segzoo.data.loading.batches import Batches
from segzoo.errors import SegzooError, listed
from segzoo.host import system
from segzoo.host.regular import irregular
from segzoo.model.tensors import in_utf_8, write_tensors
from segzoo.store import atomic, write_bytes
from segzoo.train.recovery.optimizer_state import packed
from segzoo.train.recovery.resuming import check_history, load_optimizer, other_than
from segzoo.train.run import Partial, Run

log = logging.getLogger("segzoo")

STATE_VERSION = 3
SLOTS = ("a", "b")
RESTORED = (
    *("epoch", "step", "pieces", "seconds"),
    *("best_epoch", "best_score", "history", "grouped_fp32", "skipped"),
)


@dataclass(frozen=True)
class Saved:
    """A generation's plain values, and where it is."""

    path: Path  # of its JSON
    generation: int
    values: dict[str, Any]
    tensors: dict[str, Any]  # name, bytes and blake2b of the tensors' file


def state_folder(folder: Path) -> Path:
    """Return where a run folder keeps its resume state."""
    return folder / "last"


def has_state(folder: Path) -> bool:
    """Whether a run folder has anything to resume from."""
    return any(_json_path(folder, slot).is_file() for slot in SLOTS)


def _json_path(folder: Path, slot: str) -> Path:
    return state_folder(folder) / f"state-{slot}.json"


def save_state(run: Run) -> None:
    """Write the run's state as its next generation. All ranks take part, the first one writes."""
    randoms = told(torch.get_rng_state().tolist()) if run.ranks.count > 1 else []
    tensors = {f"model/{k}": v for k, v in run.model.state_dict().items()}
    if run.average:
        tensors |= {f"average/{k}": v for k, v in run.average.weights.items()}
    moments, optimizer = packed(run.optimizer, run.model)
    tensors |= moments
    tensors = whole(tensors) if run.config.shard else tensors
    metrics = run.metrics.state() if run.partial.batches else {}
    loss = None if run.partial.loss is None else summed(run.partial.loss)
    if not run.ranks.first:
        return
    run.check_kept()
    tensors |= {f"metrics/{name}": value for name, value in metrics.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    for rank, state in enumerate(randoms):
        tensors[f"random/rank{rank}"] = torch.tensor(state, dtype=torch.uint8)
    if run.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(run.device)
    if run.partial.random is not None:
        tensors["random/augment"] = run.partial.random.get_state()
    if loss is not None:
        tensors["partial/loss"] = loss
    python = random.getstate()
    values = {
        "epoch": run.epoch,
        "step": run.step,
        "pieces": run.pieces,
        "seconds": run.seconds,
        "partial": run.partial.plain(),
        "best_epoch": run.best_epoch,
        "best_score": run.best_score,
        "history": run.history,
        "fingerprint": run.fingerprint,
        "average_updates": run.average.updates if run.average else 0,
        **optimizer,
        "optimizer": run.config.optimizer,
        "steps_per_epoch": run.steps_per_epoch,
        **_order(run),
        "pictures": run.pictures,
        "schedule": run.schedule.state_dict(),
        "scaler": run.scaler.state_dict(),
        "grouped_fp32": run.grouped_fp32,
        "skipped": run.skipped,
        "left_out": {name: batches.faults for name, batches in _splits(run).items()},
        "circumstances": _circumstances(run),
        "random_python": [python[0], list(python[1]), python[2]],
        "random_numpy": _plain_numpy(np.random.get_state(legacy=False)),
    }
    generation = run.generation + 1
    json_path = _json_path(run.folder, SLOTS[generation % 2])
    path = json_path.with_suffix(".safetensors")
    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic(path) as temporary:
        write_tensors(temporary, own)
        told_of = {
            "name": path.name,
            "bytes": temporary.stat().st_size,
            "blake2b": _hash(temporary),
        }
    state = {
        "version": STATE_VERSION,
        "generation": generation,
        "tensors": told_of,
        "values": values,
    }
    write_bytes(json_path, _signed(state))
    # A save that fails half way has spoilt its own slot, which the next one writes again.
    run.generation = generation


def _order(run: Run) -> dict[str, Any]:
    """Return what the batches of an epoch depend on, besides the pictures."""
    config = run.config
    crop = None if config.crop is None else [*config.crop, config.scale]
    return {"batch_size": config.batch_size, "seed": config.seed, "crop": crop}


def _splits(run: Run) -> dict[str, Batches]:
    return {"train": run.train, **run.evals}


def _circumstances(run: Run) -> dict[str, Any]:
    """Return what the last digits of sums depend on, besides the settings."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": run.device.type,
        "precision": run.precision,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "processes": run.ranks.count,
        run.model.entry.distribution: run.model.entry.version,
    }


def _tell_other(before: dict[str, Any], now: dict[str, Any]) -> None:
    other = [f"{k} {v} instead of {before[k]}" for k, v in now.items() if before.get(k, v) != v]
    if other:
        log.warning("going on with %s: the outcome will not be the same to the bit", listed(other))


def _hash(path: Path) -> str:
    def digest(place: Path) -> str:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()

    return system.read(path, digest)


def _signed(state: dict[str, Any]) -> bytes:
    """Return the one way to write a state with its checksum."""
    text = json.dumps(state, separators=(",", ":"))
    return b'{"blake2b":"%b","state":%b}\n' % (
        hashlib.blake2b(text.encode()).hexdigest().encode(),
        text.encode(),
    )


def read_generations(folder: Path) -> list[Saved]:
    """Return the generations of a run folder whose values are whole, the newest first.

    Raises SegzooError where there is none; a damaged one beside another is named in the log.
    """
    found: list[Saved] = []
    faults: list[str] = []
    for slot in SLOTS:
        path = _json_path(folder, slot)
        try:
            found.append(_read_json(path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            faults.append(f"{path} is damaged: {error}")
    for fault in faults if found else ():
        log.warning("%s", fault)
    if not found:
        raise SegzooError(
            faults[0] if faults else f"nothing to resume: {folder} has no state in `last`",
            "give a run folder whose training was stopped; best.safetensors has its best weights",
        )
    return sorted(found, key=lambda saved: -saved.generation)


def _read_json(path: Path) -> Saved:
    if what := irregular(path):
        raise ValueError(f"it is {what}")
    data = system.read(path, Path.read_bytes)
    state = json.loads(data).get("state", {})
    if data != _signed(state):
        raise ValueError("its checksum differs")
    if state["version"] != STATE_VERSION:
        raise ValueError(f"it has state version {state['version']}, not {STATE_VERSION}")
    if state["tensors"]["name"] != path.with_suffix(".safetensors").name:
        raise ValueError(f"it is that of {state['tensors']['name']}")
    return Saved(path, state["generation"], state["values"], state["tensors"])


def _read_tensors(saved: Saved) -> dict[str, Tensor]:
    """Read a generation's tensors; raise ValueError where they are not those that were written."""
    path = check_tensors(saved)
    try:
        with in_utf_8(path) as name:
            return system.read(name, _tensors_of)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _tensors_of(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def check_tensors(saved: Saved) -> Path:
    """Return the file of a generation's tensors; raise ValueError where it is not as written."""
    path = saved.path.with_name(saved.tensors["name"])
    if what := irregular(path):
        raise ValueError(f"{path} is damaged: it is {what}")
    try:
        if path.stat().st_size != saved.tensors["bytes"] or _hash(path) != saved.tensors["blake2b"]:
            raise ValueError(f"{path} is damaged: its checksum differs")
    except OSError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return path


def load_state(run: Run, folder: Path, *, force: bool = False) -> None:
    """Bring a freshly prepared run to where the state in `folder` left off.

    The newest generation that is whole is taken. Raises SegzooError where none is, for one of
    another model, for settings that its history does not fit, and unless `force` says so for one
    of other pictures. With it the run's settings, which may be others than those of the state, are
    those that take effect.
    """
    saved, tensors = _newest(folder)
    values = saved.values
    other_pictures = values["fingerprint"] not in _fingerprints(run)
    if other_pictures:
        what = other_than(values.get("pictures", {}), run.pictures)
        if not force:
            raise SegzooError(
                f"{run.info.identity} has other pictures, classes or options than when {folder} "
                f"was left: {what}",
                "bring them back, or go on with these by --force",
            )
        log.warning("going on with other pictures: %s", what)
    check_history(run, values["history"])
    _tell_other(values["circumstances"], _circumstances(run))
    try:
        _load_weights(run, values, tensors)
        load_optimizer(run, values, tensors)
    except (RuntimeError, ValueError, KeyError) as error:
        raise SegzooError(
            f"{saved.path} does not fit this model and optimizer: "
            f"{' '.join(str(error).split())[:300]}",
            "resume with the run's own settings",
        ) from error
    if values["scaler"] and run.scaler.is_enabled():  # A disabled one has none.
        run.scaler.load_state_dict(values["scaler"])
    for name in RESTORED:
        setattr(run, name, values[name])
    if run.best_epoch:
        best = run.chosen_scores(run.history[run.best_epoch - 1])
        run.best_score = best[run.monitor]
    # It was measured; what is measured again may come out otherwise.
    for model in {run.model, run.deployed}:
        keep_grouped_fp32(model, run.grouped_fp32)
    for name, batches in _splits(run).items():
        batches.faults |= values["left_out"].get(name, {})
    run.generation = saved.generation
    _load_partial(run, values, tensors, other_pictures=other_pictures)
    _load_random(run, values, tensors)


def _load_weights(run: Run, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    like = run.model.state_dict()
    known = _below(tensors, "model/").items()
    run.model.load_state_dict({name: spread_as(like.get(name), v) for name, v in known})
    if run.average:
        # A run that had no average begins one now, of the weights that it has.
        average = _below(tensors, "average/") or _below(tensors, "model/")
        run.average.load(average)
        run.average.updates = values["average_updates"]


def _load_partial(
    run: Run, values: dict[str, Any], tensors: dict[str, Tensor], *, other_pictures: bool
) -> None:
    """Go on in the middle of an epoch, unless its batches are others now."""
    other = any(values.get(name, value) != value for name, value in _order(run).items())
    if (other or other_pictures) and values["partial"]["batches"]:
        log.warning("epoch %d, which had been begun, begins anew", run.epoch + 1)
        return
    run.partial = Partial(**values["partial"], metrics=_below(tensors, "metrics/"))
    if "random/augment" in tensors:
        run.partial.random = torch.Generator()
        run.partial.random.set_state(tensors["random/augment"])
    if "partial/loss" in tensors and run.ranks.first:
        run.partial.loss = tensors["partial/loss"].to(run.device)


def _load_random(run: Run, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    own = f"random/rank{run.ranks.rank}"
    torch.set_rng_state(tensors[own if own in tensors else "random/cpu"])
    if run.device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], run.device)
    version, internal, gauss = values["random_python"]
    random.setstate((version, tuple(internal), gauss))
    numpy = values["random_numpy"]
    numpy["state"]["key"] = np.array(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state(numpy)


def _fingerprints(run: Run) -> set[str]:
    """Return the fingerprint of a run's data, and those of older versions."""
    datasets = {name: batches.samples.dataset for name, batches in _splits(run).items()}
    return {run.fingerprint, *former_fingerprints(run.info, datasets)}


def _newest(folder: Path) -> tuple[Saved, dict[str, Tensor]]:
    faults: list[str] = []
    generations = read_generations(folder)
    for place, saved in enumerate(generations, 1):
        try:
            tensors = _read_tensors(saved)
        except ValueError as error:
            faults.append(str(error))
            log.warning("%s; the generation before it is taken, if that is whole", error)
            continue
        for older in generations[place:]:  # Not needed, but a disk that spoils files is told of.
            try:
                check_tensors(older)
            except ValueError as error:
                log.warning("%s, or was being written; the newer generation is whole", error)
        return saved, tensors
    raise SegzooError(faults[0], "best.safetensors has the run's best weights")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _plain_numpy(state: Any) -> dict[str, Any]:
    inner = {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}
    return {**state, "state": inner}
