"""Networks that predict a set of masks, each with a class: MaskFormer, Mask2Former, EoMT.

Shapes: B batch, C channels, K classes, H height, W width, N queries, M masks of one picture.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo import SegzooError
from segzoo_transformers.architectures import Architecture
from segzoo_transformers.wrapper import Wrapper, enlarged

SMALLEST = torch.finfo(torch.float32).tiny


class QueryNetwork(Wrapper):
    """A network of transformers that predicts masks with classes, trained by its own loss.

    forward(images_BCHW) returns logits_BKHW. forward(images_BCHW, labels_BHW) in training returns
    {"out": logits_BKHW, "loss": scalar}. Each class in a picture is one mask to be found, and ids
    outside 0..K-1 belong to no mask. The loss is transformers' own; `out` has no gradient then.

    The logits are logarithms of the scores that transformers' image processors compute, the sum
    over queries of P(class) * P(pixel in mask). Their softmax is each class's share of the scores,
    so that cross-entropy makes sense; the largest class is the same.

    EoMT takes pictures of config.image_size x config.image_size alone: pictures are resized to
    that bilinearly, whatever their shape, and its masks to the pictures' size.
    """

    def __init__(
        self, architecture: Architecture, model: Any, saved_options: Mapping[str, Any]
    ) -> None:
        super().__init__(architecture, model, saved_options)
        self.owner = f"hf-{architecture.model_type}"
        self.num_classes: int = model.config.num_labels
        self.fine_masks = architecture.fine_masks
        self.side: int | None = model.config.image_size if architecture.fixed_size else None
        # MaskFormer's auxiliary losses need the decoder's states, which it gives when it is asked.
        auxiliary = architecture.model_type == "maskformer" and model.config.use_auxiliary_loss
        self.arguments = {"output_hidden_states": True} if auxiliary else {}
        model.criterion = Float32Loss(model.criterion)

    def compute(self, images_BCHW: Tensor, labels_BHW: Tensor | None) -> Tensor | dict[str, Tensor]:
        """Return logits_BKHW, or in training with labels {"out": logits_BKHW, "loss": scalar}."""
        inputs_BCHW = images_BCHW
        if self.side is not None:
            size = (self.side, self.side)
            inputs_BCHW = functional.interpolate(
                images_BCHW, size, mode="bilinear", align_corners=False, antialias=True
            )
        if labels_BHW is None or not self.training:
            return self.logits(self.model(inputs_BCHW, **self.arguments), images_BCHW)
        if labels_BHW.is_floating_point():
            raise SegzooError(
                f"{self.owner} is trained by a loss of its own, which takes class labels; the "
                "target is an alpha",
                "train on a data set of labels, or choose a model that takes --loss",
            )
        masks, classes = masks_of(labels_BHW, self.num_classes)
        outputs = self.model(inputs_BCHW, mask_labels=masks, class_labels=classes, **self.arguments)
        with torch.no_grad():
            logits_BKHW = self.logits(outputs, images_BCHW)
        return {"out": logits_BKHW, "loss": outputs.loss}

    def logits(self, outputs: Any, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW in float32: the logarithm of the semantic scores."""
        with torch.autocast(images_BCHW.device.type, enabled=False):
            classes_BNK = outputs.class_queries_logits.float().softmax(-1)[..., :-1]
            masks_BNHW = outputs.masks_queries_logits.float()
            if self.fine_masks:
                masks_BNHW = enlarged(masks_BNHW, images_BCHW)
            scores_BKHW = torch.einsum("bnk,bnhw->bkhw", classes_BNK, masks_BNHW.sigmoid())
            if not self.fine_masks:
                scores_BKHW = enlarged(scores_BKHW, images_BCHW)
            return scores_BKHW.clamp(min=SMALLEST).log()


class Float32Loss(nn.Module):
    """A set-prediction loss of transformers, computed in float32 under autocast too.

    Its matcher hands the costs to scipy, which knows no bf16.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *arguments: Any, **named: Any) -> dict[str, Tensor]:
        """Return the losses by name for the arguments of the wrapped loss."""
        device: torch.device = self.loss.empty_weight.device
        with torch.autocast(device.type, enabled=False):
            return self.loss(*in_float32(arguments), **in_float32(named))


def masks_of(labels_BHW: Tensor, num_classes: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return, for each picture, masks_MHW of 0.0 and 1.0 and their classes_M."""
    masks, classes = [], []
    for labels_HW in labels_BHW:
        there_M = labels_HW.unique()
        there_M = there_M[(there_M >= 0) & (there_M < num_classes)]
        masks.append((labels_HW == there_M[:, None, None]).float())
        classes.append(there_M)
    return masks, classes


def in_float32(value: Any) -> Any:
    """Return the same lists, tuples and dicts with floating tensors in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {name: in_float32(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_float32(entry) for entry in value)
    return value
