"""From stored pixel values to what a network is fed: scaling and normalisation."""

import torch
from torch import Tensor, nn

NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "unit": ((0.0,), (1.0,)),
}


def normalization(
    name: str, channels: int, network: nn.Module | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) per channel of the 0..1 scale; ImageNet's only for three channels.

    `auto` is what the network says by its attributes `mean` and `std`, those of the pictures that
    its pretrained weights know, else ImageNet's.
    """
    own = getattr(network, "mean", None), getattr(network, "std", None)
    if name == "auto" and all(isinstance(value, tuple) and len(value) == channels for value in own):
        return own  # type: ignore[return-value]
    mean, std = NORMALIZATIONS["imagenet" if name == "auto" else name]
    if len(mean) not in (1, channels):
        mean, std = NORMALIZATIONS["half"]
    return (mean * channels)[:channels], (std * channels)[:channels]


class Preprocess(nn.Module):
    """Stored pixel values to network input, on the device: ((x - low) / (high - low) - mean) / std.

    Takes images_BCHW of any dtype and returns float32.
    """

    scale_C11: Tensor
    offset_C11: Tensor

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], value_range: tuple[float, float]
    ) -> None:
        super().__init__()
        low, high = value_range
        mean_C, std_C = torch.tensor(mean), torch.tensor(std)
        scale_C = 1 / ((high - low) * std_C)
        self.register_buffer("scale_C11", scale_C[:, None, None])
        self.register_buffer("offset_C11", (-low * scale_C - mean_C / std_C)[:, None, None])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return normalised float32 images_BCHW."""
        return images_BCHW.to(torch.float32) * self.scale_C11 + self.offset_C11
