"""The outside row of docs/results.md: a training as smp's own CamVid example does it.

The settings of segmentation_models_pytorch's examples/camvid_segmentation_multiclass.ipynb: smp's
network in fp32, Dice loss over the classes, Adam at 2e-4, a cosine to 1e-5 stepped every batch,
pictures mirrored, scaled, rotated, shifted, and changed in brightness, contrast and sharpness, and
the last weights. What differs from it: the encoder is EfficientNet-Lite0 with the weights that the
rows beside it have, and the epochs are as many as there is time for. Data, picture size and scoring
are those of the rows beside it, by segzoo's reader and metrics::

    python benchmarks/smp_example.py camvid DIR --size 180x240 --minutes 5
"""

import argparse
import json
import math
import time
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segzoo.data.finish import finish_sample
from segzoo.data.loading.batches import Batches
from segzoo.data.opening import DataSource
from segzoo.data.sample import DataInfo, Sample
from segzoo.metrics.selection import MetricSet
from segzoo.size import Size, parse_size
from segzoo_encoder_lite0.weights import load

SPLITS = {"hk": (("train", "val"), "test"), "camvid": (("train",), "val")}
IGNORE = 255


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures 0..255 and labels of a size, changed at random in the worker processes."""

    def __init__(self, parts: list[Any], info: DataInfo, size: tuple[int, int]) -> None:
        self.parts, self.info, self.size = parts, info, size
        self.change = v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.RandomAffine(
                    [-5, 5], translate=(0.1, 0.1), scale=(0.5, 1.5), fill={tv_tensors.Mask: IGNORE,
                    tv_tensors.Image: 0},
                ),
                v2.RandomApply([v2.ColorJitter(0.2, 0.2, 0.2)], 0.9),
                v2.RandomApply([v2.GaussianBlur(3)], 0.3),
                v2.RandomApply([v2.RandomAdjustSharpness(2, 1.0)], 0.3),
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        for part in self.parts:
            if index < len(part):
                break
            index -= len(part)
        image, target, _ = finish_sample(Sample(*part[index]), self.info, self.size)
        return self.change(tv_tensors.Image(image), tv_tensors.Mask(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=sorted(SPLITS))
    parser.add_argument("root")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--architecture", default="Unet")
    given = parser.parse_args()
    done = train(given.data, given.root, parse_size(given.size), given.minutes, given.architecture)
    print(json.dumps(done, indent=2))


def train(data: str, root: str, size: Size, minutes: float, architecture: str) -> dict[str, Any]:
    """Train for some minutes, and return the scores."""
    torch.manual_seed(0)
    source = DataSource(data, root=root)
    train_splits, test_split = SPLITS[data]
    parts, test = [source.split(split) for split in train_splits], source.split(test_split)
    info = source.info(parts[0])
    loader = DataLoader(
        Pictures(parts, info, size), batch_size=8, shuffle=True, num_workers=2,
        persistent_workers=True, drop_last=True,
    )  # fmt: skip
    network = smp.create_model(
        architecture, "timm-tf_efficientnet_lite0", encoder_weights=None, classes=len(info.classes)
    )
    # smp's copies of timm's networks are named as timm names them; what is missing raises.
    network.get_submodule("encoder").load_state_dict(load())
    loss_of = smp.losses.DiceLoss(smp.losses.MULTICLASS_MODE, from_logits=True, ignore_index=IGNORE)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    start, epochs, rate = time.perf_counter(), 0, []
    scheduler, finished = None, False
    while not finished:
        network.train()
        for images, labels in loader:
            loss = loss_of(prepared(network, images, size), labels.long())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if scheduler:
                scheduler.step()
        epochs += 1
        spent = time.perf_counter() - start
        rate.append(len(loader) * 8 / (spent / epochs))
        if scheduler is None:
            # The example knows its 50 epochs; here the first one says how many there is time for.
            total = max(2, math.floor(minutes * 60 / spent))
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
                optimizer, T_max=(total - 1) * len(loader), eta_min=1e-5
            )
        finished = spent + spent / epochs > minutes * 60
    return {
        "data": data,
        "model": f"smp {architecture}",
        "epochs": epochs,
        "seconds": round(time.perf_counter() - start, 1),
        "images_per_second": round(rate[-1], 2),
        "scores": score(network, Batches(test, info, size=size, batch_size=8), info, size),
    }


def prepared(network: nn.Module, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Normalise, pad to a multiple of 32 as the example pads, run, and crop."""
    height, width = size
    padding = (0, -width % 32, 0, -height % 32)
    images = nn.functional.pad((images / 255 - 0.5) / 0.5, padding)
    return network(images)[..., :height, :width]


@torch.inference_mode()
def score(
    network: nn.Module, batches: Batches, info: DataInfo, size: tuple[int, int]
) -> dict[str, float]:
    """Score the network in eval mode as `segzoo evaluate` does."""
    network.eval()
    metrics = MetricSet(
        "boundary", classes=info.classes, ignore_index=info.ignore_index, target=info.target
    )
    metrics.start()
    for batch in batches.epoch(0):
        metrics.update(prepared(network, batch.images_BCHW.float(), size), batch.target_BHW.long())
    return metrics.compute()


if __name__ == "__main__":
    main()
