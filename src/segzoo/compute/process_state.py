"""What code of a plugin may change for the whole process without meaning it, and is put back."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from segzoo.plugins.isolation import kept_folder

_left_changed: ContextVar[bool] = ContextVar("left_changed", default=False)


@contextlib.contextmanager
def left_changed() -> Iterator[None]:
    """Let `unchanged_process` put nothing back in the block: for checks that look for changes."""
    token = _left_changed.set(True)
    try:
        yield
    finally:
        _left_changed.reset(token)


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Put back the working folder, and torch's default type and device, grad mode and threads.

    Takes 5 microseconds where nothing was changed, so that it can be done for every sample.
    """
    if _left_changed.get():
        yield
        return
    threads, dtype, device = (
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    )  # fmt: skip
    matmul, deterministic = (
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    )  # fmt: skip
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    grad = torch.is_grad_enabled()
    try:
        with kept_folder():
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.get_float32_matmul_precision() != matmul:
            torch.set_float32_matmul_precision(matmul)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if torch.is_grad_enabled() != grad:
            torch.set_grad_enabled(grad)
