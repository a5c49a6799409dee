"""One contestant of benchmarks/training.py: trains, and prints JSON with its pictures per second.

Every one trains the same network on the same PNG pairs in batches of the same size, by
cross-entropy and Adam 1e-3, at 256 x 256::

    python benchmarks/trainings.py tutorial unet HK --epochs 3

- tutorial: the loop that tutorials have: Pillow, resize and to-tensor of every picture in every
  epoch, no workers, fp32, and accuracy by numpy after every step.
- reference: a loop as torchvision's references/segmentation: transforms v2 in two worker processes,
  a confusion matrix, fp32.
- lightning, lightning-tuned: PyTorch Lightning's Trainer on the reference's loader without workers
  and in fp32, which is how both come; and with two persistent workers, and bf16 where the processor
  has it.
- step: no data at all: the fastest step known here, over and over on a batch in memory. Channels
  last, a fused Adam, and bf16 where the processor has it.
- segzoo: `segzoo train`, by its own report.
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import tv_tensors
from torchvision.transforms import v2

SIZE, BATCH, RATE = 256, 8, 1e-3
MODELS = {
    "linknet": ("linknet", {}),
    "unet": ("unet", {}),
    "unet-lite0": ("unet", {"encoder": "tf_efficientnet_lite0"}),
    "smp-unet-lite0": (
        "smp-unet",
        {"encoder": "timm-tf_efficientnet_lite0", "encoder_weights": "none"},
    ),
}


def network(name: str) -> nn.Module:
    """Return the network that all of them train."""
    import segzoo

    torch.manual_seed(0)
    model, options = MODELS[name]
    return segzoo.create_model(model, in_channels=3, num_classes=2, options=options)


def plain_network(name: str) -> nn.Module:
    """Return the network for a loop that people write: over an encoder it is smp's."""
    if not name.endswith("-lite0"):
        return network(name)
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    return smp.create_model("Unet", "timm-tf_efficientnet_lite0", encoder_weights=None, classes=2)


def pairs(root: Path) -> list[tuple[Path, Path]]:
    """Return the photographs and mattes of `training`."""
    mattes = sorted((root / "training").glob("*_matte.png"))
    return [(path.with_name(path.name.replace("_matte", "")), path) for path in mattes]


class TutorialPictures(Dataset[tuple[Tensor, Tensor]]):
    """Opened, resized and turned into tensors each time."""

    def __init__(self, root: Path) -> None:
        self.pairs = pairs(root)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, matte = (Image.open(path) for path in self.pairs[index])
        pixels = np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        mask = np.array(matte.convert("L").resize((SIZE, SIZE), Image.Resampling.NEAREST))
        image_CHW = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        return image_CHW, torch.from_numpy((mask > 0).astype(np.int64))


class ReferencePictures(Dataset[tuple[Tensor, Tensor]]):
    """The same by torchvision's transforms v2."""

    def __init__(self, root: Path) -> None:
        self.pairs = pairs(root)
        self.change = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize((SIZE, SIZE), antialias=True),
                v2.ToDtype(
                    {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None},
                    scale=True,
                ),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, matte = (Image.open(path) for path in self.pairs[index])
        mask = tv_tensors.Mask((np.array(matte.convert("L")) > 0).astype(np.uint8))
        image_CHW, mask_HW = self.change(image.convert("RGB"), mask)
        return image_CHW, mask_HW.long()


def timed(epoch: Callable[[], int], epochs: int) -> list[float]:
    """Return the pictures per second of each epoch."""
    rates = []
    for _ in range(epochs):
        start = time.perf_counter()
        pictures = epoch()
        rates.append(pictures / (time.perf_counter() - start))
    return rates


def tutorial(name: str, root: Path, epochs: int) -> list[float]:
    """Train as tutorials do."""
    model = plain_network(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(TutorialPictures(root), batch_size=BATCH, shuffle=True)

    def epoch() -> int:
        model.train()
        pictures, running, right = 0, 0.0, []
        for images, masks in loader:
            optimizer.zero_grad()
            output = model(images)
            loss = criterion(output, masks)
            loss.backward()
            optimizer.step()
            running += loss.item()
            predicted = output.argmax(1).numpy()
            right.append((predicted == masks.numpy()).mean())
            pictures += len(images)
        return pictures

    return timed(epoch, epochs)


def reference(name: str, root: Path, epochs: int) -> list[float]:
    """Train as torchvision's references do."""
    model = plain_network(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loader = DataLoader(
        ReferencePictures(root), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True
    )

    def epoch() -> int:
        model.train()
        matrix, pictures = torch.zeros(2, 2, dtype=torch.long), 0
        for images, masks in loader:
            output = model(images)
            loss = functional.cross_entropy(output, masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.inference_mode():
                places = 2 * masks.flatten() + output.argmax(1).flatten()
                matrix += torch.bincount(places, minlength=4).reshape(2, 2)
            pictures += len(images)
            loss.item()
        return pictures

    return timed(epoch, epochs)


def lightning(name: str, root: Path, epochs: int, *, tuned: bool) -> list[float]:
    """Train by Lightning's Trainer."""
    import lightning  # pyright: ignore[reportMissingImports]

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain_network(name)
            self.rates: list[float] = []

        def on_train_epoch_start(self) -> None:
            self.start, self.pictures = time.perf_counter(), 0

        def on_train_epoch_end(self) -> None:
            self.rates.append(self.pictures / (time.perf_counter() - self.start))

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            images, masks = batch
            output = self.network(images)
            loss = functional.cross_entropy(output, masks)
            self.pictures += len(images)
            self.log("loss", loss, prog_bar=True)
            self.log("accuracy", (output.argmax(1) == masks).float().mean(), on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    loader = DataLoader(
        ReferencePictures(root),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2 if tuned else 0,
        persistent_workers=tuned,
    )
    module = Module()
    with TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            precision="bf16-mixed" if tuned and has_bf16() else "32-true",
            default_root_dir=folder,
        )
        trainer.fit(module, loader)
    return module.rates


def step(name: str, root: Path, epochs: int) -> list[float]:
    """Take the fastest step known here on a batch in memory."""
    model = network(name).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    samples = [ReferencePictures(root)[index] for index in range(BATCH)]
    images = torch.stack([image for image, _ in samples]).to(memory_format=torch.channels_last)
    masks = torch.stack([mask for _, mask in samples])
    steps = max(1, len(pairs(root)) // BATCH)

    def epoch() -> int:
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
                output = model(images)
            losses = [functional.cross_entropy(one.float(), masks) for one in heads(output)]
            torch.stack(losses).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return steps * BATCH

    return timed(epoch, epochs)


def heads(output: Tensor | dict[str, Tensor]) -> list[Tensor]:
    """Return the logits of a network, which in training may have a second head."""
    return list(output.values()) if isinstance(output, dict) else [output]


def has_bf16() -> bool:
    """Whether the processor multiplies bf16."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def segzoo_train(name: str, root: Path, epochs: int) -> list[float]:
    """Train by segzoo, with the same recipe."""
    import segzoo

    model, options = MODELS[name]
    with TemporaryDirectory() as folder:
        segzoo.fit(
            model=model,
            model_options=options,
            data="hk",
            root=str(root),
            recipe="tutorial",
            epochs=epochs,
            size=SIZE,
            batch_size=BATCH,
            data_options={"val": "0"},
            out=f"{folder}/run",
            progress=False,
        )
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["images_per_second"] for line in lines]


def peak(name: str) -> dict[str, float]:
    """Return the step's operations for a picture, and how many a second matrices are multiplied by.

    A multiplication and an addition are two operations. Matrices are 2048 x 2048, in the step's
    precision.
    """
    model = network(name).train()
    images = torch.rand(2, 3, SIZE, SIZE)
    with FlopCounterMode(display=False) as counter:
        output = model(images)
        torch.stack([one.sum() for one in heads(output)]).sum().backward()
    dtype = torch.bfloat16 if has_bf16() else torch.float32
    one, two = torch.rand(2, 2048, 2048).to(dtype)
    rates = []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(one, two)
        rates.append(2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return {
        "gflop_per_picture": counter.get_total_flops() / len(images) / 1e9,
        "gflops_per_second": max(rates),
    }


CONTESTANTS: dict[str, Callable[[str, Path, int], list[float]]] = {
    "tutorial": tutorial,
    "reference": reference,
    "lightning": lambda *how: lightning(*how, tuned=False),
    "lightning-tuned": lambda *how: lightning(*how, tuned=True),
    "step": step,
    "segzoo": segzoo_train,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=[*CONTESTANTS, "peak"])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    if given.contestant == "peak":
        print(json.dumps(peak(given.model)))
        return
    rates = CONTESTANTS[given.contestant](given.model, given.root, given.epochs)
    print(json.dumps({"rates": rates, "bf16": has_bf16(), "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
