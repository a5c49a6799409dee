"""What segzoo-smp provides; light, the networks are in `segzoo_smp.network`."""

from segzoo import ModelSpec
from segzoo_smp import options

ARXIV = "https://arxiv.org/abs/"
MANET = "https://ieeexplore.ieee.org/abstract/document/9201310"


def segzoo_models() -> list[ModelSpec]:
    """Return the twelve architectures of segmentation-models-pytorch (smp)."""
    return [
        _model("unet", "U-Net over any encoder", options.UnetOptions, ARXIV + "1505.04597"),
        _model(
            "unetplusplus",
            "U-Net++ over any encoder: nested, dense skips",
            options.UnetOptions,
            ARXIV + "1807.10165",
        ),
        _model(
            "manet",
            "MA-Net over any encoder: a U-Net with two kinds of attention",
            options.MAnetOptions,
            MANET,
        ),
        _model(
            "linknet",
            "LinkNet over any encoder: added skips",
            options.LinknetOptions,
            ARXIV + "1707.03718",
        ),
        _model(
            "fpn",
            "FPN over any encoder: feature pyramid, merged branches",
            options.FPNOptions,
            ARXIV + "1612.03144",
        ),
        _model(
            "pspnet",
            "PSPNet over any encoder: pyramid pooling",
            options.PSPNetOptions,
            ARXIV + "1612.01105",
            stride=8,
        ),
        _model(
            "deeplabv3",
            "DeepLabV3 over an encoder that can be dilated: atrous pyramid",
            options.DeepLabV3Options,
            ARXIV + "1706.05587",
            stride=8,
        ),
        _model(
            "deeplabv3plus",
            "DeepLabV3+ over an encoder that can be dilated: atrous pyramid, one skip",
            options.DeepLabV3PlusOptions,
            ARXIV + "1802.02611",
            stride=16,
        ),
        _model(
            "pan",
            "PAN over an encoder that can be dilated: pyramid attention",
            options.PANOptions,
            ARXIV + "1805.10180",
            stride=16,
        ),
        _model(
            "upernet",
            "UPerNet over any encoder: pyramid pooling, feature pyramid",
            options.UPerNetOptions,
            ARXIV + "1807.10221",
        ),
        _model(
            "segformer",
            "SegFormer's linear decoder over a mix transformer or any encoder",
            options.SegformerOptions,
            ARXIV + "2105.15203",
        ),
        _model(
            "dpt",
            "DPT over a vision transformer of timm: convolutional decoder",
            options.DPTOptions,
            ARXIV + "2103.13413",
        ),
    ]


def _model(
    name: str, summary: str, options_class: type, paper: str, *, stride: int = 32
) -> ModelSpec:
    return ModelSpec(
        name=f"smp-{name}",
        summary=f"smp's {summary}",
        build=f"segzoo_smp.network:build_{name}",
        options=options_class,
        stride=stride,
        paper=paper,
        licence="MIT (smp); encoders and their weights have licences of their own",
    )
