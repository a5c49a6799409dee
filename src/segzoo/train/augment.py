"""Random changes of training batches, computed on the device for each picture by itself."""

import torch
from torch import Tensor


def light(
    images_BCHW: Tensor, target_BHW: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirror half of the pictures, and vary contrast (x 0.8..1.25) and brightness (+- 0.2 std).

    images_BCHW are float and normalised; the target is mirrored with its picture. The random
    numbers are drawn on the CPU, so that they are the same on every device.
    """
    count = len(images_BCHW)
    device = images_BCHW.device
    draws = torch.rand((3, count), generator=generator).to(device, non_blocking=True)
    flip_B = draws[0] < 0.5
    images_BCHW = torch.where(flip_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)
    target_BHW = torch.where(flip_B[:, None, None], target_BHW.flip(-1), target_BHW)
    contrast_B = torch.exp((draws[1] * 2 - 1) * 0.223)
    brightness_B = (draws[2] * 2 - 1) * 0.2
    images_BCHW = images_BCHW * contrast_B[:, None, None, None]
    return images_BCHW + brightness_B[:, None, None, None], target_BHW
