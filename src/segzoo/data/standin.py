"""Small generated stand-ins, in the real formats, for `--sample` and for tests."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def figure(index: int, *, height: int = 96, width: int = 72) -> tuple[Image.Image, Image.Image]:
    """Draw a plain head and shoulders: (RGB picture, 8-bit matte with soft edges), by index."""
    rng = np.random.default_rng((20, index))
    scale = 4
    big = (width * scale, height * scale)
    centre = width * scale * rng.uniform(0.4, 0.6)
    head = width * scale * rng.uniform(0.16, 0.22)
    top = height * scale * rng.uniform(0.28, 0.4)
    matte = Image.new("L", big)
    draw = ImageDraw.Draw(matte)
    draw.ellipse((centre - head, top - 1.3 * head, centre + head, top + 1.3 * head), fill=255)
    shoulders = head * rng.uniform(1.9, 2.6)
    draw.ellipse((centre - shoulders, top + 1.4 * head, centre + shoulders, 2 * big[1]), fill=255)
    matte = matte.filter(ImageFilter.GaussianBlur(2)).resize((width, height), Image.Resampling.BOX)
    skin, ground = rng.integers(90, 230, 3), rng.integers(20, 230, 3)
    alpha = np.asarray(matte, np.float32)[..., None] / 255
    rows = np.linspace(0, 1, height)[:, None, None]
    person = skin * (1 - 0.4 * rows) + rng.normal(0, 6, (height, width, 3))
    scene = ground * (0.7 + 0.5 * rows) + rng.normal(0, 18, (height, width, 3))
    pixels = alpha * person + (1 - alpha) * scene
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), matte


def shapes(index: int, *, height: int = 80, width: int = 96) -> tuple[Image.Image, Image.Image]:
    """Draw discs (1) and boxes (2) on a noisy ground (0): (RGB picture, 8-bit class ids)."""
    rng = np.random.default_rng((21, index))
    labels = Image.new("L", (width, height))
    draw = ImageDraw.Draw(labels)
    for _ in range(4):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(0.1, 0.25) * height
        box = (x - radius, y - radius, x + radius, y + radius)
        if rng.random() < 0.5:
            draw.ellipse(box, fill=1)
        else:
            draw.rectangle(box, fill=2)
    colours = np.array([[70, 90, 110], [190, 80, 70], [80, 170, 90]]) + rng.normal(0, 15, (3, 3))
    pixels = colours[np.asarray(labels)] + rng.normal(0, 14, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), labels


def write_folder(root: Path) -> None:
    """Write 24 training and 8 validation pairs of `shapes` as ``images/train``, ``masks/train``."""
    for split, indices in (("train", range(24)), ("val", range(24, 32))):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for index in indices:
            image, labels = shapes(index)
            image.save(root / "images" / split / f"{index:03d}.jpg", quality=95)
            labels.save(root / "masks" / split / f"{index:03d}.png")
