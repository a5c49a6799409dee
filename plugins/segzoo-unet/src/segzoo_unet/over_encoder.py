"""U-Net's decoder over an encoder of timm, pretrained or not.

Each level enlarges the features below it, puts the encoder's features of that size beside them, and
convolves twice; the last one, at full size, has no skip. The encoder's features begin at half the
size, or at a quarter, where U-Net's own begin at the full size. In training a second head makes
logits of the features at a quarter of the size (deep supervision: Lee et al., "Deeply-Supervised
Nets", AISTATS 2015, https://arxiv.org/abs/1409.5185), so that those learn what is what before the
finer levels do.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segzoo.model.encoders import OverEncoder, logit_gain
from segzoo_unet.enlarged import convolved
from segzoo_unet.network import Pair, initialise
from segzoo_unet.plugin import UNetOptions

AUX_REDUCTION = 4


class Enlarge(nn.Module):
    """Enlarge `factor` times: interpolation, or a transposed convolution to `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, factor: int, how: str) -> None:
        super().__init__()
        self.factor, self.how = factor, how
        self.channels = out_channels if how == "deconv" else in_channels
        self.conv = (
            nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor)
            if how == "deconv"
            else None
        )

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return features `factor` times as high and wide."""
        if self.conv is not None:
            return self.conv(features_BCHW)
        align = False if self.how == "bilinear" else None
        return functional.interpolate(
            features_BCHW, scale_factor=self.factor, mode=self.how, align_corners=align
        )


def level(up: nn.Module, pair: nn.Module, coarse_BChw: Tensor, skip_BCHW: Tensor | None) -> Tensor:
    """Return the pair of convolutions of the skip and of the enlarged features beside it."""
    assert isinstance(up, Enlarge)
    assert isinstance(pair, Pair)
    if up.how == "nearest":
        first, *others = pair
        assert isinstance(first, nn.Conv2d)
        features_BCHW = convolved(first, coarse_BChw, skip_BCHW, up.factor)
        for layer in others:
            features_BCHW = layer(features_BCHW)
        return features_BCHW
    features_BCHW = up(coarse_BChw)
    if skip_BCHW is not None:
        features_BCHW = torch.cat([skip_BCHW, features_BCHW], dim=1)
    return pair(features_BCHW)


class Head(nn.Conv2d):
    """A 3 x 3 convolution from features to logits, with the gain that few weights need."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, 3, padding=1)
        weights = 9 * in_channels
        self.gain = logit_gain(weights, num_classes)
        nn.init.normal_(self.weight, std=weights**-0.5 / self.gain)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Return logits_BKHW."""
        return self.gain * super().forward(input)


class UNetOverEncoder(OverEncoder):
    """The network: timm's encoder in `encoder`, U-Net's way up in `ups` and `decoder`.

    The second head, `aux`, is None where the way up has nothing at a quarter of the size.
    """

    def __init__(self, in_channels: int, num_classes: int, options: UNetOptions) -> None:
        super().__init__(options, in_channels=in_channels, owner="unet", coarsest=2**options.depth)
        norm = "batch" if options.norm == "auto" else options.norm
        up = "nearest" if options.up == "auto" else options.up
        top = options.width or 16
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.aux: Head | None = None
        channels, reduction = self.channels[-1], self.reductions[-1]
        finer = [(1, 0), *zip(self.reductions[:-1], self.channels[:-1], strict=True)]
        for target, skip in reversed(finer):
            width = top * target
            enlarge = Enlarge(channels, width, reduction // target, up)
            self.ups.append(enlarge)
            self.decoder.append(Pair(enlarge.channels + skip, width, norm))
            channels, reduction = width, target
            if target == AUX_REDUCTION:
                self.aux, self.aux_after = Head(width, num_classes), len(self.decoder) - 1
        self.head = Head(channels, num_classes)
        for module in (self.ups, self.decoder):
            module.apply(initialise)

    def forward(self, images_BCHW: Tensor) -> Tensor | dict[str, Tensor]:
        """Return logits_BKHW for images whose H and W are multiples of `stride`.

        In training, with a second head, return `out` and `aux`, both of that size.
        """
        *skips, features_BCHW = self.encoder(images_BCHW)
        aux_BKHW: Tensor | None = None
        for place, (up, pair) in enumerate(zip(self.ups, self.decoder, strict=True)):
            skip_BCHW = skips.pop() if skips else None
            features_BCHW = level(up, pair, features_BCHW, skip_BCHW)
            if self.training and self.aux is not None and place == self.aux_after:
                aux_BKHW = functional.interpolate(
                    self.aux(features_BCHW), scale_factor=AUX_REDUCTION, mode="bilinear"
                )
        logits_BKHW = self.head(features_BCHW)
        return logits_BKHW if aux_BKHW is None else {"out": logits_BKHW, "aux": aux_BKHW}
