"""Configurations by architecture and size, as the papers and the hub's models have them.

Only what differs from the defaults of transformers' own configuration classes stands here.
"""

from typing import Any

Config = dict[str, Any]

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN_HEADS = [[3, 6, 12, 24], [4, 8, 16, 32], [6, 12, 24, 48]]


def _segformer(depths: list[int], wide: bool, decoder: int) -> Config:
    sizes = [64, 128, 320, 512] if wide else [32, 64, 160, 256]
    return {"depths": depths, "hidden_sizes": sizes, "decoder_hidden_size": decoder}


def _swin(embed: int, depth: int, window: int, drop_path: float) -> Config:
    return {
        "model_type": "swin",
        "embed_dim": embed,
        "depths": [2, 2, depth, 2],
        "num_heads": SWIN_HEADS[[96, 128, 192].index(embed)],
        "window_size": window,
        "image_size": 384 if window == 12 else 224,
        "drop_path_rate": drop_path,
        "out_features": STAGES,
    }


def _swins(drop_path: float) -> dict[str, Config]:
    return {
        "swin-tiny": _swin(96, 6, 7, drop_path),
        "swin-small": _swin(96, 18, 7, drop_path),
        "swin-base": _swin(128, 18, 12, drop_path),
        "swin-large": _swin(192, 18, 12, drop_path),
    }


def _convnext(width: int, depth: int) -> Config:
    return {
        "model_type": "convnext",
        "hidden_sizes": [width, 2 * width, 4 * width, 8 * width],
        "depths": [3, 3, depth, 3],
        "out_features": STAGES,
    }


def _vit(width: int, layers: int) -> Config:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
    }


BACKBONES = {
    "convnext-tiny": _convnext(96, 9),
    "convnext-small": _convnext(96, 27),
    "convnext-base": _convnext(128, 27),
    "convnext-large": _convnext(192, 27),
    **_swins(drop_path=0.1),
}
BEIT = {"use_relative_position_bias": True, "image_size": 640}
DATA2VEC = {"use_relative_position_bias": True, "image_size": 512}
LARGE_OUTPUTS = {"out_indices": [7, 11, 15, 23]}
DPT = {"image_size": 480, "use_batch_norm_in_fusion_residual": True}
DEEPLAB = {"image_size": 512, "output_stride": 16}
MOBILENET = {
    "image_size": 513,
    "output_stride": 8,
    # The default, 0.8, is TensorFlow's share of kept channels taken for that of dropped ones.
    "classifier_dropout_prob": 0.2,
}
MASKFORMER = {"use_auxiliary_loss": True}
EOMT = {"image_size": 512, "num_queries": 100}

PRESETS: dict[str, dict[str, Config]] = {
    "segformer": {
        "b0": _segformer([2, 2, 2, 2], False, 256),
        "b1": _segformer([2, 2, 2, 2], True, 256),
        "b2": _segformer([3, 4, 6, 3], True, 768),
        "b3": _segformer([3, 4, 18, 3], True, 768),
        "b4": _segformer([3, 8, 27, 3], True, 768),
        "b5": _segformer([3, 6, 40, 3], True, 768),
    },
    "upernet": {size: {"backbone_config": backbone} for size, backbone in BACKBONES.items()},
    "beit": {
        "base": BEIT | {"out_indices": [3, 5, 7, 11]},
        "large": BEIT | _vit(1024, 24) | LARGE_OUTPUTS | {"layer_scale_init_value": 1e-5},
    },
    "data2vec": {
        "base": DATA2VEC,
        "large": DATA2VEC | _vit(1024, 24) | LARGE_OUTPUTS | {"layer_scale_init_value": 1e-5},
    },
    "dpt": {
        "small": DPT
        | _vit(384, 12)
        | {"neck_hidden_sizes": [48, 96, 192, 384], "fusion_hidden_size": 64},
        "base": DPT,
        "large": DPT
        | _vit(1024, 24)
        | {
            "backbone_out_indices": [5, 11, 17, 23],
            "neck_hidden_sizes": [256, 512, 1024, 1024],
        },
    },
    "mobilevit": {
        "xx-small": DEEPLAB
        | {
            "hidden_sizes": [64, 80, 96],
            "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
            "expand_ratio": 2.0,
            "hidden_dropout_prob": 0.05,
        },
        "x-small": DEEPLAB
        | {
            "hidden_sizes": [96, 120, 144],
            "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384],
        },
        "small": DEEPLAB,
    },
    "mobilevit-v2": {
        size: DEEPLAB | {"width_multiplier": float(size)}
        for size in ("0.5", "0.75", "1.0", "1.25", "1.5", "1.75", "2.0")
    },
    "mobilenet-v2": {
        size: MOBILENET | {"depth_multiplier": float(size)}
        for size in ("0.35", "0.5", "0.75", "1.0", "1.4")
    },
    "maskformer": {
        "resnet50": MASKFORMER
        | {"backbone_config": {"model_type": "resnet", "out_features": STAGES}},
        **{
            size: MASKFORMER | {"backbone_config": backbone}
            for size, backbone in _swins(drop_path=0.3).items()
        },
    },
    "mask2former": {
        size: {"backbone_config": backbone, "num_queries": 200 if size == "swin-large" else 100}
        for size, backbone in _swins(drop_path=0.3).items()
    },
    "eomt": {
        "small": EOMT | {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
        | {"num_blocks": 3},
        "base": EOMT | {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        | {"num_blocks": 3},
        "large": EOMT,
    },
}  # fmt: skip
