"""Every model on every data set's stand-in: who works with whom, for `segzoo matrix`."""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segzoo.compute.device import device_target, pick_device
from segzoo.data.loading.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.data.sample import Batch, DataInfo
from segzoo.errors import SegzooError
from segzoo.losses.weighted import make_loss
from segzoo.metrics.selection import MetricSet
from segzoo.model.network import create_model
from segzoo.model.pixels import Preprocess, normalization
from segzoo.plugins.registry import Entry
from segzoo.train.fit import fit
from segzoo.train.step import loss_of

log = logging.getLogger("segzoo")
PICTURES = 2


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """One model on one data set: `works`, else the reason in a line; the loss and the seconds."""

    model: str
    data: str
    works: bool
    reason: str = ""
    loss: float | None = None
    seconds: float = 0.0


def matrix(
    models: Sequence[Entry],
    datasets: Sequence[Entry],
    *,
    size: tuple[int, int] = (64, 64),
    epochs: int = 0,
    device: str = "auto",
) -> Iterator[Pairing]:
    """Yield how each model fares on each data set's stand-in, models in the outer loop.

    With `epochs` 0 it is one step on two pictures, forward, backward and update, and then scores
    in eval mode; else that many epochs of `segzoo.fit` with the default recipe.
    """
    where = pick_device(device)
    opened: dict[str, tuple[Batch, DataInfo] | str] = {}
    with _quiet():
        for data in datasets:
            opened[data.identity] = _open(data, size)
        for model in models:
            for data in datasets:
                start = time.perf_counter()
                loss, reason = None, ""
                try:
                    known = opened[data.identity]
                    if isinstance(known, str):
                        raise SegzooError(known)
                    if epochs:
                        loss = _train(model, data, size, epochs, device)
                    else:
                        loss = _step(model, *known, where)
                except Exception as error:
                    reason = _one_line(error)
                yield Pairing(
                    model=model.identity,
                    data=data.identity,
                    works=not reason,
                    reason=reason,
                    loss=loss,
                    seconds=round(time.perf_counter() - start, 2),
                )


def _open(data: Entry, size: tuple[int, int]) -> tuple[Batch, DataInfo] | str:
    """Return two pictures of the data set's stand-in, or why there are none."""
    try:
        source = DataSource(data.identity, sample=True)
        train = source.split("train")
        info = source.info(train)
        batches = Batches(
            train, info, size=size, batch_size=PICTURES, shuffle=True, workers=0, cache="none"
        )
        return next(iter(batches.epoch(0))), info
    except Exception as error:
        return _one_line(error)


def _step(model: Entry, batch: Batch, info: DataInfo, device: torch.device) -> float:
    """Take one step on a batch and score it; return the loss, raise where anything is not right."""
    torch.manual_seed(0)
    channels = batch.images_BCHW.shape[1]
    how: dict[str, Any] = {
        "classes": info.classes,
        "ignore_index": info.ignore_index,
        "target": info.target,
    }
    network = create_model(model.identity, in_channels=channels, num_classes=len(info.classes)).to(
        device
    )
    statistics = normalization("auto", channels, network.network)
    preprocess = Preprocess(*statistics, info.value_range).to(device)
    images_BCHW = preprocess(batch.images_BCHW.to(device))
    target_BHW = device_target(batch.target_BHW, info.target, device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    criterion = make_loss("ce", **how).to(device)
    loss, _ = loss_of(network.train()(images_BCHW, target_BHW), target_BHW, criterion, 0.4)
    loss.backward()
    optimizer.step()
    metrics = MetricSet("", **how)
    metrics.start()
    with torch.inference_mode():
        metrics.update(network.eval()(images_BCHW), target_BHW)
    metrics.compute()
    value = float(loss.detach())
    if value != value or value in (float("inf"), float("-inf")):
        raise SegzooError(f"the loss is {value}")
    return value


def _train(model: Entry, data: Entry, size: tuple[int, int], epochs: int, device: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            model=model.identity,
            data=data.identity,
            sample=True,
            size=size,
            epochs=epochs,
            device=device,
            workers=0,
            out=str(Path(folder) / "run"),
            progress=False,
        )
    return result.scores["train"]["loss"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the notices that every stand-in is one."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _one_line(error: Exception) -> str:
    text = error.message if isinstance(error, SegzooError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
