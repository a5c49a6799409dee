"""Random changes of training batches, computed on the device for each picture by itself.

Images are float and normalised; targets are labels_BHW (int64) or alpha_BHW (float). What changes a
place changes it in image and target. Random numbers are drawn on the CPU, so that they are the same
on every device and whatever the number of workers and ranks; noise alone is drawn on the device.
Letters of the shapes: B batch, C channels, H height, W width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

ROTATION = math.radians(15)
SCALES = (0.6, 1.6)  # of what is seen: below 1 objects are larger
ASPECT = 1.2
SHIFT = 0.2  # of the size


@dataclass(frozen=True)
class Draws:
    """Random numbers for the pictures of a batch, drawn for the batch of all ranks together.

    What a picture gets so depends on its place in that batch, and not on which rank has it. This
    rank's pictures begin at `first` of `total`; with a total of 0 it has all of them.
    """

    generator: torch.Generator
    first: int = 0
    total: int = 0

    def uniform(self, rows: int, images_BCHW: Tensor) -> Tensor:
        """Draw rows x B numbers in 0..1 on the CPU, and bring them to the pictures' device."""
        count = self.total or len(images_BCHW)
        drawn_RN = torch.rand((rows, count), generator=self.generator)
        own_RB = drawn_RN[:, self.first : self.first + len(images_BCHW)]
        return own_RB.to(images_BCHW.device, non_blocking=True)

    def seeds(self, images_BCHW: Tensor) -> list[int]:
        """Draw a seed for each picture."""
        count = self.total or len(images_BCHW)
        drawn_N = torch.randint(1 << 31, (count,), generator=self.generator)
        return drawn_N[self.first : self.first + len(images_BCHW)].tolist()


def augmented(
    preset: str, images_BCHW: Tensor, target_BHW: Tensor, random: Draws
) -> tuple[Tensor, Tensor]:
    """Return a batch changed by a preset, `none`, `light` or `strong`, of the same shapes."""
    if preset == "light":
        return light(images_BCHW, target_BHW, random)
    if preset == "strong":
        return strong(images_BCHW, target_BHW, random)
    return images_BCHW, target_BHW


def light(images_BCHW: Tensor, target_BHW: Tensor, random: Draws) -> tuple[Tensor, Tensor]:
    """Mirror half of the pictures, and vary contrast (x 0.8..1.25) and brightness (+- 0.2 std)."""
    draws = random.uniform(3, images_BCHW)
    images_BCHW, target_BHW = _mirrored(images_BCHW, target_BHW, draws[0] < 0.5)
    contrast_B = torch.exp((draws[1] * 2 - 1) * 0.223)
    brightness_B = (draws[2] * 2 - 1) * 0.2
    images_BCHW = images_BCHW * contrast_B[:, None, None, None]
    return images_BCHW + brightness_B[:, None, None, None], target_BHW


def strong(images_BCHW: Tensor, target_BHW: Tensor, random: Draws) -> tuple[Tensor, Tensor]:
    """Mirror, rotate, scale, stretch and shift each picture, then change its colours and sharpness.

    Rotation +- 15 degrees, scale 0.6..1.6, aspect 1 / 1.2..1.2, shift +- 0.2 of the size; what
    comes in from outside is the mirrored picture, in the target too. Contrast x 0.6..1.7,
    brightness +- 0.5 std, saturation 0..2, gain of each channel +- 0.2, and for a fifth of the
    pictures each blur and noise.
    """
    draws = random.uniform(5, images_BCHW)
    images_BCHW, target_BHW = _mirrored(images_BCHW, target_BHW, draws[0] < 0.5)
    low, high = (math.log(value) for value in SCALES)
    scale_B = torch.exp(low + (high - low) * draws[1])
    aspect_B = torch.exp((draws[2] * 2 - 1) * math.log(ASPECT) / 2)
    angle_B = (draws[3] * 2 - 1) * ROTATION
    shift_B2 = (random.uniform(2, images_BCHW) * 2 - 1).T * 2 * SHIFT
    images_BCHW, target_BHW = warped(
        images_BCHW, target_BHW, scale_B * aspect_B, scale_B / aspect_B, angle_B, shift_B2
    )
    return _blurred_or_noisy(recoloured(images_BCHW, random), random), target_BHW


def warped(
    images_BCHW: Tensor,
    target_BHW: Tensor,
    scale_x_B: Tensor,
    scale_y_B: Tensor,
    angle_B: Tensor,
    shift_B2: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sample images (bilinear) and target (labels nearest, alpha bilinear) from where they map to.

    A point (x, y) of the result, in -1..1, shows the input's at scale * rotation * (x, y) + shift;
    angles are in radians, of the picture as it is seen. Outside, the picture is mirrored.
    """
    height, width = images_BCHW.shape[-2:]
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    ratio = height / width
    theta_B23 = torch.stack(
        [
            torch.stack([scale_x_B * cos_B, -scale_x_B * sin_B * ratio, shift_B2[:, 0]], dim=1),
            torch.stack([scale_y_B * sin_B / ratio, scale_y_B * cos_B, shift_B2[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid_BHW2 = functional.affine_grid(
        theta_B23, [len(images_BCHW), 1, height, width], align_corners=False
    )
    images_BCHW = _sampled(images_BCHW, grid_BHW2, "bilinear")
    if target_BHW.is_floating_point():
        return images_BCHW, _sampled(target_BHW[:, None], grid_BHW2, "bilinear")[:, 0]
    labels_BHW = _sampled(target_BHW[:, None].float(), grid_BHW2, "nearest")[:, 0]
    return images_BCHW, labels_BHW.round().to(target_BHW.dtype)


def recoloured(images_BCHW: Tensor, random: Draws) -> Tensor:
    """Change contrast, brightness, saturation and the channels' gains of each picture."""
    channels = images_BCHW.shape[1]
    draws = random.uniform(3 + channels, images_BCHW)
    contrast_B = torch.exp((draws[0] * 2 - 1) * 0.53)
    brightness_B = (draws[1] * 2 - 1) * 0.5
    saturation_B = draws[2] * 2
    gain_BC = 1 + (draws[3:].T * 2 - 1) * 0.2
    if channels == 3:
        grey_B1HW = images_BCHW.mean(1, keepdim=True)
        images_BCHW = grey_B1HW + (images_BCHW - grey_B1HW) * _per_picture(saturation_B)
    mean_B111 = images_BCHW.mean((1, 2, 3), keepdim=True)
    images_BCHW = mean_B111 + (images_BCHW - mean_B111) * _per_picture(contrast_B)
    return images_BCHW * gain_BC[:, :, None, None] + _per_picture(brightness_B)


def _blurred_or_noisy(images_BCHW: Tensor, random: Draws) -> Tensor:
    """Take the detail of a fifth of the pictures away, and add noise to a fifth."""
    draws = random.uniform(2, images_BCHW)
    size = images_BCHW.shape[-2:]
    small = functional.avg_pool2d(images_BCHW, 3, stride=2, padding=1, count_include_pad=False)
    coarse_BCHW = functional.interpolate(small, size, mode="bilinear", align_corners=False)
    images_BCHW = torch.where(_per_picture(draws[0] < 0.2), coarse_BCHW, images_BCHW)
    noise_BCHW = torch.zeros_like(images_BCHW)
    for place, seed in enumerate(random.seeds(images_BCHW)):
        if seed % 5 == 0:
            own = torch.Generator(images_BCHW.device).manual_seed(seed)
            noise_BCHW[place].normal_(generator=own)
    return images_BCHW + noise_BCHW * _per_picture(draws[1] * 0.25)


def _mirrored(images_BCHW: Tensor, target_BHW: Tensor, which_B: Tensor) -> tuple[Tensor, Tensor]:
    images_BCHW = torch.where(_per_picture(which_B), images_BCHW.flip(-1), images_BCHW)
    return images_BCHW, torch.where(which_B[:, None, None], target_BHW.flip(-1), target_BHW)


def _sampled(pixels_BCHW: Tensor, grid_BHW2: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(
        pixels_BCHW, grid_BHW2, mode=mode, padding_mode="reflection", align_corners=False
    )


def _per_picture(values_B: Tensor) -> Tensor:
    return values_B[:, None, None, None]
