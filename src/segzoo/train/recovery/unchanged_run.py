"""Putting back what an observer may change without meaning it: in the run and in the process."""

import contextlib
import dataclasses
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any

from segzoo.compute.process_state import unchanged_process
from segzoo.compute.randomness import kept_random
from segzoo.compute.surroundings import unchanged_surroundings
from segzoo.host import system
from segzoo.train.recovery.stopping import SIGNALS, Wish
from segzoo.train.recovery.unchanged_weights import same_memory
from segzoo.train.recovery.undo import copy_all, overlapping
from segzoo.train.run import Run


@contextlib.contextmanager
def unchanged_run(run: Run, wish: Wish) -> Iterator[None]:
    """Let an observer do its work so that the training goes on bit for bit as without it.

    Put back are random states, torch's settings, the working folder, who hears signals, stdout and
    stderr, the run's values, gradients, what is trained, and what norms remember. Takes 0.3 ms,
    once per hook and observer. For the weights see train/recovery/unchanged_weights.py.
    """
    with (
        unchanged_process(),
        unchanged_surroundings(),
        kept_random(run.device),
        _kept_signals(wish),
        _kept_streams(),
        _kept_values(run),
        _kept_network(run),
        _kept_optimizer(run),
    ):
        yield


@contextlib.contextmanager
def _kept_signals(wish: Wish) -> Iterator[None]:
    """Have the same functions hear signals, unless somebody wished the training to end meanwhile:
    then others do, and rightly.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread can have changed them.
        return
    before, heard = {number: system.heard_by(number) for number in SIGNALS}, wish.signal
    try:
        yield
    finally:
        if wish.signal == heard:
            for number, handler in before.items():
                if system.heard_by(number) is not handler and handler is not None:
                    system.hear(number, handler)


class _Unclosed:
    """A stream that is not closed by whom it is lent to."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """Only write what is waiting."""
        self._stream.flush()

    def detach(self) -> Any:
        """Refuse it: the stream would be none any more."""
        raise io.UnsupportedOperation("stdout and stderr are not detached in a training")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "_Unclosed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


@contextlib.contextmanager
def _kept_streams() -> Iterator[None]:
    """Keep stdout and stderr open, and what they are."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream if stream is None else _Unclosed(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _kept_values(run: Run) -> Iterator[None]:
    """Keep the run's own values, and those of its history and lists."""
    before = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    before |= {name: value.copy() for name, value in before.items() if type(value) in (dict, list)}
    before |= {
        "history": [
            {k: dict(v) if isinstance(v, dict) else v for k, v in record.items()}
            for record in run.history
        ],
        "partial": dataclasses.replace(run.partial),
    }
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(run, name, value)


@contextlib.contextmanager
def _kept_network(run: Run) -> Iterator[None]:
    """Keep which parameters are trained, their gradients, and what norms remember."""
    parameters = [(p, p.requires_grad, p.grad) for p in run.model.parameters()]
    models = {id(model): model for model in (run.model, run.deployed)}.values()
    live = [b for model in models for b in model.buffers() if not overlapping(b)]
    before, memories = [buffer.clone() for buffer in live], [buffer.data for buffer in live]
    try:
        yield
    finally:
        for parameter, trained, gradient in parameters:
            parameter.grad = gradient  # Between steps there is none.
            if parameter.requires_grad != trained:
                parameter.requires_grad_(trained)
        for buffer, memory in zip(live, memories, strict=True):
            if not same_memory(buffer.data, memory):
                buffer.data = memory
        copy_all(before, live)


@contextlib.contextmanager
def _kept_optimizer(run: Run) -> Iterator[None]:
    """Keep rates and decays, the place in the schedule, and which moments there are."""
    optimizer, schedule = run.optimizer, run.schedule
    groups = [(group, dict(group), list(group["params"])) for group in optimizer.param_groups]
    moments = {parameter: dict(kept) for parameter, kept in optimizer.state.items()}
    places = {
        name: value.copy() if isinstance(value, list) else value
        for name, value in vars(schedule).items()
    }
    try:
        yield
    finally:
        for group, values, parameters in groups:
            group.clear()
            group.update(values, params=parameters)
        optimizer.param_groups[:] = [group for group, _, _ in groups]
        if optimizer.state.keys() != moments.keys():
            optimizer.state.clear()
            optimizer.state.update(moments)
        vars(schedule).update(places)
