"""What segzoo reads of this package without loading torch: the options and the three models."""

from dataclasses import dataclass
from typing import Literal

from segzoo import ModelSpec, option


@dataclass(frozen=True, kw_only=True)
class FCNOptions:
    """Options of the three FCNs; the defaults are the network of the paper."""

    encoder: str | None = option(None, "network of timm in the place of VGG16, such as resnet50")
    encoder_weights: str | None = option(
        "imagenet",
        "pretrained weights of `encoder`: imagenet, a tag of timm's, a file, or none",
        external=True,
    )
    width: int = option(
        64,
        "channels of VGG16's first block; the later ones have 2, 4, 8 and 8 times; an encoder has "
        "its own",
        minimum=1,
    )
    fc_channels: int | None = option(
        None, "channels of fc6 and fc7; none: 4096, with an encoder 512", minimum=1
    )
    dropout: float = option(
        0.5, "probability that an activation of fc6 or fc7 is dropped", minimum=0.0, maximum=1.0
    )
    norm: Literal["none", "batch"] = option(
        "none",
        "none: VGG16, as in the paper; batch: VGG16-BN, norm after each 3x3 convolution; an "
        "encoder has its own",
    )


def segzoo_models() -> list[ModelSpec]:
    """Return fcn32s, fcn16s and fcn8s."""
    skips = {32: "no skip", 16: "a skip at 1/16", 8: "skips at 1/16 and 1/8"}
    return [
        ModelSpec(
            name=f"fcn{stride}s",
            summary=f"FCN-{stride}s: VGG16 or an encoder of timm scored by convolutions, {skip}",
            build=f"segzoo_fcn.network:build_fcn{stride}s",
            options=FCNOptions,
            stride=32,  # five poolings in all three; the name gives the stride of the scores
            paper="https://arxiv.org/abs/1411.4038",
            licence="Apache-2.0",
        )
        for stride, skip in skips.items()
    ]
