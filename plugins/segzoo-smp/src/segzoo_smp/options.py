"""Options of the architectures, one class per group that shares them; light."""

from dataclasses import dataclass
from typing import Literal

from segzoo import option

Norm = Literal["batchnorm", "instancenorm", "identity"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]

ENCODER_HELP = "encoder of smp by name, or of timm as tu-NAME"
WEIGHTS_HELP = (
    "tag of weights (an installed package's, or downloaded), or a local .safetensors or .pth"
)
DEPTH_HELP = "stages of the encoder that are used; each halves the size"
NORM_HELP = "normalisation in the decoder; identity is none"
INTERPOLATION_HELP = "how the decoder enlarges its features"
WIDTH_HELP = "channels of the last decoder block; each block before it has twice as many"
DROPOUT_HELP = "dropout before the last convolution"
OUTPUT_STRIDE_HELP = "how much smaller the encoder's last features are; dilated below 32"


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """What every architecture takes."""

    encoder: str = option("resnet34", ENCODER_HELP)
    encoder_weights: str | None = option(None, WEIGHTS_HELP, external=True)
    depth: int = option(5, DEPTH_HELP, minimum=3, maximum=5)

    def __post_init__(self) -> None:
        if not self.encoder.strip():
            raise ValueError("encoder is empty; give a name such as resnet34")
        if self.encoder_weights is not None and not self.encoder_weights.strip():
            raise ValueError("encoder_weights is empty; give a tag, a file, or none")


@dataclass(frozen=True, kw_only=True)
class UnetOptions(EncoderOptions):
    """Options of `smp-unet` and `smp-unetplusplus`."""

    decoder_width: int = option(16, WIDTH_HELP, minimum=1)
    norm: Norm = option("batchnorm", NORM_HELP)
    attention: Literal["scse"] | None = option(None, "attention in the decoder blocks")
    interpolation: Interpolation = option("nearest", INTERPOLATION_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention == "scse" and self.decoder_width < 16:
            raise ValueError(
                f"attention=scse divides channels by 16, so that decoder_width={self.decoder_width}"
                " is too few; give 16 or more"
            )


@dataclass(frozen=True, kw_only=True)
class MAnetOptions(EncoderOptions):
    """Options of `smp-manet`."""

    decoder_width: int = option(16, WIDTH_HELP, minimum=1)
    pab_channels: int = option(64, "channels of the position-wise attention block", minimum=1)
    norm: Norm = option("batchnorm", NORM_HELP)
    interpolation: Interpolation = option("nearest", INTERPOLATION_HELP)


@dataclass(frozen=True, kw_only=True)
class LinknetOptions(EncoderOptions):
    """Options of `smp-linknet`."""

    norm: Norm = option("batchnorm", NORM_HELP)


@dataclass(frozen=True, kw_only=True)
class FPNOptions(EncoderOptions):
    """Options of `smp-fpn`."""

    pyramid_channels: int = option(256, "channels of the pyramid's levels", minimum=1)
    segmentation_channels: int = option(
        128, "channels of the branches that are merged, a multiple of 32", minimum=32
    )
    merge: Literal["add", "cat"] = option("add", "add the pyramid's branches or concatenate them")
    dropout: float = option(0.2, DROPOUT_HELP, minimum=0, maximum=1)
    interpolation: Interpolation = option("nearest", INTERPOLATION_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segmentation_channels % 32:
            raise ValueError(
                f"segmentation_channels={self.segmentation_channels} is no multiple of 32, the "
                "number of groups that are normalised"
            )


@dataclass(frozen=True, kw_only=True)
class PSPNetOptions(EncoderOptions):
    """Options of `smp-pspnet`."""

    depth: int = option(3, DEPTH_HELP, minimum=3, maximum=5)
    psp_out_channels: int = option(512, "channels after the pyramid pooling", minimum=1)
    norm: Norm = option("batchnorm", NORM_HELP)
    dropout: float = option(0.2, DROPOUT_HELP, minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class DeepLabV3Options(EncoderOptions):
    """Options of `smp-deeplabv3`."""

    output_stride: Literal[8, 16] = option(8, OUTPUT_STRIDE_HELP)
    decoder_channels: int = option(256, "channels of the atrous pyramid", minimum=1)
    atrous_rate: int = option(
        12,
        "dilation of the first atrous convolution; the others have 2 and 3 times it",
        minimum=1,
        maximum=1024,
    )
    separable: bool = option(False, "separable convolutions in the atrous pyramid")
    dropout: float = option(0.5, "dropout after the atrous pyramid", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class DeepLabV3PlusOptions(DeepLabV3Options):
    """Options of `smp-deeplabv3plus`: those of `smp-deeplabv3` with other defaults."""

    output_stride: Literal[8, 16] = option(16, OUTPUT_STRIDE_HELP)
    separable: bool = option(True, "separable convolutions in the atrous pyramid")


@dataclass(frozen=True, kw_only=True)
class PANOptions(EncoderOptions):
    """Options of `smp-pan`."""

    output_stride: Literal[16, 32] = option(16, OUTPUT_STRIDE_HELP)
    decoder_channels: int = option(32, "channels of the decoder", minimum=1)
    interpolation: Interpolation = option("bilinear", INTERPOLATION_HELP)


@dataclass(frozen=True, kw_only=True)
class UPerNetOptions(EncoderOptions):
    """Options of `smp-upernet`."""

    decoder_channels: int = option(256, "channels of the decoder", minimum=1)
    # No instance norm: the pyramid pools to 1 x 1, where it is not defined.
    norm: Literal["batchnorm", "identity"] = option("batchnorm", NORM_HELP)


@dataclass(frozen=True, kw_only=True)
class SegformerOptions(EncoderOptions):
    """Options of `smp-segformer`."""

    encoder: str = option("mit_b0", ENCODER_HELP)
    segmentation_channels: int = option(256, "channels of the decoder", minimum=1)


@dataclass(frozen=True, kw_only=True)
class DPTOptions(EncoderOptions):
    """Options of `smp-dpt`."""

    encoder: str = option(
        "tu-vit_base_patch16_224.augreg_in21k", "vision transformer of timm, as tu-NAME"
    )
    depth: int = option(
        4, "layers of the encoder whose tokens are used, evenly spaced", minimum=1, maximum=4
    )
    readout: Literal["cat", "add", "ignore"] = option(
        "cat", "what becomes of the class token: concatenated, added, ignored"
    )
    decoder_width: int = option(
        256,
        "channels of the finest features; coarser ones have 2, 4, 4 times as many",
        minimum=1,
    )
    fusion_channels: int = option(256, "channels of the fused features", minimum=1)
