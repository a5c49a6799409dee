"""The truth of a data folder by chance, its pictures, and what in it is no data."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 12
COLOURS = [(0, 0, 0), (200, 30, 30), (40, 190, 60), (50, 60, 210), (230, 220, 40)]
NAMES = ["ground", "cat", "dog", "traffic light", "car 2"]
ROTATED = {1: 0, 3: 2, 6: 1, 8: 3}
"""EXIF orientations, each with the quarter turns by which a viewer's picture was turned to be
stored so.
"""


@dataclass
class World:
    """A folder's truth: items by number, each with its grey levels and its classes, 0..1 and ids.

    `said` are words of which one must be in a notice where something is not as the truth has it.
    """

    classes: int
    grey: list[np.ndarray] = field(default_factory=list)
    ids: list[np.ndarray] = field(default_factory=list)
    val: set[int] = field(default_factory=set)
    named: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    made_of: list[str] = field(default_factory=list)
    doubtful: dict[str, set[int]] = field(default_factory=dict)
    masks_as_stored: bool = False


def _rgb(grey: np.ndarray) -> Image.Image:
    return Image.fromarray((grey * 255).round().astype(np.uint8)).convert("RGB")


def save(picture: Image.Image, path: Path, ending: str, **how: Any) -> str:
    target = path.parent / f"{path.name}{ending}"
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = {".JPG": "JPEG", ".jpg": "JPEG", ".PNG": "PNG"}.get(ending)
    picture.save(target, kind, **how)
    return ending


def png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]), path, chance.choice((".png", ".PNG")))


def grey_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]).convert("L"), path, ".png")


def rgba_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]).convert("RGBA"), path, ".png")


def palette_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]).convert("L").convert("P"), path, ".png")


def jpeg(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]), path, chance.choice((".jpg", ".jpeg", ".JPG")), quality=95)


def cmyk_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(_rgb(world.grey[n]).convert("CMYK"), path, ".tif")


def other_format(path: Path, world: World, n: int, chance: random.Random) -> str:
    ending = chance.choice((".webp", ".bmp", ".tiff", ".ppm", ".avif", ".gif"))
    how = {".webp": {"lossless": True}, ".avif": {"quality": 100}}.get(ending, {})
    return save(_rgb(world.grey[n]), path, ending, **how)


def twelve_bits(path: Path, world: World, n: int, chance: random.Random) -> str:
    pixels = (world.grey[n] * 4095).round().astype(np.uint16)
    return save(Image.fromarray(pixels), path, chance.choice((".png", ".tif")))


def sixteen_bits(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(Image.fromarray((world.grey[n] * 65535).round().astype(np.uint16)), path, ".png")


def int32_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(Image.fromarray((world.grey[n] * 255).round().astype(np.int32)), path, ".tif")


def float_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return save(Image.fromarray(world.grey[n].astype(np.float32)), path, ".tif")


def two_pages(path: Path, world: World, n: int, chance: random.Random) -> str:
    more = [Image.new("RGB", (5, 5), (255, 0, 0))]
    return save(_rgb(world.grey[n]), path, ".tif", save_all=True, append_images=more)


def turned(path: Path, world: World, n: int, chance: random.Random) -> str:
    """Store a picture turned, with EXIF that turns it back, or a mask that was not turned."""
    orientation = chance.choice(list(ROTATED))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.rot90(np.array(_rgb(world.grey[n])), ROTATED[orientation]).copy())
    if n == 0:
        world.masks_as_stored = chance.random() < 0.4
    if world.masks_as_stored and orientation != 1:
        # The masks were drawn on the stored pixels: it must be said that they may not agree.
        world.ids[n] = np.rot90(world.ids[n], ROTATED[orientation]).copy()
        world.doubtful.setdefault("EXIF", set()).add(n)
    return save(stored, path, ".jpg", exif=exif, quality=95)


IMAGES: tuple[Callable[..., str], ...] = (
    *(png, png, jpeg, jpeg, grey_png, rgba_png, palette_png, cmyk_tiff, other_format),
    *(twelve_bits, sixteen_bits, int32_tiff, float_tiff, two_pages, turned),
)
Places = dict[int, tuple[str, str]]


def hidden_copies(root: Path, world: World, names: Places, chance: random.Random) -> None:
    for kind in ("images", "masks"):
        folder = root / kind / ".ipynb_checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (SIDE, SIDE)).save(folder / "k9-checkpoint.png")
        (root / kind / "._k9.png").write_bytes(b"\0\5\x16\7")


def other_pictures(root: Path, world: World, names: Places, chance: random.Random) -> None:
    folder = root / chance.choice(("holdout", "examples", "old"))
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.new("L", (SIDE, SIDE)).save(folder / kind / "z.png")


def visualised(root: Path, world: World, names: Places, chance: random.Random) -> None:
    """Write a picture of each mask beside it, as labelling tools do."""
    for number, (_, mask) in names.items():
        path = root / f"{mask}_{chance.choice(('color', 'vis'))}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(COLOURS, np.uint8)[world.ids[number] % 5]).save(path)


def annotations(root: Path, world: World, names: Places, chance: random.Random) -> None:
    for _, (image, _mask) in names.items():
        text = json.dumps({"shapes": [], "imagePath": image})
        (root / f"{image}.json").write_text(text)


def lone_files(root: Path, world: World, names: Places, chance: random.Random) -> None:
    """Take one mask away: the picture is left out, and said."""
    number = chance.choice(list(names))
    for path in (root / names[number][1]).parent.glob(f"{Path(names[number][1]).name}.*"):
        path.unlink()
    world.doubtful.setdefault("without a mask", set()).add(number)
    world.doubtful.setdefault("without a pair", set()).add(number)


def links(root: Path, world: World, names: Places, chance: random.Random) -> None:
    first = sorted(child for child in root.iterdir() if child.is_dir())
    if first:
        (root / "again").symlink_to(first[0])


EXTRAS = (hidden_copies, other_pictures, visualised, annotations, lone_files, links)
