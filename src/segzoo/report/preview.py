"""A contact sheet of what the network sees: resized, augmented, each with its target."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from segzoo.compute.device import device_target
from segzoo.data.checks.variety import varied
from segzoo.data.loading.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.data.sample import DataInfo
from segzoo.model.pixels import Preprocess, normalization
from segzoo.report.sheet import coloured, legend_of, photo, save_grid, share_shown
from segzoo.train.augment import Draws, augmented

TIMES = 3  # how often each picture is augmented
SIDE = 180  # pixels of a picture on the sheet, which has eight columns
LOOKED_AT = 60
"""So many pictures of the split are looked at, to choose those that differ."""


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
    """Write a PNG with a row a picture: as it is with its target, and so augmented three times.

    Nothing is drawn over a picture: it shows what the network gets, brightness included. Pictures
    are drawn from the split by `seed`, and of those drawn the ones shown that differ most. Raises
    SegzooError for a split there is not.
    """
    dataset = source.split(split)
    info = source.info(dataset)
    batches = Batches(
        dataset, info, size=size, batch_size=count, shuffle=True, seed=seed, workers=0, cache="none"
    )
    drawn = range(LOOKED_AT) if batches.stream else batches.order(0)[: max(LOOKED_AT, count)]
    samples = [sample for _, sample in varied(batches, list(map(int, drawn)), count, first=1)]
    mean, std = normalization("auto", batches.channels)
    images_BCHW = Preprocess(mean, std, info.value_range)(torch.stack([s.image for s in samples]))
    target_BHW = torch.stack([sample.target for sample in samples])
    target_BHW = device_target(target_BHW, info.target, torch.device("cpu"))
    columns = _columns(images_BCHW, target_BHW, info, (mean, std))
    titles, targets = ["picture", "target"], [target_BHW]
    draws = Draws(torch.Generator().manual_seed(seed))
    for number in range(1, 1 + (TIMES if augment != "none" else 0)):
        changed_BCHW, moved_BHW = augmented(augment, images_BCHW, target_BHW, draws)
        columns += _columns(changed_BCHW, moved_BHW, info, (mean, std))
        titles += [f"augmented {number}", f"target {number}"]
        targets.append(moved_BHW)
    shown = share_shown(len(samples), None if batches.stream else batches.count)
    save_grid(
        list(zip(*columns, strict=True)),
        titles,
        path,
        SIDE,
        heading=f"{split}: {shown}, {size[0]}x{size[1]}, augment {augment}",
        captions=[sample.key for sample in samples],
        legend=legend_of(info, targets),
        sharp=() if info.target == "alpha" else range(1, len(titles), 2),
    )


def _columns(
    images_BCHW: Tensor,
    target_BHW: Tensor,
    info: DataInfo,
    normal: tuple[tuple[float, ...], tuple[float, ...]],
) -> list[list[Image.Image]]:
    """Return normalised pictures as they look, and their targets, as two columns."""
    return [
        [_photo(image, *normal) for image in images_BCHW],
        [coloured(target, info) for target in target_BHW],
    ]


def _photo(image_CHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Image.Image:
    """Return a normalised picture as it looks."""
    shown = image_CHW * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    return photo(shown, (0.0, 1.0))
