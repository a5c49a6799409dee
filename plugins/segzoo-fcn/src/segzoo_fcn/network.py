"""FCN: fully convolutional networks for semantic segmentation, on VGG16.

Paper: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
CVPR 2015, https://arxiv.org/abs/1411.4038. VGG16 is configuration D of Simonyan and Zisserman,
https://arxiv.org/abs/1409.1556.

The fully connected layers of VGG16 become convolutions (fc6: 7x7, fc7: 1x1), a 1x1 convolution
scores the classes at 1/32 of the resolution, and bilinear upsampling brings the scores back.
FCN-16s adds scores of pool4, FCN-8s of pool4 and pool3, before the last upsampling.

Parameters at 3 input channels and 2 classes: 134,268,738 (32s), 134,269,828 (16s), 134,270,406
(8s); at 21 classes 8s has 134,376,863. Batch norm adds 4,224.

Departures from the paper:

- It starts from random weights, not from VGG16 trained on ImageNet, and trains the skips from
  the first step (the paper trains 32s, then 16s, then 8s). How the weights are drawn, and why:
  `FCN.reset_parameters`.
- fc6 has a padding of 3, so that the scores are exactly 1/32 of the input. The paper leaves it
  unpadded, pads conv1_1 by 100 to have at least one position for small pictures, and crops what
  comes out. That is 3.2 times the work at 256x256, all of it on zeros, and the crop's offsets
  differ from skip to skip.
- The upsamplings repeat the outermost scores by one position, which makes them bilinear up to
  the border. The paper has the surplus of its padding there, and crops it.

Letters of the shapes: B batch, C input channels, D feature channels, K classes, H W height and
width of the input in pixels, h w those of a coarser map.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo_fcn.plugin import FCNOptions


class FCN(nn.Module):
    """FCN-32s, -16s or -8s, by `output_stride`: the stride of the finest scores.

    `forward` maps images_BCHW (float; H and W multiples of 32, ValueError otherwise) to
    logits_BKHW of the same H, W and dtype (under autocast, of autocast's dtype).
    ValueError for another output stride. Source: section 4 and figure 3 of the paper.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        output_stride: Literal[32, 16, 8],
        options: FCNOptions,
    ) -> None:
        super().__init__()
        if output_stride not in (32, 16, 8):
            raise ValueError(f"output_stride is 32, 16 or 8, not {output_stride!r}")
        width, norm = options.width, options.norm
        self.block1 = vgg_block(in_channels, width, convolutions=2, norm=norm)
        self.block2 = vgg_block(width, 2 * width, convolutions=2, norm=norm)
        self.block3 = vgg_block(2 * width, 4 * width, convolutions=3, norm=norm)
        self.block4 = vgg_block(4 * width, 8 * width, convolutions=3, norm=norm)
        self.block5 = vgg_block(8 * width, 8 * width, convolutions=3, norm=norm)
        fc_channels = options.fc_channels or 4096
        self.fc6 = nn.Conv2d(8 * width, fc_channels, 7, padding=3)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.score = nn.Conv2d(fc_channels, num_classes, 1)
        self.skip4 = Skip(8 * width, num_classes) if output_stride <= 16 else None
        self.skip3 = Skip(4 * width, num_classes) if output_stride <= 8 else None
        # The paper learns the inner upsamplings and fixes this one (section 4.3).
        self.upsample = Upsample(num_classes, output_stride, learned=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, so that training from scratch works; biases become zero.

        Convolutions: He normal by fan-in, https://arxiv.org/abs/1502.01852, which keeps the
        activations' scale through the 15 layers. Score of fc7: normal, variance 1 / fan-in.
        Scores of the skips: zero, so that they start as additions of nothing, as in the paper.

        The paper has zero for the score of fc7 too, which suits trained features. From scratch
        nothing below a zero score moves at first, and then all of it along the score's first
        step: with Adam at 1e-3, FCN-32s of width 32 on 16 photographs came to a mean IoU of 0.72
        in 240 steps, against 0.87 with the score drawn (FCN-8s: 0.92 and 0.90 in 120). Either
        way a warm-up helps: Adam's first step moves each weight by the full learning rate, in
        one direction throughout a layer, which at 4096 channels is a jump.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.BatchNorm2d, Upsample)):
                module.reset_parameters()
        nn.init.normal_(self.score.weight, std=self.score.in_channels**-0.5)
        for skip in (self.skip4, self.skip3):
            if skip is not None:
                nn.init.zeros_(skip.score.weight)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Score every pixel: images_BCHW to logits_BKHW."""
        height, width = images_BCHW.shape[-2:]
        if height % 32 or width % 32:
            raise ValueError(f"FCN takes H and W that are multiples of 32, not {height}x{width}")
        pool3_BDhw = self.block3(self.block2(self.block1(images_BCHW)))  # 1/8
        pool4_BDhw = self.block4(pool3_BDhw)  # 1/16
        pool5_BDhw = self.block5(pool4_BDhw)  # 1/32
        fc6_BDhw = self.dropout(F.relu(self.fc6(pool5_BDhw)))
        fc7_BDhw = self.dropout(F.relu(self.fc7(fc6_BDhw)))
        scores_BKhw = self.score(fc7_BDhw)
        if self.skip4 is not None:
            scores_BKhw = self.skip4(scores_BKhw, pool4_BDhw)
        if self.skip3 is not None:
            scores_BKhw = self.skip3(scores_BKhw, pool3_BDhw)
        return self.upsample(scores_BKhw)


def vgg_block(
    in_channels: int, channels: int, *, convolutions: int, norm: Literal["none", "batch"]
) -> nn.Sequential:
    """Build one block of VGG16: 3x3 convolutions with ReLU, then a 2x2 max pooling.

    Maps features of in_channels x H x W to channels x H/2 x W/2. Source: VGG paper, table 1.
    """
    layers: list[nn.Module] = []
    for index in range(convolutions):
        source = in_channels if index == 0 else channels
        # Batch norm subtracts the mean, and with it any bias before it.
        layers.append(nn.Conv2d(source, channels, 3, padding=1, bias=norm == "none"))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class Skip(nn.Module):
    """Finer scores: the coarser ones upsampled by 2, plus a 1x1 scoring of a pooling's output.

    `forward` maps coarse_BKhw and features_BDhw of twice that h and w to scores_BKhw at the
    features' size. Source: section 4.2 of the paper.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, num_classes, 1)
        self.upsample = Upsample(num_classes, 2, learned=True)

    def forward(self, coarse_BKhw: Tensor, features_BDhw: Tensor) -> Tensor:
        """Fuse coarse_BKhw with the scores of features_BDhw."""
        return self.upsample(coarse_BKhw) + self.score(features_BDhw)


class Upsample(nn.Module):
    """Transposed convolution that starts as bilinear upsampling by an even `stride`.

    `forward` maps scores_BKhw to B x K x (stride h) x (stride w); before training it equals
    `F.interpolate(mode="bilinear")`. The kernel is 2 stride wide. `learned`: a parameter that
    also mixes classes, as in the authors' code; else a buffer, one kernel a class. Source:
    section 3.3 of the paper.
    """

    weight: Tensor

    def __init__(self, num_classes: int, stride: int, *, learned: bool) -> None:
        super().__init__()
        self.factor = stride
        self.groups = 1 if learned else num_classes
        weight = torch.empty(num_classes, num_classes if learned else 1, 2 * stride, 2 * stride)
        if learned:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to bilinear interpolation: class k is upsampled from class k alone."""
        classes, sources = self.weight.shape[:2]
        taps = torch.arange(2 * self.factor, dtype=self.weight.dtype, device=self.weight.device)
        tent = 1 - (taps + 0.5 - self.factor).abs() / self.factor
        same = torch.eye(classes) if sources == classes else torch.ones(classes, 1)
        with torch.no_grad():
            self.weight.copy_(same.to(tent)[:, :, None, None] * torch.outer(tent, tent))

    def forward(self, scores_BKhw: Tensor) -> Tensor:
        """Upsample scores_BKhw."""
        # One repeated score on each side, cropped again by `padding`: see the file's docstring.
        padded = F.pad(scores_BKhw, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(
            padded,
            self.weight,
            stride=self.factor,
            padding=self.factor + self.factor // 2,
            groups=self.groups,
        )


def build_fcn32s(*, in_channels: int, num_classes: int, options: FCNOptions) -> nn.Module:
    """Build FCN-32s: scores of fc7 alone, upsampled 32 times."""
    return _build(in_channels, num_classes, 32, options)


def build_fcn16s(*, in_channels: int, num_classes: int, options: FCNOptions) -> nn.Module:
    """Build FCN-16s: FCN-32s with a skip from pool4."""
    return _build(in_channels, num_classes, 16, options)


def build_fcn8s(*, in_channels: int, num_classes: int, options: FCNOptions) -> nn.Module:
    """Build FCN-8s: FCN-16s with a skip from pool3."""
    return _build(in_channels, num_classes, 8, options)


def _build(
    in_channels: int, num_classes: int, stride: Literal[32, 16, 8], options: FCNOptions
) -> nn.Module:
    if options.encoder is None:
        return FCN(
            in_channels=in_channels, num_classes=num_classes, output_stride=stride, options=options
        )
    # Imported here, because timm takes longer to import than torch.
    from segzoo_fcn.over_encoder import FCNOverEncoder

    return FCNOverEncoder(in_channels, num_classes, stride, options)
