"""Models with fresh weights, or with those of a folder or the hub (safetensors alone)."""

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from huggingface_hub import utils as hub
from torch import nn
from transformers.utils import logging as messages

from segzoo import SegzooError
from segzoo_transformers.architectures import Architecture
from segzoo_transformers.places import (
    LOAD_ERRORS,
    REFUSALS,
    is_folder,
    not_loaded,
    one_line,
    place,
)


def fresh_model(owner: str, architecture: Architecture, config: Any, in_channels: int) -> Any:
    """Return the model with random weights; SegzooError for a configuration that does not fit."""
    channel_owner(config).num_channels = in_channels
    try:
        model = architecture.classes()[1](config)
    except REFUSALS as error:
        raise SegzooError(
            f"{owner}: transformers cannot build a network of this configuration: "
            f"{one_line(error)}",
            "see whether the numbers of `config` go together",
        ) from error
    unit_norms(model, set(dict(model.named_parameters())))
    return model


def load_pretrained(
    owner: str, architecture: Architecture, name: str, config: Any, in_channels: int
) -> Any:
    """Return the model with its weights; what they lack or have in other shapes is drawn anew.

    `config` has the wanted number of labels. The first convolution's weights are adapted as timm
    adapts them where `in_channels` is not the pretrained model's.
    """
    model_class = architecture.classes()[1]
    try:
        model, report = model_class.from_pretrained(
            place(name),
            config=config,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=is_folder(owner, name),
            output_loading_info=True,
        )
    except LOAD_ERRORS as error:
        raise not_loaded(owner, name, error) from error
    missing = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if not set(dict(model.named_parameters())) - missing:
        raise SegzooError(
            f"{owner}: no weight of pretrained={name} fits {model_class.__name__}",
            "give a folder that save_pretrained of that class, or of its encoder, has written",
        )
    unit_norms(model, missing)
    if channel_owner(config).num_channels == in_channels:
        return model
    return _with_channels(owner, name, model, in_channels)


def unit_norms(model: nn.Module, names: set[str]) -> None:
    """Let batch norms scale by 1 where their weight is among `names`, as others' do.

    transformers draws those of MobileViT from N(0, 0.02), with which the signal fades: 5 epochs on
    stand-in portraits at 96 x 96 brought the training loss of `xx-small` to 0.99, with ones 0.51.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and f"{name}.weight" in names:
            nn.init.ones_(module.weight)


def channel_owner(config: Any) -> Any:
    """Return the configuration that says how many channels pictures have, or its backbone's."""
    return config if "num_channels" in type(config).__dataclass_fields__ else config.backbone_config


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' messages and progress bars away, and put its settings back afterwards."""
    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    messages.set_verbosity(logging.CRITICAL)
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
        (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()


def _with_channels(owner: str, name: str, source: Any, in_channels: int) -> Any:
    # A new model rather than a changed one: transformers' patch embeddings compare pictures with
    # a number of channels of their own.
    from timm.models import adapt_input_conv

    config = copy.deepcopy(source.config)
    channel_owner(config).num_channels = in_channels
    model, weights = type(source)(config), source.state_dict()
    for key, value in model.state_dict().items():
        if value.shape == weights[key].shape:
            continue
        if weights[key].shape[1] != 3:
            raise SegzooError(
                f"{owner}: pretrained={name} takes {weights[key].shape[1]} channels, the pictures "
                f"have {in_channels}",
                "weights for 3 channels can be adapted to other numbers, these not",
            )
        weights[key] = adapt_input_conv(in_channels, weights[key])
    model.load_state_dict(weights)
    return model
