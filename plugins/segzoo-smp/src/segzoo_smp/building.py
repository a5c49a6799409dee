"""From smp's class to a network of the core's contract: build, measure its stride, freeze the idle.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from segmentation_models_pytorch.base import SegmentationModel
from torch import Tensor, nn
from torch.nn import functional

from segzoo import SegzooError
from segzoo_smp.encoders import Encoder, find_encoder
from segzoo_smp.files import load_file_into, load_tensors_into
from segzoo_smp.options import EncoderOptions

FITTING = "resnet34, efficientnet-b0, mobilenet_v2 and tu-convnext_tiny fit all but smp-dpt"
DILATED = "it dilates its encoder, which many cannot take"
VITS = "tu-vit_tiny_patch16_224, tu-deit_small_patch16_224, tu-vit_small_patch16_dinov3"
ADVICE = {
    "smp-deeplabv3": f"{DILATED}; {FITTING}",
    "smp-deeplabv3plus": f"{DILATED}; {FITTING}",
    "smp-pan": f"{DILATED}, unless output_stride=32; {FITTING}",
    "smp-dpt": f"it takes timm's vision transformers for pictures of any size, such as {VITS}",
}


class Sized(nn.Module):
    """Put before smp's class, it takes pictures that are smaller than the network can.

    `stride` is what H and W must be multiples of, and `minimum` the smallest side that smp's
    network runs on: PAN pools the encoder's features three times more, mix transformers have a
    convolution of 8 x 8 at a quarter of the size. To ask for multiples of `minimum` instead would
    pad large pictures for the sake of tiny ones. The state dict is that of smp's class.
    """

    stride: int
    minimum: int
    saved_options: dict[str, Any]
    pretrained: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW for images whose H and W are multiples of `stride`."""
        height, width = images_BCHW.shape[-2:]
        down, right = max(0, self.minimum - height), max(0, self.minimum - width)
        if not (down or right):
            return super().forward(images_BCHW)
        images_BCHW = functional.pad(images_BCHW, (0, right, 0, down), mode="replicate")
        return super().forward(images_BCHW)[..., :height, :width]


def build(
    architecture: type[SegmentationModel],
    in_channels: int,
    num_classes: int,
    options: EncoderOptions,
    **arguments: Any,
) -> Sized:
    """Build smp's `architecture` with its own `arguments`, in training mode.

    Parameters that the logits do not depend on (stages below the depth, a transformer's head) stay
    in the state dict and require no gradient: distributed training refuses idle parameters.
    Raises SegzooError for an encoder that does not exist or that the architecture cannot use, and
    for pretrained weights that cannot be had.
    """
    owner = f"smp-{architecture.__name__.lower()}"
    encoder = find_encoder(owner, options)
    arguments |= {"encoder_name": encoder.name, "encoder_depth": encoder.depth}
    arguments |= {"in_channels": in_channels, "classes": num_classes}
    kind = functools.partial(_sized(architecture), **arguments)
    network = _construct(owner, kind, encoder)
    network.eval()
    logits_BKHW = _measure(owner, network, in_channels, num_classes, encoder)
    _freeze_idle(network, logits_BKHW)
    if encoder.file:
        load_file_into(owner, network.encoder, encoder.file)
    if encoder.packaged:
        tensors = encoder.packaged.resolve("load")()
        load_tensors_into(owner, network.encoder, tensors, encoder.packaged.identity)
    saved = {"encoder": encoder.name, "encoder_weights": None}
    network.saved_options = dataclasses.asdict(options) | saved
    network.pretrained = "encoder" if options.encoder_weights else ""
    if len(encoder.mean) == in_channels:
        network.mean, network.std = encoder.mean, encoder.std
    return network.train()


@functools.cache
def _sized(architecture: type[SegmentationModel]) -> Any:
    return type(architecture.__name__, (Sized, architecture), {"__module__": __name__})


def _construct(owner: str, kind: Callable[..., Any], encoder: Encoder) -> Any:
    try:
        return _at_any_size(kind, encoder)
    except Exception as error:  # smp and timm refuse with errors of every type
        if encoder.weights is None:
            raise _refusal(owner, encoder, error) from error
        fault = error
    # Is it the encoder or its weights? Without weights only the encoder can be refused.
    _construct(owner, kind, dataclasses.replace(encoder, weights=None))
    raise SegzooError(
        f"{owner}: the weights `{encoder.tag}` of encoder={encoder.name} cannot be had: "
        f"{_one_line(fault)}",
        f"download {encoder.source} elsewhere and give encoder_weights=FILE; without pretrained "
        "weights encoder_weights=none",
    ) from fault


def _at_any_size(kind: Callable[..., Any], encoder: Encoder) -> Any:
    if encoder.fixed_size:
        # Transformers of timm refuse all picture sizes but that of their weights unless told so.
        try:
            return kind(encoder_weights=encoder.weights, dynamic_img_size=True)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
    return kind(encoder_weights=encoder.weights)


def _measure(
    owner: str, network: Any, in_channels: int, num_classes: int, encoder: Encoder
) -> Tensor:
    """Set `stride` and `minimum` to the least that the network runs with, and return logits_BKHW.

    They are measured because smp does not tell them: its DPT of patch 16 needs multiples of 32.
    """
    faults: list[Exception] = []
    unit = network.encoder.output_stride
    tries = [(s * unit, m * unit) for s, m in ((1, 1), (1, 2), (1, 4), (1, 8), (2, 2), (4, 4))]
    if encoder.fixed_size:
        # Attention in windows without padding, as in MaxViT: multiples of the weights' own size.
        tries.append((encoder.fixed_size, encoder.fixed_size))
    for stride, least in tries:
        network.stride, network.minimum = stride, least
        try:
            _logits(network, in_channels, num_classes, least, least)
            # Sides of odd multiples: what needs a larger stride fails on one of them.
            return _logits(network, in_channels, num_classes, least + stride, least + 2 * stride)
        except Exception as error:
            faults.append(error)
    raise _refusal(owner, encoder, faults[-1]) from faults[-1]


def _logits(network: Any, in_channels: int, num_classes: int, height: int, width: int) -> Tensor:
    like = next(network.parameters())
    with torch.enable_grad():
        images_BCHW = torch.zeros(
            1, in_channels, height, width, device=like.device, dtype=like.dtype
        )
        logits_BKHW = network(images_BCHW)
    if logits_BKHW.shape != (1, num_classes, height, width):
        raise ValueError(f"{height} x {width} gives logits {tuple(logits_BKHW.shape)}")
    return logits_BKHW


def _freeze_idle(network: nn.Module, logits_BKHW: Tensor) -> None:
    reached = set(map(id, _leaves(logits_BKHW)))
    for parameter in network.parameters():
        if reached and id(parameter) not in reached:
            parameter.requires_grad_(False)


def _leaves(value: Tensor) -> Iterator[Tensor]:
    """Yield the tensors that autograd would give a gradient; none without a graph."""
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        waiting += [following for following, _ in node.next_functions]


def _refusal(owner: str, encoder: Encoder, error: Exception) -> SegzooError:
    return SegzooError(
        f"{owner} cannot use encoder={encoder.name} depth={encoder.depth}: {_one_line(error)}",
        ADVICE.get(owner, FITTING),
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
