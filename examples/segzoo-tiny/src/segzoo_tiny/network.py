"""Three dilated 3 x 3 convolutions: a receptive field of 27 pixels at full resolution."""

from torch import nn

from segzoo_tiny.plugin import TinyOptions


def build(*, in_channels: int, num_classes: int, options: TinyOptions) -> nn.Module:
    """Build `tiny`: images B x in_channels x H x W to logits B x num_classes x H x W."""
    layers: list[nn.Module] = []
    channels = in_channels
    for dilation in (1, 3, 9):
        layers += [nn.Conv2d(channels, options.width, 3, padding=dilation, dilation=dilation)]
        layers += [nn.BatchNorm2d(options.width), nn.ReLU(inplace=True)]
        channels = options.width
    return nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))
