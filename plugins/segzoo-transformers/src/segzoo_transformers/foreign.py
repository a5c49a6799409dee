"""Looking through a configuration that stands in a weights file, before anything is built of it.

transformers' classes keep whatever they are given, and resolve some of it by name: implementations
of attention, kernels, backbones, activations. So nothing is let through but what `config_text`
writes: the fields of the classes themselves, with plain values of sane sizes.
"""

import json
import math
import re
from typing import Any

from transformers.activations import ACT2FN
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

from segzoo_transformers.architectures import ARCHITECTURES
from segzoo_transformers.configs import NOT_READ
from segzoo_transformers.places import is_text, shortened

LONGEST_LIST = 64
DEEPEST = 4
LARGEST = 1 << 16
LARGER = {"vocab_size": 1 << 21, "train_num_points": 1 << 20}
SMALLER = {
    # How many: blocks, stages, layers. The largest network of the hub has 48.
    **dict.fromkeys(("depths", "num_layers", "num_blocks", "n_attn_blocks"), 512),
    **dict.fromkeys(("num_hidden_layers", "encoder_layers", "decoder_layers"), 512),
    **dict.fromkeys(("num_encoder_blocks", "auxiliary_num_convs", "num_upscale_blocks"), 64),
    # How large: pictures, pools, dilations, whose memory no tensor of the file shows.
    **dict.fromkeys(("image_size", "atrous_rates", "feature_strides", "encoder_stride"), 8192),
    **dict.fromkeys(("pool_scales", "strides", "sr_ratios", "output_stride"), 64),
    **dict.fromkeys(("common_stride", "conv_kernel_size", "reassemble_factors"), 64),
    **dict.fromkeys(("patch_size", "patch_sizes", "window_size", "stem_patch_size"), 256),
    **dict.fromkeys(("expand_ratio", "mlp_ratio", "mlp_ratios", "ffn_multiplier"), 64),
    **dict.fromkeys(("width_multiplier", "depth_multiplier"), 64),
}
"""The largest numbers, by field; LARGEST for all others."""
CODE = (
    *("attn_implementation", "experts_implementation", "auto_map", "trust_remote_code"),
    *("use_kernels", "kernel_config", "quantization_config", "backbone", "backbone_kwargs"),
    *("use_timm_backbone", "use_pretrained_backbone", "timm_backbone", "custom_pipelines"),
    *("per_layer_config", "adapter_kwargs", "pruned_heads", "torchscript"),
)
"""Fields by which transformers looks for code or for other files."""
_ACTIVATION = re.compile(r"(_act|activation|activation_function|act_layer|_activation)$")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def config_fault(text: str) -> str:
    """Say what a weights file's `config` leads to that is not in the file, or ""."""
    if not is_text(text):
        return "reads a file"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return "is no JSON"
    if not isinstance(values, dict):
        return "is no configuration"
    known = {architecture.model_type for architecture in ARCHITECTURES.values()}
    if values.get("model_type") not in known:
        return f"is of model type {_shown(values.get('model_type'))}, which none of them is"
    return _fault(values, 1)


def _fault(values: dict[str, Any], depth: int) -> str:
    kind = values["model_type"]
    allowed = _fields(kind)
    for name, value in values.items():
        if name.startswith("_") or name in CODE:
            return f"has the field {_shown(name)}, by which transformers looks for code or files"
        if name == "model_type" or name in NOT_READ:
            continue
        if name not in allowed:
            # A number may be what transformers' class has in another version.
            if not isinstance(value, (int, float, type(None))):
                return f"has the field {_shown(name)}, which `{kind}` does not know"
            continue
        if isinstance(value, dict):
            if fault := _nested_fault(name, value, depth):
                return fault
        elif fault := _plain_fault(name, value):
            return fault
    return ""


def _nested_fault(name: str, value: dict[str, Any], depth: int) -> str:
    kind = value.get("model_type")
    fits = isinstance(kind, str) and kind in CONFIG_MAPPING and kind != "timm_backbone"
    if name.endswith("backbone_config"):
        fits = fits and kind in MODEL_FOR_BACKBONE_MAPPING_NAMES
    elif name != "decoder_config":
        fits = False
    if not fits or depth >= DEEPEST:
        return f"has the field {name} of model type {_shown(kind)}, which is not built from a file"
    return _fault(value, depth + 1)


def _fields(kind: str) -> set[str]:
    """Return the names of what `config_text` writes of a configuration of this type."""
    default = CONFIG_MAPPING[kind]()
    return set(default.to_dict()) - set(PreTrainedConfig().to_dict()) - set(CODE)


def _plain_fault(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        if _ACTIVATION.search(name):
            return "" if value in ACT2FN else f"has the activation {_shown(value)}, which is none"
        return "" if _WORD.fullmatch(value) else f"has {name}={_shown(value)}, which is no word"
    if isinstance(value, (int, float)):
        most = LARGER.get(name, SMALLER.get(name, LARGEST))
        sane = math.isfinite(value) and abs(value) <= most
        return "" if sane else f"has {name}={_shown(value)}, beyond {most}"
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            return f"has {len(value)} numbers for {name}"
        faults = (
            f"has lists within lists for {name}"
            if isinstance(entry, list) and any(isinstance(one, (list, dict)) for one in entry)
            else _plain_fault(name, entry)
            for entry in value
        )
        return next((fault for fault in faults if fault), "")
    return f"has {name}={_shown(value)}, which is no plain value"


def _shown(value: Any) -> str:
    return repr(shortened(str(value)))
