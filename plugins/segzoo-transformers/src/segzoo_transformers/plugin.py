"""What segzoo-transformers provides; light, transformers is imported when a network is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from segzoo import ModelSpec, option

SIZE = "size of the network, where neither config nor pretrained says it"


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What the options of all networks have in common; `architecture` is not an option."""

    architecture: ClassVar[str] = ""

    size: str = option("", SIZE)
    config: str | None = option(
        None,
        "transformers' configuration: a config.json, its folder, or JSON text (or a part)",
        external="segzoo_transformers.foreign:config_fault",
    )
    pretrained: str | None = option(
        None,
        "folder or hub name of a model: its weights (safetensors) and its configuration",
        external=True,
    )


@dataclass(frozen=True, kw_only=True)
class SegformerOptions(NetworkOptions):
    """Options of `hf-segformer`."""

    architecture = "segformer"
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = option("b0", SIZE)


@dataclass(frozen=True, kw_only=True)
class UperNetOptions(NetworkOptions):
    """Options of `hf-upernet`; the size names the backbone."""

    architecture = "upernet"
    size: Literal[
        "convnext-tiny",
        "convnext-small",
        "convnext-base",
        "convnext-large",
        "swin-tiny",
        "swin-small",
        "swin-base",
        "swin-large",
    ] = option("convnext-tiny", SIZE)


@dataclass(frozen=True, kw_only=True)
class BeitOptions(NetworkOptions):
    """Options of `hf-beit`."""

    architecture = "beit"
    size: Literal["base", "large"] = option("base", SIZE)


@dataclass(frozen=True, kw_only=True)
class Data2VecOptions(NetworkOptions):
    """Options of `hf-data2vec`."""

    architecture = "data2vec"
    size: Literal["base", "large"] = option("base", SIZE)


@dataclass(frozen=True, kw_only=True)
class DPTOptions(NetworkOptions):
    """Options of `hf-dpt`."""

    architecture = "dpt"
    size: Literal["small", "base", "large"] = option("small", SIZE)


@dataclass(frozen=True, kw_only=True)
class MobileViTOptions(NetworkOptions):
    """Options of `hf-mobilevit`."""

    architecture = "mobilevit"
    size: Literal["xx-small", "x-small", "small"] = option("small", SIZE)


@dataclass(frozen=True, kw_only=True)
class MobileViTV2Options(NetworkOptions):
    """Options of `hf-mobilevit-v2`; the size is the width multiplier."""

    architecture = "mobilevit-v2"
    size: Literal["0.5", "0.75", "1.0", "1.25", "1.5", "1.75", "2.0"] = option("1.0", SIZE)


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Options(NetworkOptions):
    """Options of `hf-mobilenet-v2`; the size is the depth multiplier."""

    architecture = "mobilenet-v2"
    size: Literal["0.35", "0.5", "0.75", "1.0", "1.4"] = option("1.0", SIZE)


@dataclass(frozen=True, kw_only=True)
class MaskFormerOptions(NetworkOptions):
    """Options of `hf-maskformer`; the size names the backbone."""

    architecture = "maskformer"
    size: Literal["resnet50", "swin-tiny", "swin-small", "swin-base", "swin-large"] = option(
        "swin-tiny", SIZE
    )


@dataclass(frozen=True, kw_only=True)
class Mask2FormerOptions(NetworkOptions):
    """Options of `hf-mask2former`; the size names the backbone."""

    architecture = "mask2former"
    size: Literal["swin-tiny", "swin-small", "swin-base", "swin-large"] = option("swin-tiny", SIZE)


@dataclass(frozen=True, kw_only=True)
class EomtOptions(NetworkOptions):
    """Options of `hf-eomt`."""

    architecture = "eomt"
    size: Literal["small", "base", "large"] = option("small", SIZE)


def segzoo_models() -> list[ModelSpec]:
    """Return the networks of transformers for semantic segmentation."""
    return [
        _spec(SegformerOptions, "SegFormer: hierarchical transformer, all-MLP head", "2105.15203"),
        _spec(UperNetOptions, "UPerNet on ConvNeXt or Swin, with an auxiliary head", "1807.10221"),
        _spec(BeitOptions, "BEiT with a UPerNet head and an auxiliary head", "2106.08254"),
        _spec(Data2VecOptions, "Data2Vec vision with a UPerNet head and aux head", "2202.03555"),
        _spec(DPTOptions, "DPT: vision transformer with a convolutional decoder", "2103.13413"),
        _spec(MobileViTOptions, "MobileViT with a DeepLabV3 head", "2110.02178"),
        _spec(MobileViTV2Options, "MobileViTV2 with a DeepLabV3 head", "2206.02680"),
        _spec(MobileNetV2Options, "MobileNetV2 with a DeepLabV3+ head", "1801.04381", stride=8),
        _spec(
            MaskFormerOptions, "MaskFormer: queries with masks, set loss", "2107.06278", loss=True
        ),
        _spec(
            Mask2FormerOptions, "Mask2Former: masked attention, set loss", "2112.01527", loss=True
        ),
        _spec(
            EomtOptions,
            "EoMT: plain ViT with queries, set loss",
            "2503.19108",
            stride=1,
            loss=True,
            exceptions={"export": "its forward asks a buffer whether attention is masked"},
        ),
    ]


def _spec(
    options: type[NetworkOptions],
    summary: str,
    arxiv: str,
    *,
    stride: int = 32,
    loss: bool = False,
    exceptions: Mapping[str, str] | None = None,
) -> ModelSpec:
    return ModelSpec(
        name=f"hf-{options.architecture}",
        summary=f"{summary} (transformers)",
        build="segzoo_transformers.network:build",
        options=options,
        stride=stride,
        paper=f"https://arxiv.org/abs/{arxiv}",
        licence="Apache-2.0; weights of the hub have their own",
        computes_loss=loss,
        exceptions=exceptions or {},
    )
