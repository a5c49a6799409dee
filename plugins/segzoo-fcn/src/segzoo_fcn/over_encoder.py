"""FCN over an encoder of timm, pretrained or not, in the place of VGG16.

A 3 x 3 convolution with batch norm takes the place of fc6 and fc7, whose 7 x 7 x 4096 belong to
VGG16's classifier. Scores, skips and upsamplings are those of the paper.

Shapes: B batch, C channels, D feature channels, K classes; h, w those of a coarser map.
"""

from torch import Tensor, nn

from segzoo.model.encoders import OverEncoder
from segzoo_fcn.network import Skip, Upsample
from segzoo_fcn.plugin import FCNOptions


class FCNOverEncoder(OverEncoder):
    """FCN-32s, -16s or -8s over timm's encoder, by the stride of its finest scores."""

    def __init__(
        self, in_channels: int, num_classes: int, output_stride: int, options: FCNOptions
    ) -> None:
        super().__init__(
            options, in_channels=in_channels, owner=f"fcn{output_stride}s", finest=output_stride
        )
        *finer, deepest = self.channels
        fc_channels = options.fc_channels or 512
        self.fc = nn.Sequential(
            nn.Conv2d(deepest, fc_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(fc_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(options.dropout),
        )
        self.score = nn.Conv2d(fc_channels, num_classes, 1)
        self.skips = nn.ModuleList(Skip(channels, num_classes) for channels in reversed(finer))
        self.upsample = Upsample(num_classes, self.reductions[0], learned=False)
        nn.init.normal_(self.score.weight, std=0.1 * fc_channels**-0.5)
        for skip in self.skips:
            nn.init.zeros_(skip.score.weight)  # type: ignore[union-attr]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Score every pixel: images_BCHW, H and W multiples of `stride`, to logits_BKHW."""
        *finer, deepest_BDhw = self.encoder(images_BCHW)
        scores_BKhw = self.score(self.fc(deepest_BDhw))
        for skip, features_BDhw in zip(self.skips, reversed(finer), strict=True):
            scores_BKhw = skip(scores_BKhw, features_BDhw)
        return self.upsample(scores_BKhw)
