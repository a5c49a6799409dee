"""Builds a network of transformers under the contract of segzoo's models."""

from torch import nn

from segzoo_transformers.architectures import ARCHITECTURES
from segzoo_transformers.configs import config_text, make_config
from segzoo_transformers.plugin import NetworkOptions
from segzoo_transformers.queries import QueryNetwork
from segzoo_transformers.weights import fresh_model, load_pretrained, quiet
from segzoo_transformers.wrapper import DenseNetwork


def build(*, in_channels: int, num_classes: int, options: NetworkOptions) -> nn.Module:
    """Build the network that the class of `options` stands for.

    Raises SegzooError where `config` or `pretrained` cannot be read or used.
    """
    architecture = ARCHITECTURES[options.architecture]
    owner = f"hf-{options.architecture}"
    with quiet():
        config = make_config(owner, options)
        saved = {"config": config_text(config)}
        config.num_labels = num_classes
        if options.pretrained is None:
            model = fresh_model(owner, architecture, config, in_channels)
        else:
            model = load_pretrained(owner, architecture, options.pretrained, config, in_channels)
    architecture.prune(model)
    kind = QueryNetwork if architecture.queries else DenseNetwork
    return kind(architecture, model, saved).train()
