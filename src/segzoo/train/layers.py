"""What depends on how deep a block of an encoder lies: learning rates, and being left out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_BLOCK = re.compile(r".*?\d+(?:\.\d+)*(?=\.)")
"""The name of a block: up to its first numbers, as `layer1.0` of `layer1.0.downsample.0.weight`."""

_SLOTS = ("drop_path", "drop_path1", "drop_path2")
"""Where timm's blocks have their stochastic depth; None or an identity without one."""


def drop_blocks(encoder: nn.Module, rate: float) -> int:
    """Leave residual blocks out at random in training; return how many blocks may be left out.

    Stochastic depth (Huang et al., ECCV 2016, https://arxiv.org/abs/1603.09382): of N blocks the
    n-th, counted from 0, is left out for a picture with the probability rate * n / (N - 1), and
    what it adds is divided by that of staying. Blocks are those of timm's networks; an encoder
    that has rates of its own keeps them, and one without such blocks stays as it is.
    """
    blocks = [
        (block, slots)
        for block in encoder.modules()
        if (slots := [slot for slot in _SLOTS if hasattr(block, slot)])
    ]
    present = [getattr(block, slot) for block, slots in blocks for slot in slots]
    if any(value is not None and not isinstance(value, nn.Identity) for value in present):
        return 0
    from torchvision.ops import StochasticDepth  # Slow to import, and seldom needed.

    for place, (block, slots) in enumerate(blocks):
        for slot in slots:
            setattr(block, slot, StochasticDepth(rate * place / max(len(blocks) - 1, 1), "row"))
    return len(blocks)


def keep_statistics(encoder: nn.Module) -> None:
    """Let batch norms in training mode use, and keep, the mean and variance they have.

    Their weights learn on. Those of a few pictures are noise beside those of a pretraining, which
    is why detectors fix them (He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition",
    CVPR 2016, https://arxiv.org/abs/1512.03385, appendix A). `train()` ends it.
    """
    for module in encoder.modules():
        if isinstance(module, _BatchNorm):
            module.training = False


def layer_factors(encoder: nn.Module, decay: float) -> dict[int, float]:
    """Return the factor of the learning rate of each parameter that is trained, by its id().

    Of L layers the first, the stem, has decay^L and the last decay^1, so that what follows the
    encoder has 1: Clark et al., "ELECTRA", ICLR 2020, https://arxiv.org/abs/2003.10555; for vision
    Bao et al., "BEiT", ICLR 2022, https://arxiv.org/abs/2106.08254. Layers are timm's own groups
    where the encoder is a network of timm, mostly its residual blocks, and else the numbered
    blocks in the order in which the encoder has them.
    """
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    layers = _timm_layers(encoder, trained) or numbered_layers(trained)
    # A part cut off at the encoder's end leaves no gap, and no factor too many.
    depth = {layer: place for place, layer in enumerate(sorted(set(layers.values())))}
    return {id(p): decay ** (len(depth) - depth[layers[name]]) for name, p in trained.items()}


def numbered_layers(names: Iterable[str]) -> dict[str, int]:
    """Return the layer of each parameter by the blocks' numbers in the names, in their order.

    What has no number belongs to the block before it, and before the first block to the stem.
    """
    layers: dict[str, int] = {}
    known: dict[str, int] = {}
    present = 0
    for name in names:
        block = _BLOCK.match(name)
        # `conv1.weight` has a number too, but neither parts inside it nor a place in a sequence.
        if block and (name.count(".", block.end()) > 1 or block[0].split(".")[-1].isdigit()):
            present = known.setdefault(block[0], len(known) + 1)
        layers[name] = present
    return layers


def _timm_layers(encoder: nn.Module, trained: Mapping[str, Any]) -> dict[str, int] | None:
    """Return timm's layers, or None where the encoder or a parameter of it is not timm's.

    timm takes a network apart for its features, which then has no `group_matcher`: the layers are
    those of the whole network of that name, whose parameters `stages.0` are here `stages_0`.
    """
    found = next(
        (
            (prefix, config["architecture"])
            for prefix, module in encoder.named_modules()
            if isinstance(config := getattr(module, "pretrained_cfg", None), dict)
            and "architecture" in config
        ),
        None,
    )
    if found is None:
        return None
    import timm
    from timm.models import group_parameters

    prefix, architecture = found
    try:
        with torch.device("meta"):  # which allocates nothing; some networks cannot be built there
            whole: Any = timm.create_model(architecture)
    except (RuntimeError, NotImplementedError):
        return None
    if not hasattr(whole, "group_matcher"):
        return None
    groups: Any = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    dotted = {name.replace("_", "."): layer for name, layer in groups.items()}
    layers: dict[str, int] = {}
    for name in trained:
        own = name.removeprefix(f"{prefix}.").removeprefix("model.").replace("_", ".")
        if own not in dotted:
            return None
        layers[name] = dotted[own]
    return layers
