"""How to run transformers' networks, what nothing in them reads, and their strides.

Where transformers' own forward gives all that is needed, it is called. Where it keeps the
auxiliary head's logits to itself, or lays tokens out as a square, its modules are called one after
the other, as its forward does; tests compare the two.

Shapes: B batch, C channels, K classes, H height, W width; h, w at the network's own resolution.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

Logits = tuple[Tensor, Tensor | None]
"""logits_BKhw, and in training those of the auxiliary head where there is one."""


def whole_forward(model: Any, images_BCHW: Tensor) -> Logits:
    """Call transformers' forward, for networks that take any size and have no auxiliary head."""
    return model(images_BCHW).logits, None


def run_upernet(model: Any, images_BCHW: Tensor) -> Logits:
    """As UperNetForSemanticSegmentation.forward, which drops the auxiliary logits."""
    maps = model.backbone.forward_with_filtered_kwargs(images_BCHW).feature_maps
    return model.decode_head(maps), auxiliary(model, maps)


def run_beit(model: Any, images_BCHW: Tensor) -> Logits:
    """As BeitForSemanticSegmentation.forward, which drops the auxiliary logits."""
    maps = model.fpn(token_maps(model, model.beit, images_BCHW))
    return model.decode_head(maps), auxiliary(model, maps)


def run_data2vec(model: Any, images_BCHW: Tensor) -> Logits:
    """As Data2VecVisionForSemanticSegmentation.forward, which takes image_size x image_size."""
    scales = (model.fpn1, model.fpn2, model.fpn3, model.fpn4)
    maps = token_maps(model, model.data2vec_vision, images_BCHW)
    maps = [scale(map_BChw) for scale, map_BChw in zip(scales, maps, strict=True)]
    return model.decode_head(maps), auxiliary(model, maps)


def run_dpt(model: Any, images_BCHW: Tensor) -> Logits:
    """As DPTForSemanticSegmentation.forward, which takes squares and drops auxiliary logits."""
    patch, wanted = model.config.patch_size, model.config.backbone_out_indices
    states = model.dpt(images_BCHW, output_hidden_states=True).hidden_states[1:]
    height, width = images_BCHW.shape[2] // patch, images_BCHW.shape[3] // patch
    maps = model.neck([state for i, state in enumerate(states) if i in wanted], height, width)
    return model.head(maps), auxiliary(model, maps[-1])


def auxiliary(model: Any, maps: Any) -> Tensor | None:
    """Return the auxiliary head's logits in training, None in eval mode or without one."""
    head = model.auxiliary_head
    return head(maps) if model.training and head is not None else None


def token_maps(model: Any, encoder: Any, images_BCHW: Tensor) -> list[Tensor]:
    """Return the tokens of config.out_indices as maps; index i is the state before block i."""
    patch = model.config.patch_size
    height, width = images_BCHW.shape[2] // patch, images_BCHW.shape[3] // patch
    states = encoder(images_BCHW, output_hidden_states=True).hidden_states
    return [
        states[index - 1][:, 1:].transpose(1, 2).unflatten(2, (height, width))
        for index in model.config.out_indices
    ]


def prune_upernet(model: Any) -> None:
    """Swin normalises its last tokens once more for a classifier, beside the stages' norms."""
    drop(model, "backbone.swin.layernorm")


def prune_beit(model: Any) -> None:
    """Blocks after the last one that is read, and the norm for a classifier."""
    model.beit.layers = read_layers(model.beit.layers, model.config.out_indices)
    drop(model, "beit.layernorm")


def prune_data2vec(model: Any) -> None:
    """Blocks after the last one that is read, and the norm for a classifier."""
    encoder = model.data2vec_vision.encoder
    encoder.layer = read_layers(encoder.layer, model.config.out_indices)
    drop(model, "data2vec_vision.layernorm")


def prune_dpt(model: Any) -> None:
    """The norm for a classifier, and the unit for a residual that the deepest level lacks."""
    drop(model, "dpt.layernorm", "neck.fusion_stage.layers.0.residual_layer1")


def prune_mobilenet_v2(model: Any) -> None:
    """The classifier's 1280 channels, which the segmentation head does not see."""
    drop(model, "mobilenet_v2.conv_1x1")


def prune_mask2former(model: Any) -> None:
    """Swin normalises its last tokens once more for a classifier, beside the stages' norms."""
    drop(model, "model.pixel_level_module.encoder.swin.layernorm")


def prune_maskformer(model: Any) -> None:
    """Swin's norm for a classifier; the decoder begins with zeros, whose weights cannot learn."""
    drop(model, "model.pixel_level_module.encoder.model.layernorm")
    first = model.model.transformer_module.decoder.layers[0]
    first.self_attn.v_proj.weight.requires_grad_(False)


def drop(model: nn.Module, *paths: str) -> None:
    """Replace modules whose output nothing reads; their parameters would get no gradient."""
    for path in paths:
        parent, _, name = path.rpartition(".")
        try:
            owner = model.get_submodule(parent)
        except AttributeError:
            continue  # another backbone
        if hasattr(owner, name):
            setattr(owner, name, nn.Identity())


def read_layers(layers: nn.ModuleList, indices: Sequence[int]) -> nn.ModuleList:
    """Return the blocks up to the last one whose output is read."""
    if min(indices) < 1:  # counted from the end
        return layers
    return layers[: max(1, max(indices) - 1)]


def segformer_stride(config: Any) -> int:
    """The attention of each stage reduces its keys by sr_ratio, at the stage's own stride."""
    strides = accumulate(config.strides, lambda one, two: one * two)
    reduced = (s * ratio for s, ratio in zip(strides, config.sr_ratios, strict=True))
    return math.lcm(*reduced)


def backbone_stride(config: Any) -> int:
    """The first patches, halved from stage to stage; 32 for a backbone that does not say."""
    backbone = config.backbone_config
    patch, depths = getattr(backbone, "patch_size", None), getattr(backbone, "depths", None)
    if not isinstance(patch, int):
        return 32
    return patch * 2 ** (len(depths) - 1) if depths else patch


def output_stride(config: Any) -> int:
    """How far apart the coarsest features are."""
    return config.output_stride


def pooled_patches(config: Any) -> int:
    """Patches, of which the coarsest level pools 2 x 2."""
    return 2 * config.patch_size


def unfolded_patches(config: Any) -> int:
    """The coarsest features are cut into patches of patch_size x patch_size."""
    return config.patch_size * config.output_stride


def any_size(config: Any) -> int:
    """The wrapper resizes pictures to the one size that the network takes."""
    return 1
