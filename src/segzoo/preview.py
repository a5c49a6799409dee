"""A contact sheet of what the network sees: resized, augmented, with the target drawn over it."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from segzoo.data.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.data.sample import DataInfo
from segzoo.data.variety import varied
from segzoo.evaluation import device_target
from segzoo.model import Preprocess, normalization
from segzoo.sheet import coloured, legend_of, photo, save_grid
from segzoo.train.augment import Draws, augmented

TIMES = 3  # how often each picture is augmented
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
    """Write a PNG with a row a picture: as it is, its target, and augmented three times.

    Pictures are drawn from the split by `seed`, and of those drawn the ones shown that differ
    most. Raises SegzooError for a split there is not.
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
    columns = [
        [_photo(image, mean, std) for image in images_BCHW],
        [coloured(target, info) for target in target_BHW],
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
    save_grid(
        list(zip(*columns, strict=True)),
        titles,
        path,
        captions=[sample.key for sample in samples],
        legend=legend_of(info, list(target_BHW)),
        sharp=() if info.target == "alpha" else (1,),
    )


def _photo(image_CHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Image.Image:
    """Return a normalised picture as it looks."""
    shown = image_CHW * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    return photo(shown, (0.0, 1.0))


def _overlaid(image: Image.Image, target_HW: Tensor, info: DataInfo) -> Image.Image:
    return Image.blend(image, coloured(target_HW, info), 0.4)
