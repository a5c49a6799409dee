"""LinkNet (Chaurasia, Culurciello: LinkNet, VCIP 2017, https://arxiv.org/abs/1707.03718).

12,952,614 parameters with 3 channels and 2 classes. Where it departs from the paper: every
encoder block is one stride-2 residual unit of four convolutions (the paper's are ResNet-18's two
units), so the first block halves the size too; pooling is 2 x 2, convolutions keep their bias.
The last layer has neither norm nor activation; the textbook implementation still counts the 2 K
parameters of a batch norm that it never applies there. Here they are a scale and a shift per class
that begin as the identity: the count stays, and every parameter gets a gradient.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import torch
from torch import Tensor, nn

from segzoo_linknet.plugin import LinkNetOptions


def conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution with bias, batch norm, ReLU; the padding keeps the size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def deconv_block(in_channels: int, out_channels: int, factor: int = 2) -> nn.Sequential:
    """Transposed 3 x 3 convolution to `factor` (1 or 2) times the size, batch norm, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(
            in_channels, out_channels, 3, stride=factor, padding=1, output_padding=factor - 1
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class EncoderBlock(nn.Module):
    """Four 3 x 3 conv blocks, the first with stride 2, plus a stride-2 conv-block shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            conv_block(in_channels, out_channels, stride=2),
            conv_block(out_channels, out_channels),
            conv_block(out_channels, out_channels),
            conv_block(out_channels, out_channels),
        )
        self.shortcut = conv_block(in_channels, out_channels, stride=2)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return features of half the size."""
        return self.blocks(features_BCHW) + self.shortcut(features_BCHW)


class DecoderBlock(nn.Sequential):
    """1 x 1 to a quarter of the channels, transposed 3 x 3 to `factor` times the size, 1 x 1.

    The quarter is `narrowest` channels at least.
    """

    def __init__(
        self, in_channels: int, out_channels: int, factor: int = 2, narrowest: int = 1
    ) -> None:
        quarter = max(narrowest, in_channels // 4)
        super().__init__(
            conv_block(in_channels, quarter, kernel=1),
            deconv_block(quarter, quarter, factor),
            conv_block(quarter, out_channels, kernel=1),
        )


class ClassScale(nn.Module):
    """A scale and a shift for each class's logits, the identity at first (see the file's top)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.scale_K = nn.Parameter(torch.ones(num_classes))
        self.shift_K = nn.Parameter(torch.zeros(num_classes))

    def forward(self, logits_BKHW: Tensor) -> Tensor:
        """Return logits of the same shape."""
        return logits_BKHW * self.scale_K[:, None, None] + self.shift_K[:, None, None]


class LinkNet(nn.Module):
    """The network: stem, four encoder and four decoder blocks linked by addition, classifier."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Sequential(
            conv_block(in_channels, width, kernel=7, stride=2), nn.MaxPool2d(2)
        )
        ins = [width, *widths[:-1]]
        self.encoder = nn.ModuleList(map(EncoderBlock, ins, widths))
        self.decoder = nn.ModuleList(map(DecoderBlock, widths[::-1], ins[::-1]))
        half = max(1, width // 2)
        self.classifier = nn.Sequential(
            deconv_block(width, half),
            conv_block(half, half),
            nn.ConvTranspose2d(half, num_classes, 2, stride=2),
            ClassScale(num_classes),
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW for images whose H and W are multiples of 64."""
        features_BCHW = self.stem(images_BCHW)
        skips = []
        for block in self.encoder:
            skips.append(features_BCHW)
            features_BCHW = block(features_BCHW)
        for index, block in enumerate(self.decoder):
            features_BCHW = block(features_BCHW)
            if index < len(self.decoder) - 1:
                features_BCHW = features_BCHW + skips[-1 - index]
        return self.classifier(features_BCHW)


def build_linknet(*, in_channels: int, num_classes: int, options: LinkNetOptions) -> nn.Module:
    """Build `linknet`, over its own encoder or one of timm's."""
    if options.encoder is None:
        return LinkNet(in_channels, num_classes, options.width)
    # Imported here, because timm takes longer to import than torch.
    from segzoo_linknet.over_encoder import LinkNetOverEncoder

    return LinkNetOverEncoder(in_channels, num_classes, options)
