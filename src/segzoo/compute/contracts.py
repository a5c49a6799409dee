"""What plugins' parts return, held against their contracts where it arrives: each names the part.

The checks ask for types and shapes alone, which a host knows without waiting for its device.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.errors import SegzooError

LOOKED_AT = 100


def check_parameters(network: nn.Module, owner: str) -> None:
    """Raise SegzooError for parameters that cannot be trained, and where none can be."""
    parameters = dict(network.named_parameters())
    for name, value in parameters.items():
        # An optimizer changes them by small steps.
        if value.dtype.itemsize < 2 or not (value.is_floating_point() or value.is_complex()):
            raise SegzooError(
                f"{owner}: its parameter `{name}` is of {kind(value.dtype)}",
                "parameters are float32, or another floating or complex type of 16 bits or more; "
                "what is not learned is registered as a buffer",
            )
    if not any(value.requires_grad for value in parameters.values()):
        state = "none of its parameters learns" if parameters else "it has no parameters"
        raise SegzooError(f"{owner}: {state}", "there is nothing to train")


def check_logits(value: Any, owner: str, classes: int, padded: tuple[int, int]) -> None:
    """Raise SegzooError for a network's output that is no logits of the input's size."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise SegzooError(
            f"{owner} returned {described(value)}; its contract is logits B x {classes} x H x W, "
            "floating-point numbers"
        )
    if value.ndim != 4 or value.shape[1] != classes:
        raise SegzooError(
            f"{owner} returned {tuple(value.shape)}; its contract is logits B x {classes} x H x W"
        )
    if tuple(value.shape[-2:]) != padded:
        raise SegzooError(
            f"{owner} returned logits of {tuple(value.shape[-2:])} for a picture of {padded}; its "
            "contract is the same size"
        )


def check_loss(value: Any, owner: str) -> None:
    """Raise SegzooError for a loss that is no floating-point scalar."""
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        raise SegzooError(
            f"{owner} returned {described(value)}; its contract is a loss of one floating-point "
            "number, a tensor without dimensions",
            "its authors can find that by `segzoo check`; choose another --loss until then",
        )


def check_gradient(value: Tensor, logits_BKHW: Tensor, names: str) -> None:
    """Raise SegzooError for a loss that does not depend on logits that are to learn from it."""
    if logits_BKHW.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
        raise SegzooError(
            f"{names} gives no gradient: nothing can be learned from it",
            "it must be computed from the logits by torch, without detach, item or numpy",
        )


def version(value: Tensor) -> int:
    """Return how often a tensor has been changed in place, -1 where torch does not count."""
    return -1 if value.is_inference() else value._version


def check_unchanged(value: Tensor, before: int, owner: str) -> None:
    """Raise SegzooError for logits that were changed in place since they had a version."""
    if version(value) != before:
        raise SegzooError(
            f"{owner} changes the logits in place, which scores and other losses use too",
            "its authors should compute on a copy: `logits = logits.clone()`",
        )


def check_scores(values: Any, owner: str) -> dict[str, float]:
    """Return a metric's scores as numbers by name; raise SegzooError for anything else."""
    scores: dict[str, float] = {}
    for name, value in values.items():
        number = None
        if not isinstance(value, str | bytes | complex):
            with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
                number = float(value)
        if number is None or not isinstance(name, str):
            raise SegzooError(
                f"{owner} gives {described(value)} for {name!r:.80}; its contract is a number, or "
                "numbers by name",
                "leave it out of --metrics, or ask its authors",
            )
        scores[name] = number
    return scores


def check_dataset(dataset: Any, owner: str) -> None:
    """Raise SegzooError for `keys` and `files` of a built split that are not what they are to be.

    Looked at are the first 100 keys, and the files of the first sample.
    """
    keys = getattr(dataset, "keys", None)
    if isinstance(keys, str | bytes):
        raise _data_fault(owner, "keys", keys, "a list of the samples' names")
    # What is no sequence, such as a mapping's method, is not used.
    for key in islice(keys if isinstance(keys, Sequence) else (), LOOKED_AT):
        if not isinstance(key, str):
            raise _data_fault(owner, "keys", key, "a list of the samples' names, texts")
    files = getattr(dataset, "files", None)
    if files is None or not hasattr(dataset, "__len__") or not len(dataset):
        return
    if not callable(files):
        raise _data_fault(owner, "files", files, "a method: files(index)")
    paths: Any = files(0)
    if isinstance(paths, str | bytes | os.PathLike) or not hasattr(paths, "__iter__"):
        raise _data_fault(owner, "files(0)", paths, FILES)
    paths = list(paths)
    wrong = [path for path in paths if not isinstance(path, Path)]
    if wrong or not paths:
        raise _data_fault(owner, "files(0)", wrong or paths, FILES)


FILES = "the files that the sample is made of, as a list of pathlib.Path"


def _data_fault(owner: str, name: str, value: Any, contract: str) -> SegzooError:
    return SegzooError(
        f"{owner}: `{name}` is {described(value)}; its contract is {contract}",
        "its authors can find that by `segzoo check`",
    )


def described(value: Any) -> str:
    """Say what came instead, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {kind(value.dtype)}"
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(map(repr, list(value)[:5])) or 'nothing'}"
    if isinstance(value, list | tuple):
        inside = f" of {type(value[0]).__name__}" if value else ""
        return f"a {type(value).__name__}{inside}, {len(value)} long"
    if value is None or isinstance(value, str | bytes | int | float | complex):
        return f"{value!r:.80}"
    return f"a {type(value).__name__}"


def kind(dtype: torch.dtype) -> str:
    """Return what torch calls a type: `float32`."""
    return str(dtype).removeprefix("torch.")
