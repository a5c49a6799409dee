"""From the options to transformers' configuration, and from that back to the text that is saved."""

import json
from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from segzoo import SegzooError
from segzoo.errors import nearest
from segzoo_transformers.architectures import ARCHITECTURES, Architecture
from segzoo_transformers.places import (
    REFUSALS,
    config_values,
    one_line,
    pretrained_values,
    shortened,
)
from segzoo_transformers.plugin import NetworkOptions
from segzoo_transformers.presets import PRESETS

NOT_READ = (
    # The number of classes is the builder's; types of numbers are the run's.
    *("num_labels", "id2label", "label2id", "problem_type", "dtype", "torch_dtype"),
    *("return_dict", "output_attentions", "output_hidden_states", "auto_map"),
)
SAME = {"out_indices": "out_features", "out_features": "out_indices"}  # two ways to say one thing
NOT_SAVED = {*NOT_READ, "num_channels", "stage_names", *PreTrainedConfig().to_dict()}


def make_config(owner: str, options: NetworkOptions) -> PreTrainedConfig:
    """Return transformers' configuration: that of the preset or of `pretrained`, or `config`.

    A `config` with a `model_type` is complete; without one, its fields go over the others.
    `owner` is the model's name in messages. Raises SegzooError for an option that cannot be read,
    belongs to another architecture or is refused by transformers.
    """
    architecture = ARCHITECTURES[options.architecture]
    if options.pretrained is None:
        values = PRESETS[options.architecture][options.size]
    else:
        values = pretrained_values(owner, options.pretrained)
        check_type(owner, architecture, values, "pretrained", options.pretrained)
    if options.config is not None:
        given = config_values(owner, options.config)
        check_type(owner, architecture, given, "config", options.config)
        if "model_type" in given:
            values = given
        else:
            check_names(owner, architecture, given)
            values = {k: v for k, v in values.items() if SAME.get(k) not in given} | given
    return from_values(owner, architecture, values)


def from_values(owner: str, architecture: Architecture, values: dict[str, Any]) -> PreTrainedConfig:
    """Build the configuration class from plain values."""
    # A copy: transformers' classes keep and change the nested dicts that they are given.
    values = json.loads(json.dumps(values))
    values = {key: value for key, value in values.items() if key not in NOT_READ}
    try:
        made = architecture.classes()[0](**values)
    except REFUSALS as error:
        raise SegzooError(
            f"{owner}: transformers refuses the configuration: {one_line(error)}",
            "compare it with the config.json of a model that works",
        ) from error
    if getattr(made, "is_hybrid", False):
        raise SegzooError(
            f"{owner}: a hybrid configuration takes pictures of one size alone",
            "use one with is_hybrid=false",
        )
    return made


def config_text(config: PreTrainedConfig) -> str:
    """Return the architecture of a configuration as JSON, without paths, labels and channels.

    All fields of transformers' class stand in it, since their defaults change with its versions.
    """
    values = _fields(config)
    # MaskFormer's decoder has the configuration of a whole DETR, whose backbone is not built.
    values.get("decoder_config", {}).pop("backbone_config", None)
    return json.dumps(values, separators=(",", ":"))


def check_type(
    owner: str, architecture: Architecture, values: dict[str, Any], option: str, came: str
) -> None:
    """Raise SegzooError where values say that they are of another architecture."""
    found = values.get("model_type", architecture.model_type)
    if found == architecture.model_type:
        return
    takers = [f"hf-{name}" for name, a in ARCHITECTURES.items() if a.model_type == found]
    raise SegzooError(
        f"{owner}: {option}={shortened(came)} is of model type `{found}`, not "
        f"`{architecture.model_type}`",
        f"use --model {takers[0]}" if takers else f"give one of `{architecture.model_type}`",
    )


def check_names(owner: str, architecture: Architecture, values: dict[str, Any]) -> None:
    """Raise SegzooError for a mistyped name, which transformers' classes would keep silently.

    Not done for complete configurations: another version of transformers may have written them,
    with names that this one does not know.
    """
    default = architecture.classes()[0]()
    for key in values:
        if not hasattr(default, key):
            raise SegzooError(
                f"{owner}: option `config`: {type(default).__name__} has no `{key}`",
                nearest(key, default.to_dict()).strip(),
            )


def _fields(config: PreTrainedConfig) -> dict[str, Any]:
    default, values = type(config)(), config.to_dict()
    found: dict[str, Any] = {"model_type": config.model_type}
    for key in values:
        if key in NOT_SAVED or key.startswith("_") or not hasattr(default, key):
            continue
        own = getattr(config, key)
        found[key] = _fields(own) if isinstance(own, PreTrainedConfig) else values[key]
    if found.get("out_indices"):
        found.pop("out_features", None)  # the same stages by name
    return found
