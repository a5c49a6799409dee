"""What a part must leave as it found it: dtype, grad mode, random states, folder, environment."""

import contextlib
import hashlib
import io
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from segzoo.compute.process_state import left_changed
from segzoo.compute.randomness import kept_random

ADVICE = {
    "default dtype": "pass dtype=... where tensors are made; never call torch.set_default_dtype",
    "grad mode": "use `with torch.no_grad():` around the lines that need it",
    "default device": "let the core move the module; never call torch.set_default_device",
    "deterministic algorithms": "leave torch.use_deterministic_algorithms to the user",
    "threads": "leave torch.set_num_threads to the user",
    "Python's random state": "draw from a `random.Random(seed)` of your own",
    "numpy's random state": "draw from `numpy.random.default_rng(seed)`",
    "torch's random state": "draw from a `torch.Generator` of your own",
    "working directory": "use absolute paths; never call os.chdir",
    "environment": "leave os.environ alone",
}


def global_state(*, torch_random: bool = True) -> dict[str, Any]:
    """Return what there is to disturb, by the names of ADVICE."""
    state: dict[str, Any] = {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "default device": torch.get_default_device(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "Python's random state": random.getstate(),
        "numpy's random state": _digest(np.random.get_state()),
        "working directory": os.getcwd(),  # noqa: PTH109 - only compared
        "environment": dict(os.environ),
    }
    if torch_random:
        state["torch's random state"] = torch.get_rng_state().numpy().tobytes()
    return state


def changed_state(before: dict[str, Any]) -> list[str]:
    """List the names of what is no longer as `before`."""
    after = global_state(torch_random="torch's random state" in before)
    return [name for name, value in before.items() if after[name] != value]


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """Put back what a badly behaved part changed, so that the next check starts clean."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    folder, environment = os.getcwd(), dict(os.environ)  # noqa: PTH109
    try:
        with kept_random(), left_changed():  # Checks are to see it.
            yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)


@contextlib.contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """Catch what is printed on stdout."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield text


def _digest(state: Any) -> str:
    return hashlib.sha256(repr((state[0], state[1].tobytes(), state[2:])).encode()).hexdigest()
