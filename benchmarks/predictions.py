"""One contestant of benchmarks/prediction.py: segments a folder, and prints JSON with its speed.

Every one segments the same photographs with the same weights, and writes a mask, or a cut-out, of
each at its own size::

    python benchmarks/predictions.py loop WEIGHTS PHOTOS OUT

- loop: a picture at a time, as people write it: Pillow, resize, fp32, logits brought to the
  picture's size, argmax, PNG.
- onnx: the same with the network exported to ONNX and run by onnxruntime.
- segzoo: `segzoo predict --save mask`.
- rembg: a cut-out as rembg makes one by default: the alpha at the network's size, enlarged by
  Pillow, put on the picture as it is; PNG.
- cutout: `segzoo predict --save cutout`, which finds the foreground's own colours besides.
- score-loop, score: the mean IoU of the pictures with their masks, by such a loop with numpy, and
  by `segzoo evaluate`; PHOTOS is then a folder in the layout of `hk`.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


class Plain:
    """What a script of one's own has: the network, and what goes in."""

    def __init__(self, weights: Path) -> None:
        import segzoo

        segmenter = segzoo.load(weights, device="cpu", precision="fp32")
        self.info = segmenter.info
        self.network = segmenter.model.to(memory_format=torch.contiguous_format).eval()
        mean, std = (np.array(values, np.float32) for values in (self.info.mean, self.info.std))
        self.mean, self.std = mean, std
        self.height, self.width = self.info.size

    def pixels(self, image: Image.Image) -> Tensor:
        """Return what the network takes, 1 x 3 x h x w."""
        small = np.array(image.resize((self.width, self.height), Image.Resampling.BILINEAR))
        values = (small.astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(values.transpose(2, 0, 1))[None]

    @torch.no_grad()
    def logits(self, pixels: Tensor) -> Tensor:
        """Return logits_1Khw."""
        return self.network(pixels)


def loop(weights: Path, photos: list[Path], out: Path) -> None:
    plain = Plain(weights)
    masks(photos, out, plain, plain.logits)


def onnx(weights: Path, photos: list[Path], out: Path) -> None:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    plain = Plain(weights)
    example = torch.zeros(1, 3, plain.height, plain.width)
    file = out / "network.onnx"
    torch.onnx.export(plain.network, (example,), str(file), dynamo=True)
    session = onnxruntime.InferenceSession(str(file))
    name = session.get_inputs()[0].name
    masks(
        photos,
        out,
        plain,
        lambda pixels: torch.from_numpy(session.run(None, {name: pixels.numpy()})[0]),
    )


def masks(photos: list[Path], out: Path, plain: Plain, network: Callable[[Tensor], Tensor]) -> None:
    """Write masks by the loop that people write."""
    for path in photos:
        image = Image.open(path).convert("RGB")
        logits = network(plain.pixels(image))
        full = functional.interpolate(logits, (image.height, image.width), mode="bilinear")
        mask = full.argmax(1)[0].numpy().astype(np.uint8)
        Image.fromarray(mask).save(out / f"{path.stem}.png")


def rembg(weights: Path, photos: list[Path], out: Path) -> None:
    plain = Plain(weights)
    for path in photos:
        image = Image.open(path).convert("RGB")
        alpha = 1 - plain.logits(plain.pixels(image)).softmax(1)[0, 0].numpy()
        matte = Image.fromarray((alpha * 255).astype(np.uint8))
        matte = matte.resize(image.size, Image.Resampling.LANCZOS)
        empty = Image.new("RGBA", image.size, 0)
        Image.composite(image.convert("RGBA"), empty, matte).save(out / f"{path.stem}.png")


def segzoo_predict(weights: Path, photos: list[Path], out: Path, save: str) -> None:
    from segzoo.inference.files import predict_files

    predict_files(weights, photos, out, save=save, device="cpu")


def score_loop(weights: Path, root: Path) -> float:
    plain = Plain(weights)
    matrix = np.zeros((2, 2), np.int64)
    for path in sorted((root / "testing").glob("*_matte.png")):
        image = Image.open(path.with_name(path.name.replace("_matte", ""))).convert("RGB")
        matte = Image.open(path).convert("L").resize((plain.width, plain.height))
        truth = (np.array(matte) > 127).astype(np.int64)
        found = plain.logits(plain.pixels(image)).argmax(1)[0].numpy()
        matrix += np.bincount((2 * truth + found).ravel(), minlength=4).reshape(2, 2)
    hits = np.diag(matrix)
    return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())


def score(weights: Path, root: Path) -> float:
    from segzoo.inference.evaluation import evaluate_weights

    found = evaluate_weights(weights, data="hk", root=str(root), split="test", device="cpu")
    return float(found["scores"]["mean_iou"])


CONTESTANTS: dict[str, Callable[[Path, list[Path], Path], Any]] = {
    "loop": loop,
    "onnx": onnx,
    "segzoo": partial(segzoo_predict, save="mask"),
    "rembg": rembg,
    "cutout": partial(segzoo_predict, save="cutout"),
}
SCORES = {"score-loop": score_loop, "score": score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=[*CONTESTANTS, *SCORES])
    parser.add_argument("weights", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    photos = sorted(path for path in given.photos.iterdir() if path.suffix == ".jpg")
    given.out.mkdir(parents=True, exist_ok=True)
    # One picture first: what is loaded and compiled at first use is no part of any of them.
    value = None
    if given.contestant in SCORES:
        count = len(list((given.photos / "testing").glob("*_matte.png")))
        SCORES[given.contestant](given.weights, given.photos)
        start = time.perf_counter()
        value = SCORES[given.contestant](given.weights, given.photos)
    else:
        count = len(photos)
        CONTESTANTS[given.contestant](given.weights, photos[:1], given.out)
        start = time.perf_counter()
        CONTESTANTS[given.contestant](given.weights, photos, given.out)
    seconds = time.perf_counter() - start
    print(json.dumps({"pictures_per_second": count / seconds, "score": value}))


if __name__ == "__main__":
    main()
