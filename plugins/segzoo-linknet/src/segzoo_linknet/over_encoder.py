"""LinkNet's decoder over an encoder of timm, pretrained or not.

With `encoder=resnet18` it is the network of the paper (Chaurasia, Culurciello, 2017, figure 1 and
table 1), 11.5 M parameters: four decoder blocks, linked by addition to the encoder's features at
1/4 to 1/16 of the size, the last block at 1/4 itself, and two transposed convolutions to the full
size. Convolutions keep their bias here, as in the authors' code. Before they are added the features
of other encoders than ResNets are normalised, without parameters: those of EfficientNet-Lite0 vary
ten times as much as the decoder's, which would go under in the sum.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import functools
import itertools

import timm.models
from torch import Tensor, nn

from segzoo.model.encoders import OverEncoder, logit_gain
from segzoo_linknet.network import DecoderBlock, conv_block, deconv_block
from segzoo_linknet.plugin import LinkNetOptions

NARROWEST = 32
"""Channels at half the size, as many as in the paper, where the encoder has fewer to begin with."""

NARROWEST_QUARTER = 16
"""So with the channels between the 1 x 1 convolutions of a block: a quarter of the 24 and 40 that
EfficientNet-Lite0 has at 1/4 and 1/8 of the size would let 6 and 10 through."""


class LinkNetOverEncoder(OverEncoder):
    """The network: timm's encoder in `encoder`, LinkNet's `decoder` and `classifier`."""

    def __init__(self, in_channels: int, num_classes: int, options: LinkNetOptions) -> None:
        super().__init__(options, in_channels=in_channels, owner="linknet", finest=4)
        coarse = list(self.channels[::-1])
        block = functools.partial(DecoderBlock, narrowest=NARROWEST_QUARTER)
        blocks = [block(*pair) for pair in itertools.pairwise(coarse)]
        first = coarse[-1]
        self.decoder = nn.ModuleList([*blocks, block(first, first, factor=1)])
        rectified = timm.models.is_model_in_modules(str(options.encoder), ["resnet"])
        self.links = nn.ModuleList(
            nn.Identity() if rectified else nn.BatchNorm2d(channels, affine=False)
            for channels in self.channels[:-1]
        )
        half = max(NARROWEST, first // 2)
        last = nn.ConvTranspose2d(half, num_classes, 2, stride=2)
        self.gain = logit_gain(half, num_classes)
        nn.init.normal_(last.weight, std=half**-0.5 / self.gain)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.classifier = nn.Sequential(deconv_block(first, half), conv_block(half, half), last)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW for images whose H and W are multiples of `stride`."""
        *skips, features_BCHW = self.encoder(images_BCHW)
        linked = [link(skip) for link, skip in zip(self.links, skips, strict=True)]
        for block in self.decoder:
            features_BCHW = block(features_BCHW)
            if linked:
                features_BCHW = features_BCHW + linked.pop()
        return self.gain * self.classifier(features_BCHW)
