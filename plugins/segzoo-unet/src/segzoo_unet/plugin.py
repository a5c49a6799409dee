"""What segzoo-unet provides; light, the network is in `segzoo_unet.network`."""

from dataclasses import dataclass
from typing import Literal

from segzoo import ModelSpec, option


@dataclass(frozen=True, kw_only=True)
class UNetOptions:
    """Options of `unet`."""

    encoder: str | None = option(
        None, "network of timm in the place of U-Net's own encoder, such as resnet34"
    )
    encoder_weights: str | None = option(
        "imagenet",
        "pretrained weights of `encoder`: imagenet, a tag of timm's, a file, or none",
        external=True,
    )
    width: int | None = option(
        None,
        "channels at full size, doubled by each level below; none: 64, with an encoder 16",
        minimum=1,
    )
    depth: int = option(
        5,
        "levels, the deepest included; with an encoder, how often it halves",
        minimum=1,
        maximum=9,
    )
    norm: Literal["auto", "none", "batch", "group"] = option(
        "auto", "normalisation after each convolution; auto: none, with an encoder batch"
    )
    down: Literal["max", "avg", "conv"] = option(
        "max", "max or average pooling, strided convolution; an encoder has its own"
    )
    up: Literal["auto", "deconv", "bilinear", "nearest", "unpool"] = option(
        "auto",
        "transposed convolution, interpolation, or unpooling (needs down=max); auto: deconv, with "
        "an encoder nearest",
    )

    def __post_init__(self) -> None:
        if self.up == "unpool" and self.down != "max":
            raise ValueError(f"up=unpool needs the indices of down=max, not down={self.down}")
        if self.encoder is None:
            return
        if self.up == "unpool":
            raise ValueError("up=unpool needs U-Net's own pooling; leave encoder or up out")
        if self.down != "max":
            raise ValueError(f"down={self.down}: encoder={self.encoder} halves in its own way")


def segzoo_models() -> list[ModelSpec]:
    """Return `unet`."""
    return [
        ModelSpec(
            name="unet",
            summary="U-Net: concatenated skips, its own encoder or one of timm's",
            build="segzoo_unet.network:build_unet",
            options=UNetOptions,
            aliases=("u-net",),
            stride=16,
            paper="https://arxiv.org/abs/1505.04597",
            licence="Apache-2.0",
        )
    ]
