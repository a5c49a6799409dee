from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from segzoo import MissingSplitError, Sample

PICTURES = {"train": 8, "val": 4}


class Halves(torch.utils.data.Dataset[Sample]):
    def __init__(self, folder: Path) -> None:
        self.keys = sorted(path.stem for path in folder.iterdir())

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        target_HW = torch.zeros(16, 16, dtype=torch.uint8)
        target_HW[:, int(key) :] = 1
        return Sample((target_HW * 200 + 20).expand(3, -1, -1).contiguous(), target_HW, key)


class PixelCount:
    def __init__(self) -> None:
        self.pixels = 0

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        self.pixels += target_BHW.numel()

    def compute(self) -> float:
        return float(self.pixels)


def build(*, in_channels: int, num_classes: int, options: None) -> nn.Module:
    return nn.Conv2d(in_channels, num_classes, 1)


def build_data(*, root: Path | None, split: str, options: None) -> Halves:
    if root is None or not (root / split).is_dir():
        raise MissingSplitError(f"good-data in {root} has no `{split}` split")
    return Halves(root / split)


def write_sample(root: Path) -> None:
    for split, count in PICTURES.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            (root / split / f"{index + 4:02d}.txt").touch()


def build_loss(*, classes: Sequence[str], ignore_index: int | None, options: None) -> nn.Module:
    return nn.CrossEntropyLoss(ignore_index=-100 if ignore_index is None else ignore_index)


def build_metric(*, classes: Sequence[str], ignore_index: int | None, options: None) -> PixelCount:
    return PixelCount()


def greet(name: str) -> None:
    print(f"hello {name}")
