"""What segzoo-unet provides; light, the network is in `segzoo_unet.network`."""

from dataclasses import dataclass
from typing import Literal

from segzoo import ModelSpec, option


@dataclass(frozen=True, kw_only=True)
class UNetOptions:
    """Options of `unet`."""

    width: int = option(64, "channels of the first level; each level below doubles them", minimum=1)
    depth: int = option(5, "levels, the deepest included", minimum=1, maximum=9)
    norm: Literal["none", "batch", "group"] = option("none", "normalisation after each convolution")
    down: Literal["max", "avg", "conv"] = option(
        "max", "max or average pooling, strided convolution"
    )
    up: Literal["deconv", "bilinear", "nearest", "unpool"] = option(
        "deconv", "transposed convolution, interpolation, or unpooling (needs down=max)"
    )

    def __post_init__(self) -> None:
        if self.up == "unpool" and self.down != "max":
            raise ValueError(f"up=unpool needs the indices of down=max, not down={self.down}")


def segzoo_models() -> list[ModelSpec]:
    """Return `unet`."""
    return [
        ModelSpec(
            name="unet",
            summary="U-Net: five levels, concatenated skips",
            build="segzoo_unet.network:build_unet",
            options=UNetOptions,
            aliases=("u-net",),
            stride=16,
            paper="https://arxiv.org/abs/1505.04597",
            licence="Apache-2.0",
        )
    ]
