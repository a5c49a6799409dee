"""A contact sheet of what the network sees: resized, augmented, with the target drawn over it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segzoo.data.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.data.sample import DataInfo
from segzoo.evaluation import device_target
from segzoo.model import Preprocess, normalization
from segzoo.report import save_grid
from segzoo.train.augment import Draws, augmented

TIMES = 3  # how often each picture is augmented


def draw_preview(
    source: DataSource,
    path: Path,
    *,
    split: str = "train",
    size: tuple[int, int] = (256, 256),
    augment: str = "light",
    count: int = 6,
    seed: int = 0,
) -> None:
    """Write a PNG with a row a picture: as it is, its target, and augmented three times.

    Pictures are drawn from the split by `seed`. Raises SegzooError for a split there is not.
    """
    dataset = source.split(split)
    info = source.info(dataset)
    batches = Batches(
        dataset, info, size=size, batch_size=count, shuffle=True, seed=seed, workers=0, cache="none"
    )
    batch = next(iter(batches.epoch(0)))
    mean, std = normalization("auto", batches.channels)
    images_BCHW = Preprocess(mean, std, info.value_range)(batch.images_BCHW)
    target_BHW = device_target(batch.target_BHW, info.target, torch.device("cpu"))
    columns = [
        [_photo(image, mean, std) for image in images_BCHW],
        [Image.fromarray(_coloured(target, info)) for target in target_BHW],
    ]
    draws = Draws(torch.Generator().manual_seed(seed))
    for _ in range(TIMES):
        changed_BCHW, moved_BHW = augmented(augment, images_BCHW, target_BHW, draws)
        columns.append(
            [
                _overlaid(_photo(image, mean, std), target, info)
                for image, target in zip(changed_BCHW, moved_BHW, strict=True)
            ]
        )
    titles = ("picture", "target", *[f"augment {augment}"] * TIMES)
    save_grid(list(zip(*columns, strict=True)), titles, path)


def _photo(image_CHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Image.Image:
    """Return a normalised picture as it looks; the first three channels, or grey."""
    shown = image_CHW * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    pixels = (shown * 255).clamp(0, 255).to(torch.uint8)
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _coloured(target_HW: Tensor, info: DataInfo) -> np.ndarray:
    """Return H x W x 3 colours: an alpha in grey, labels by the palette, ignored light grey."""
    if target_HW.is_floating_point():
        return np.repeat((target_HW.numpy() * 255).astype(np.uint8)[..., None], 3, axis=2)
    table = np.full((max(256, len(info.palette)), 3), 224, dtype=np.uint8)
    table[: len(info.palette)] = info.palette
    return table[target_HW.numpy().clip(0, len(table) - 1)]


def _overlaid(photo: Image.Image, target_HW: Tensor, info: DataInfo) -> Image.Image:
    return Image.blend(photo, Image.fromarray(_coloured(target_HW, info)), 0.4)
