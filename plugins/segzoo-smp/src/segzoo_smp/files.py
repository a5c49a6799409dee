"""Pretrained weights of an encoder from a local file; nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from segzoo import SegzooError
from segzoo.errors import listed
from segzoo.model.pickled import load_pickled
from segzoo.model.tensors import load_tensors


def load_file_into(owner: str, encoder: nn.Module, file: Path) -> None:
    """Load a file's weights into an encoder of smp, as `load_tensors_into` does."""
    load_tensors_into(owner, encoder, _read(owner, file), str(file))


def load_tensors_into(
    owner: str, encoder: nn.Module, tensors: Mapping[str, Tensor], where: str
) -> None:
    """Load weights that are said to come from `where` into an encoder of smp.

    They are the encoder's state dict as smp or timm names it, or a whole model of smp, whose
    encoder is taken. A first convolution for 3 channels is adapted as smp and timm do it: summed
    for 1 channel, repeated and scaled for more. Tensors that the encoder does not have are left
    out (a classifier). Raises SegzooError where one is missing that the network uses.
    """
    given = {_plain(name): value for name, value in tensors.items()}
    fitted, faults = {}, []
    trained = {name for name, value in encoder.named_parameters() if value.requires_grad}
    for name, own in encoder.state_dict().items():
        value = given.get(_plain(name))
        if value is not None:
            value = _adapted(value, own)
        if value is not None and value.shape == own.shape:
            fitted[name] = value
        elif name in trained or name.endswith(("running_mean", "running_var")):
            came = "is missing" if value is None else f"is {tuple(value.shape)}"
            faults.append(f"{name} {came}, the encoder's is {tuple(own.shape)}")
    if faults:
        raise SegzooError(
            f"{owner}: encoder_weights={where} does not fit the encoder: {len(faults)} of its "
            f"tensors do not match, such as {faults[0]}",
            f"it holds: {listed(given, 5)}",
        )
    with torch.no_grad():
        own = encoder.state_dict()
        for name, value in fitted.items():
            own[name].copy_(value)


def _read(owner: str, file: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name, those of `encoder.` alone where it is a whole model."""
    try:
        if file.suffix == ".safetensors":
            loaded: Any = load_tensors(file)
        else:
            loaded = load_pickled(file)
    except Exception as error:  # torch.load raises whatever it makes of damage.
        raise SegzooError(
            f"{owner}: encoder_weights={file} cannot be read: {' '.join(str(error).split())[:200]}",
            "give a .safetensors file, or a .pth that torch.load reads with weights_only=True",
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapping), Mapping):
            loaded = loaded[wrapping]
    tensors = (
        {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
        if isinstance(loaded, Mapping)
        else {}
    )
    if any(name.startswith("segmentation_head.") for name in tensors):
        mark = "encoder."
        return {n.removeprefix(mark): value for n, value in tensors.items() if n.startswith(mark)}
    return tensors


def _plain(name: str) -> str:
    """Return a name without what smp and timm add where they take features from a network.

    smp puts `model.` before timm's names, timm's FeatureListNet turns `stages.0` into `stages_0`.
    """
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name.replace(".", "_")


def _adapted(value: Tensor, own: Tensor) -> Tensor:
    """Return a first convolution for 3 channels as one for as many as the network's takes."""
    if value.ndim == own.ndim == 4 and value.shape[1] == 3 != own.shape[1]:
        return adapt_input_conv(own.shape[1], value)
    return value
