"""U-Net (Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, https://arxiv.org/abs/1505.04597).

34,513,410 parameters with 3 channels, 2 classes and the default options. Where it departs from
the paper: convolutions are padded (the output has the input's size, nothing is cropped from the
skips), and the way up is a 3 x 3 stride-2 transposed convolution (the paper's is 2 x 2).

Shapes: B batch, C channels, K classes, H height, W width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo_unet.enlarged import convolved
from segzoo_unet.plugin import UNetOptions


class Pair(nn.Sequential):
    """Two 3 x 3 convolutions of the same size, each with its norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: str) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [nn.Conv2d(channels, out_channels, 3, padding=1)]
            layers += _norm(out_channels, norm)
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Down(nn.Module):
    """Half the size: max or average pooling, or a strided convolution."""

    def __init__(self, channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if how == "conv" else None

    def forward(self, features_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the halved features, and the indices of the maxima where there are any."""
        if self.conv is not None:
            return self.conv(features_BCHW), None
        if self.how == "avg":
            return functional.avg_pool2d(features_BCHW, 2), None
        return functional.max_pool2d(features_BCHW, 2, return_indices=True)


class Up(nn.Module):
    """Double the size and halve the channels."""

    def __init__(self, in_channels: int, out_channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        if how == "deconv":
            self.conv = nn.ConvTranspose2d(
                in_channels, out_channels, 3, stride=2, padding=1, output_padding=1
            )
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, features_BCHW: Tensor, indices_BCHW: Tensor | None) -> Tensor:
        """Return features of twice the size; unpooling puts them where the maxima were."""
        if self.how == "deconv":
            return self.conv(features_BCHW)
        if self.how == "unpool":
            assert indices_BCHW is not None
            # The convolution comes first, so that channels match those that were pooled.
            return functional.max_unpool2d(self.conv(features_BCHW), indices_BCHW, (2, 2))
        if self.how == "nearest":
            assert isinstance(self.conv, nn.Conv2d)
            return convolved(self.conv, features_BCHW, None, 2)
        features_BCHW = functional.interpolate(
            features_BCHW, scale_factor=2, mode=self.how, align_corners=False
        )
        return self.conv(features_BCHW)


class UNet(nn.Module):
    """The network: pairs of convolutions on every level, skips concatenated on the way up."""

    def __init__(self, in_channels: int, num_classes: int, options: UNetOptions) -> None:
        super().__init__()
        norm = "none" if options.norm == "auto" else options.norm
        up = "deconv" if options.up == "auto" else options.up
        top = options.width or 64
        widths = [top * 2**level for level in range(options.depth)]
        self.stride = 2 ** (options.depth - 1)
        self.encoder = nn.ModuleList()
        for channels, width in zip([in_channels, *widths], widths, strict=False):
            self.encoder.append(Pair(channels, width, norm))
        self.downs = nn.ModuleList(Down(width, options.down) for width in widths[:-1])
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.ups.append(Up(2 * width, width, up))
            self.decoder.append(Pair(2 * width, width, norm))
        self.head = nn.Conv2d(top, num_classes, 1)
        self.apply(initialise)
        # A tenth of the usual scale: the first logits are near zero, so the first loss is ln K and
        # the first steps do not have to undo random opinions. Without norms and with Adam 1e-3, the
        # best test mean IoU on 160 portraits at 128 x 128 was 0.64 in 4 epochs (one seed), against
        # 0.45 with the scale of the other layers and 0.46 with torch's default for all.
        nn.init.normal_(self.head.weight, std=0.1 * top**-0.5)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW for images whose H and W are multiples of `stride`."""
        skips: list[tuple[Tensor, Tensor | None]] = []
        features_BCHW = images_BCHW
        for level, pair in enumerate(self.encoder):
            features_BCHW = pair(features_BCHW)
            if level < len(self.downs):
                smaller_BCHW, indices_BCHW = self.downs[level](features_BCHW)
                skips.append((features_BCHW, indices_BCHW))
                features_BCHW = smaller_BCHW
        for up, pair in zip(self.ups, self.decoder, strict=True):
            skip_BCHW, indices_BCHW = skips.pop()
            features_BCHW = up(features_BCHW, indices_BCHW)
            features_BCHW = pair(torch.cat([skip_BCHW, features_BCHW], dim=1))
        return self.head(features_BCHW)


def build_unet(*, in_channels: int, num_classes: int, options: UNetOptions) -> nn.Module:
    """Build `unet`, over its own encoder or one of timm's."""
    if options.encoder is None:
        return UNet(in_channels, num_classes, options)
    # Imported here, because timm takes longer to import than torch.
    from segzoo_unet.over_encoder import UNetOverEncoder

    return UNetOverEncoder(in_channels, num_classes, options)


def _norm(channels: int, norm: str) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "group":
        # 32 groups as in the paper of group norm, or the largest divisor below that.
        groups = max(count for count in range(1, 33) if channels % count == 0)
        return [nn.GroupNorm(groups, channels)]
    return []


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 2 / N), N = incoming nodes of one neuron (section 3 of the paper).

    It keeps the signal's scale through the network; what it takes to train is in the README.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    elif isinstance(module, nn.ConvTranspose2d):
        # With stride 2, a pixel of the output gets a quarter of the kernel's taps.
        incoming = module.in_channels * math.prod(module.kernel_size) / math.prod(module.stride)
        nn.init.normal_(module.weight, std=(2 / incoming) ** 0.5)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
