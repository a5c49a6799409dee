"""What all networks have in common, and the networks that give logits for every pixel.

Shapes: B batch, C channels, K classes, H height, W width; h, w at the network's own resolution.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo_transformers.architectures import Architecture


class Wrapper(nn.Module):
    """A network of transformers, in `model`, under the contract of segzoo's models.

    `stride` is what H and W are multiples of, `saved_options` what builds the same architecture
    again without any file.
    """

    def __init__(
        self, architecture: Architecture, model: Any, saved_options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.model = model
        self.stride = architecture.stride(model.config)
        self.saved_options = dict(saved_options)

    def forward(self, images_BCHW: Tensor, labels_BHW: Tensor | None = None) -> Any:
        """Return logits_BKHW, in training possibly in a dict; see the class."""
        if not torch.is_inference_mode_enabled():
            return self.compute(images_BCHW, labels_BHW)
        # transformers keeps tables of positions by picture size. Those made in inference mode
        # could not be used by a later training at the same size.
        with torch.inference_mode(False), torch.no_grad():
            return self.compute(images_BCHW, labels_BHW)

    def compute(self, images_BCHW: Tensor, labels_BHW: Tensor | None) -> Any:
        """As forward, outside of inference mode."""
        raise NotImplementedError


class DenseNetwork(Wrapper):
    """A network of transformers that gives logits for every pixel.

    forward(images_BCHW) takes float pictures and returns logits_BKHW, enlarged bilinearly from the
    network's own resolution; in training, where there is an auxiliary head,
    {"out": logits_BKHW, "aux": logits_BKHW}.
    """

    def __init__(
        self, architecture: Architecture, model: Any, saved_options: Mapping[str, Any]
    ) -> None:
        super().__init__(architecture, model, saved_options)
        self.run = architecture.run

    def compute(self, images_BCHW: Tensor, labels_BHW: Tensor | None) -> Tensor | dict[str, Tensor]:
        """Return logits_BKHW, in training possibly with those of the auxiliary head."""
        logits_BKhw, aux_BKhw = self.run(self.model, images_BCHW)
        logits_BKHW = enlarged(logits_BKhw, images_BCHW)
        if aux_BKhw is None:
            return logits_BKHW
        return {"out": logits_BKHW, "aux": enlarged(aux_BKhw, images_BCHW)}


def enlarged(values_BKhw: Tensor, images_BCHW: Tensor) -> Tensor:
    """Return values_BKHW at the pictures' size."""
    size = images_BCHW.shape[-2:]
    return functional.interpolate(values_BKhw, size, mode="bilinear", align_corners=False)
