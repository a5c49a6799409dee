"""The networks of `torchvision.models.segmentation`, with a forward as segzoo's contract says.

The parts are torchvision's and so are their names: state dicts go either way, torchvision's
``fcn_resnet50().load_state_dict`` reads what `tv-fcn-resnet50` saves. Parameters with 3 channels,
21 classes and, but for LR-ASPP, the auxiliary head, as torchvision counts them: FCN 35,322,218
(ResNet-50) and 54,314,346 (ResNet-101); DeepLabV3 42,004,074, 60,996,202 and 11,029,328
(MobileNetV3-Large); LR-ASPP 3,221,538.

Shapes: B batch, C channels, K classes, H height, W width; h and w of features.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation

from segzoo_torchvision.plugin import AuxNetworkOptions, NetworkOptions
from segzoo_torchvision.pretrained import load_backbone, load_network, read_weights

FIRST_CONVOLUTION = {"resnet": "backbone.conv1", "mobilenet": "backbone.0.0"}


class TorchvisionNetwork(nn.Module):
    """One of torchvision's segmentation networks.

    `forward` maps images_BCHW (float, H and W multiples of `stride`) to logits_BKHW, or in
    training with an auxiliary head to {"out": logits_BKHW, "aux": logits_BKHW}. It computes what
    torchvision's does, which always returns a dict and runs the auxiliary head in evaluation too.
    """

    def __init__(self, network: nn.Module, *, stride: int, saved_options: dict[str, Any]) -> None:
        super().__init__()
        self.backbone: nn.Module = network.backbone  # type: ignore[assignment]
        self.classifier: nn.Module = network.classifier  # type: ignore[assignment]
        self.aux_classifier: nn.Module | None = getattr(network, "aux_classifier", None)
        self.stride, self.saved_options = stride, saved_options

    def forward(self, images_BCHW: Tensor) -> Tensor | dict[str, Tensor]:
        """Return logits_BKHW, or in training with an auxiliary head a dict of two."""
        features: Mapping[str, Tensor] = self.backbone(images_BCHW)
        # The head of LR-ASPP takes both of its feature maps, `low` and `high`, as they come.
        scores_BKhw = self.classifier(features.get("out", features))
        logits_BKHW = _enlarge(scores_BKhw, images_BCHW)
        if not self.training or self.aux_classifier is None:
            return logits_BKHW
        aux_BKhw = self.aux_classifier(features["aux"])
        return {"out": logits_BKHW, "aux": _enlarge(aux_BKhw, images_BCHW)}


def _enlarge(scores_BKhw: Tensor, images_BCHW: Tensor) -> Tensor:
    size = images_BCHW.shape[-2:]
    return functional.interpolate(scores_BKhw, size=size, mode="bilinear", align_corners=False)


def build(
    architecture: str, /, *, in_channels: int, num_classes: int, options: NetworkOptions
) -> TorchvisionNetwork:
    """Build torchvision's `architecture`, and load the weights that the options name.

    Other numbers of classes than the weights' leave the last convolution of each head fresh;
    other numbers of channels than theirs adapt the first one. Raises SegzooError for weights that
    cannot be had or are another network's.
    """
    _, backbone = architecture.split("_", 1)
    family = backbone.rstrip("0123456789").partition("_")[0]
    aux = {"aux_loss": options.aux} if isinstance(options, AuxNetworkOptions) else {}
    network: nn.Module = getattr(segmentation, architecture)(
        weights=None, weights_backbone=None, num_classes=num_classes, **aux
    )
    first = FIRST_CONVOLUTION[family]
    if in_channels != 3:
        _remake_first(network, first, in_channels)
    if options.weights is not None:
        state = read_weights(options.weights, architecture, "weights")
        load_network(network, state, first, source=f"weights={options.weights}")
    elif options.backbone_weights is not None:
        state = read_weights(options.backbone_weights, backbone, "backbone_weights")
        source = f"backbone_weights={options.backbone_weights}"
        load_backbone(network, state, first, source=source)
    saved = asdict(replace(options, weights=None, backbone_weights=None))
    stride = 8 if family == "resnet" else 16
    return TorchvisionNetwork(network, stride=stride, saved_options=saved)


def _remake_first(network: nn.Module, name: str, in_channels: int) -> None:
    old = network.get_submodule(name)
    assert isinstance(old, nn.Conv2d) and old.bias is None
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=False,
    )
    # As torchvision initialises it; the scale depends on the outputs alone.
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(name, new)


build_fcn_resnet50 = partial(build, "fcn_resnet50")
build_fcn_resnet101 = partial(build, "fcn_resnet101")
build_deeplabv3_resnet50 = partial(build, "deeplabv3_resnet50")
build_deeplabv3_resnet101 = partial(build, "deeplabv3_resnet101")
build_deeplabv3_mobilenet_v3_large = partial(build, "deeplabv3_mobilenet_v3_large")
build_lraspp_mobilenet_v3_large = partial(build, "lraspp_mobilenet_v3_large")
