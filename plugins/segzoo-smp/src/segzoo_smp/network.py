"""One builder for each architecture: its options as the arguments of smp's class.

Factors of the final upsampling are not options: they follow from the depth, so that logits have
the size of the input.
"""

import segmentation_models_pytorch as smp

from segzoo_smp.building import Sized, build
from segzoo_smp.options import (
    DeepLabV3Options,
    DPTOptions,
    FPNOptions,
    LinknetOptions,
    MAnetOptions,
    PANOptions,
    PSPNetOptions,
    SegformerOptions,
    UnetOptions,
    UPerNetOptions,
)


def build_unet(*, in_channels: int, num_classes: int, options: UnetOptions) -> Sized:
    """Build `smp-unet`."""
    return build(smp.Unet, in_channels, num_classes, options, **_unet_arguments(options))


def build_unetplusplus(*, in_channels: int, num_classes: int, options: UnetOptions) -> Sized:
    """Build `smp-unetplusplus`."""
    return build(smp.UnetPlusPlus, in_channels, num_classes, options, **_unet_arguments(options))


def build_manet(*, in_channels: int, num_classes: int, options: MAnetOptions) -> Sized:
    """Build `smp-manet`."""
    return build(
        smp.MAnet,
        in_channels,
        num_classes,
        options,
        decoder_channels=_halving(options.decoder_width, options.depth),
        decoder_pab_channels=options.pab_channels,
        decoder_use_norm=_norm(options.norm),
        decoder_interpolation=options.interpolation,
    )


def build_linknet(*, in_channels: int, num_classes: int, options: LinknetOptions) -> Sized:
    """Build `smp-linknet`."""
    return build(
        smp.Linknet, in_channels, num_classes, options, decoder_use_norm=_norm(options.norm)
    )


def build_fpn(*, in_channels: int, num_classes: int, options: FPNOptions) -> Sized:
    """Build `smp-fpn`; its finest features are a quarter of the size at depth 5, all of it at 3."""
    return build(
        smp.FPN,
        in_channels,
        num_classes,
        options,
        decoder_pyramid_channels=options.pyramid_channels,
        decoder_segmentation_channels=options.segmentation_channels,
        decoder_merge_policy=options.merge,
        decoder_dropout=options.dropout,
        decoder_interpolation=options.interpolation,
        upsampling=2 ** (options.depth - 3),
    )


def build_pspnet(*, in_channels: int, num_classes: int, options: PSPNetOptions) -> Sized:
    """Build `smp-pspnet`."""
    return build(
        smp.PSPNet,
        in_channels,
        num_classes,
        options,
        psp_out_channels=options.psp_out_channels,
        decoder_use_norm=_norm(options.norm),
        psp_dropout=options.dropout,
        upsampling=2**options.depth,
    )


def build_deeplabv3(*, in_channels: int, num_classes: int, options: DeepLabV3Options) -> Sized:
    """Build `smp-deeplabv3`."""
    return build(smp.DeepLabV3, in_channels, num_classes, options, **_atrous_arguments(options))


def build_deeplabv3plus(*, in_channels: int, num_classes: int, options: DeepLabV3Options) -> Sized:
    """Build `smp-deeplabv3plus`."""
    return build(smp.DeepLabV3Plus, in_channels, num_classes, options, **_atrous_arguments(options))


def build_pan(*, in_channels: int, num_classes: int, options: PANOptions) -> Sized:
    """Build `smp-pan`."""
    return build(
        smp.PAN,
        in_channels,
        num_classes,
        options,
        encoder_output_stride=options.output_stride,
        decoder_channels=options.decoder_channels,
        decoder_interpolation=options.interpolation,
    )


def build_upernet(*, in_channels: int, num_classes: int, options: UPerNetOptions) -> Sized:
    """Build `smp-upernet`."""
    return build(
        smp.UPerNet,
        in_channels,
        num_classes,
        options,
        decoder_channels=options.decoder_channels,
        decoder_use_norm=_norm(options.norm),
    )


def build_segformer(*, in_channels: int, num_classes: int, options: SegformerOptions) -> Sized:
    """Build `smp-segformer`."""
    return build(
        smp.Segformer,
        in_channels,
        num_classes,
        options,
        decoder_segmentation_channels=options.segmentation_channels,
    )


def build_dpt(*, in_channels: int, num_classes: int, options: DPTOptions) -> Sized:
    """Build `smp-dpt`."""
    return build(
        smp.DPT,
        in_channels,
        num_classes,
        options,
        decoder_readout=options.readout,
        decoder_intermediate_channels=[
            options.decoder_width * factor for factor in (1, 2, 4, 4)[: options.depth]
        ],
        decoder_fusion_channels=options.fusion_channels,
    )


def _unet_arguments(options: UnetOptions) -> dict[str, object]:
    return {
        "decoder_channels": _halving(options.decoder_width, options.depth),
        "decoder_use_norm": _norm(options.norm),
        "decoder_attention_type": options.attention,
        "decoder_interpolation": options.interpolation,
    }


def _atrous_arguments(options: DeepLabV3Options) -> dict[str, object]:
    return {
        "encoder_output_stride": options.output_stride,
        "decoder_channels": options.decoder_channels,
        "decoder_atrous_rates": tuple(options.atrous_rate * factor for factor in (1, 2, 3)),
        "decoder_aspp_separable": options.separable,
        "decoder_aspp_dropout": options.dropout,
    }


def _halving(width: int, depth: int) -> tuple[int, ...]:
    """Return channels of the decoder's blocks, coarse to fine: 256, 128, 64, 32, 16 as in smp."""
    return tuple(width * 2**level for level in reversed(range(depth)))


def _norm(norm: str) -> str | dict[str, object]:
    """Return what smp takes; its initialisation fails on instance norm without weights."""
    return {"type": "instancenorm", "affine": True} if norm == "instancenorm" else norm
