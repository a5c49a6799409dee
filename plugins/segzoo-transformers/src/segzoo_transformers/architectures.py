"""The architectures of transformers that become models: their classes and what adapts them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from segzoo_transformers.adapters import (
    Logits,
    any_size,
    backbone_stride,
    drop,
    output_stride,
    pooled_patches,
    prune_beit,
    prune_data2vec,
    prune_dpt,
    prune_mask2former,
    prune_maskformer,
    prune_mobilenet_v2,
    prune_upernet,
    run_beit,
    run_data2vec,
    run_dpt,
    run_upernet,
    segformer_stride,
    unfolded_patches,
    whole_forward,
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture of transformers.

    `run(model, images_BCHW)` gives logits; `stride(config)` is what H and W are multiples of;
    `prune(model)` takes out the parameters that nothing reads. `queries` marks the networks that
    predict a set of masks with classes: of these, `fixed_size` ones take pictures of
    config.image_size alone, and `fine_masks` ones have their masks enlarged to the picture before
    they become probabilities, the others after that (as transformers' image processors do).
    """

    model_type: str
    package: str
    prefix: str
    stride: Callable[[Any], int]
    task: str = "ForSemanticSegmentation"
    run: Callable[[Any, Tensor], Logits] = whole_forward
    prune: Callable[[Any], None] = drop
    queries: bool = False
    fixed_size: bool = False
    fine_masks: bool = True

    def classes(self) -> tuple[Any, Any]:
        """Import transformers' configuration class and model class."""
        module = importlib.import_module(f"transformers.models.{self.package}")
        return getattr(module, f"{self.prefix}Config"), getattr(module, self.prefix + self.task)


ARCHITECTURES = {
    "segformer": Architecture(
        model_type="segformer", package="segformer", prefix="Segformer", stride=segformer_stride
    ),
    "upernet": Architecture(
        model_type="upernet",
        package="upernet",
        prefix="UperNet",
        stride=backbone_stride,
        run=run_upernet,
        prune=prune_upernet,
    ),
    "beit": Architecture(
        model_type="beit",
        package="beit",
        prefix="Beit",
        stride=pooled_patches,
        run=run_beit,
        prune=prune_beit,
    ),
    "data2vec": Architecture(
        model_type="data2vec-vision",
        package="data2vec",
        prefix="Data2VecVision",
        stride=pooled_patches,
        run=run_data2vec,
        prune=prune_data2vec,
    ),
    "dpt": Architecture(
        model_type="dpt",
        package="dpt",
        prefix="DPT",
        stride=pooled_patches,
        run=run_dpt,
        prune=prune_dpt,
    ),
    "mobilevit": Architecture(
        model_type="mobilevit", package="mobilevit", prefix="MobileViT", stride=unfolded_patches
    ),
    "mobilevit-v2": Architecture(
        model_type="mobilevitv2",
        package="mobilevitv2",
        prefix="MobileViTV2",
        stride=unfolded_patches,
    ),
    "mobilenet-v2": Architecture(
        model_type="mobilenet_v2",
        package="mobilenet_v2",
        prefix="MobileNetV2",
        stride=output_stride,
        prune=prune_mobilenet_v2,
    ),
    "maskformer": Architecture(
        model_type="maskformer",
        package="maskformer",
        prefix="MaskFormer",
        task="ForInstanceSegmentation",
        stride=backbone_stride,
        prune=prune_maskformer,
        queries=True,
        fine_masks=False,
    ),
    "mask2former": Architecture(
        model_type="mask2former",
        package="mask2former",
        prefix="Mask2Former",
        task="ForUniversalSegmentation",
        stride=backbone_stride,
        prune=prune_mask2former,
        queries=True,
    ),
    "eomt": Architecture(
        model_type="eomt",
        package="eomt",
        prefix="Eomt",
        task="ForUniversalSegmentation",
        stride=any_size,
        queries=True,
        fixed_size=True,
    ),
}
