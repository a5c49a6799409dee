"""A network trained on crops, scored as it is used: in windows over whole pictures.

Shapes: B batch, C channels, K classes, H x W a picture.
"""

from typing import Any

import torch
from torch import Tensor, nn

from segzoo.data.finish import resize_image
from segzoo.inference.averaging import as_logits
from segzoo.inference.settings import Inference
from segzoo.inference.views import enlarged
from segzoo.inference.windows import blend
from segzoo.size import Size, scaled
from segzoo.train.run import Run


def as_scored(model: nn.Module, run: Run) -> nn.Module:
    """Return what gives the logits of a run's pictures: its model, or that in windows."""
    config = run.config
    if config.crop is None:
        return model
    return Windowed(
        model,
        window=config.crop,
        scale=config.scale,
        classes=len(run.info.classes),
        batch_size=config.batch_size,
    )


class Windowed(nn.Module):
    """Gives logits_BKHW of normalised pictures, which `segzoo evaluate` of the same weights has.

    `network` sees windows of the size trained at, `batch_size` at once, of pictures times `scale`.
    """

    def __init__(
        self, network: nn.Module, *, window: Size, scale: float, classes: int, batch_size: int
    ) -> None:
        super().__init__()
        self.network = network
        self.window, self.scale, self.classes = window, scale, classes
        self.batch_size = batch_size

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits of the blended probabilities, at the pictures' size."""
        return torch.stack([self._one(image_CHW) for image_CHW in images_BCHW])

    def _one(self, image_CHW: Tensor) -> Tensor:
        height, width = image_CHW.shape[-2:]
        shown = scaled((height, width), self.scale)
        seen_Chw = image_CHW if shown == (height, width) else resize_image(image_CHW, shown)
        probability_KHW = blend(
            self._probability,
            seen_Chw,
            classes=self.classes,
            window=self.window,
            overlap=Inference().overlap,
            batch_size=self.batch_size,
        )
        if shown != (height, width):
            probability_KHW = enlarged(as_logits(probability_KHW), (height, width))
        return as_logits(probability_KHW).to(image_CHW.device)

    def _probability(self, images_BCHW: Tensor) -> Tensor:
        output: Any = self.network(images_BCHW)
        return (output["out"] if isinstance(output, dict) else output).float().softmax(1)
