"""Data folders by chance with a known truth: what `folder` reads is the truth, or it is refused.

A folder has random names, splits, formats, depths, bands, orientations, palettes, lists of classes
and things that are no data. What is read wrongly without a notice about it is a failure.
"""

import json
import os
import random
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from campaign.folder_masks import MASKS
from campaign.folder_worlds import EXTRAS, IMAGES, SIDE, World, other_pictures
from segzoo.data.folder.dataset import build_folder
from segzoo.data.plugin import FolderOptions
from segzoo.errors import MissingSplitError, SegzooError


def folders(root: Path, out: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Build `count` folders and read them; return what came out of it."""
    found = {"folders": 0, "read": 0, "refused": 0, "said": 0}
    failures: list[str] = []
    for _ in range(count):
        seed = chance.getrandbits(48)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            outcome, fault = try_folder(Path(folder, "set"), random.Random(seed))
        found["folders"] += 1
        found[outcome if outcome in found else "said"] += 1
        if fault:
            failures.append(f"seed {seed}: {fault}")
    return {**found, "failures": failures[:50]}


def try_folder(root: Path, chance: random.Random) -> tuple[str, str]:
    """Write one folder and read it: (read, refused or said; what was silently wrong, or "")."""
    world = _world(chance)
    _write(root, world, chance)
    told = " + ".join(world.made_of)
    try:
        built = {}
        for split in ("train", "val", "test"):
            try:
                options = FolderOptions(**{"val": 0.0, **world.options})
                built[split] = build_folder(root=root, split=split, options=options)
            except MissingSplitError:
                continue
        samples = {
            split: [data[index] for index in range(len(data))] for split, data in built.items()
        }
    except SegzooError as error:
        if os.environ.get("SHOW_REFUSALS"):
            print(told, "\n   ", str(error).replace(str(root), "ROOT")[:300])
        return "refused", ""
    except Exception as error:
        return "raised", f"{told}: {type(error).__name__}: {error}"
    notices = " ".join(text for data in built.values() for text in data.notices)
    fault = _compare(world, built, samples, notices)
    return ("said" if notices else "read"), f"{told}: {fault}" if fault else ""


def _world(chance: random.Random) -> World:
    world = World(chance.choice((2, 2, 3, 4)))
    rng = np.random.default_rng(chance.getrandbits(32))
    for number in range(chance.randint(3, 6)):
        height, width = SIDE, chance.choice((SIDE, SIDE + 4))
        grey = np.linspace(0.1, 0.9, height * width).reshape(height, width)
        grey = np.clip(grey + 0.02 * number, 0, 1)
        ids = np.zeros((height, width), np.uint8)
        for label in range(1, world.classes):  # The classes' shapes differ, and lie asymmetrically.
            top, left = 3 * (label - 1), int(rng.integers(0, 4))
            ids[top : top + 2, left : left + 3 + label] = label
        ids[-1, : number + 1] = 1
        world.grey.append(grey)
        world.ids.append(ids)
    return world


LAYOUTS = (
    *(("{s}images/{k}", "{s}masks/{k}"), ("{s}Images/{k}", "{s}Masks/{k}")),
    *(("images/{s}{k}", "masks/{s}{k}"), ("img_dir/{s}{k}", "ann_dir/{s}{k}")),
    *(("{s}images/img_{k}", "{s}masks/mask_{k}"), ("{s}{k}_sat", "{s}{k}_mask")),
    *(("JPEGImages/{s}{k}", "SegmentationClass/{s}{k}"), ("{s}images/{k}", "{s}labels/{k}_gt")),
    *(("{s}images/a/{k}", "{s}masks/a/{k}"), ("set/{s}images/{k}", "set/{s}masks/{k}")),
    *(("{s}images/x{k}", "{s}masks/x{k}_foo"), ("{s}photos/{k}", "{s}result/{k}")),
    ("{s}images/x{k}", "{s}masks/y{k}"),
)
SPLITS = (("train", "val"), ("Train", "Validation"), ("training", "valid"), ("train", "dev"))


def _write(root: Path, world: World, chance: random.Random) -> None:
    layout = chance.choice(LAYOUTS)
    splits = chance.choice(("none", "none", "folders", "lists"))
    words = chance.choice(SPLITS)
    count = len(world.grey)
    if splits != "none":
        world.val = set(chance.sample(range(count), max(1, count // 3)))
    spelling = chance.choice(("plain", "plain", "plain", "accent", "case"))
    world.made_of += [f"{layout[0]} {layout[1]}", splits, spelling]
    names: dict[int, tuple[str, str]] = {}
    for number in range(count):
        folder = f"{words[number in world.val]}/" if splits == "folders" else ""
        key = f"k{number}"
        keys = {
            "plain": (key, key),
            "accent": tuple(unicodedata.normalize(f, "é" + key) for f in ("NFC", "NFD")),
            "case": (key.upper(), key),
        }[spelling]
        image, mask = (p.format(s=folder, k=k) for p, k in zip(layout, keys, strict=True))
        names[number] = (image, mask)
    write_image = chance.choice(IMAGES)
    write_masks = chance.choice(MASKS)
    world.made_of += [write_image.__name__, write_masks.__name__]
    extras = chance.sample(EXTRAS, chance.choice((0, 0, 1, 2)))
    if "set/" in layout[0] and other_pictures in extras:
        extras.remove(other_pictures)  # Folders beside each other are all data.
    endings = {n: write_image(root / image, world, n, chance) for n, (image, _) in names.items()}
    write_masks({n: root / mask for n, (_, mask) in names.items()}, root, world, chance)
    if splits == "lists":
        _write_lists(root, world, {n: names[n][0] + endings[n] for n in names}, chance)
    for extra in extras:
        world.made_of.append(extra.__name__)
        extra(root, world, names, chance)


def _write_lists(root: Path, world: World, images: dict[int, str], chance: random.Random) -> None:
    folder = root / chance.choice(("", "ImageSets/Segmentation", "splits"))
    folder.mkdir(parents=True, exist_ok=True)
    form = chance.choice((lambda p: p, lambda p: Path(p).stem, lambda p: f"/other/{p} {p}"))
    for split, numbers in (("train", set(images) - world.val), ("val", world.val)):
        lines = [form(images[number]) for number in sorted(numbers)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _compare(
    world: World, built: dict[str, Any], samples: dict[str, list[Any]], notices: str
) -> str:
    """Return what is silently wrong with what was read, or ""."""
    meaning: dict[int, int] = {}
    seen: dict[int, str] = {}
    for split, several in samples.items():
        for sample in several:
            number = _number(sample.key)
            if number is None or number >= len(world.grey):
                if "left out of" in notices:  # Another folder was understood, and this one not.
                    return ""
                return f"`{sample.key}` is not a picture of it"
            if number in seen:
                return f"`{sample.key}` is read twice"
            seen[number] = split
            if fault := _compare_sample(world, built[split].classes, sample, number, meaning):
                excused = any(
                    n in numbers and word in notices
                    for word, numbers in world.doubtful.items()
                    for n in (number,)
                )
                if not excused:
                    return f"`{sample.key}`: {fault}"
    for number in range(len(world.grey)):
        expected = "val" if number in world.val else "train"
        if number not in seen:
            if not any(
                n == number and word in notices
                for word, numbers in world.doubtful.items()
                for n in numbers
            ):
                return f"picture {number} is not read, and no notice says so: {notices!r}"
        elif seen[number] != expected:
            return f"picture {number} is of {expected} and read as {seen[number]}"
    return ""


def _number(key: str) -> int | None:
    name = key.rpartition("/")[2].casefold()
    place = name.rfind("k")
    digits = name[place + 1 : place + 2]
    return int(digits) if digits.isdigit() else None


def _compare_sample(
    world: World, classes: tuple[str, ...], sample: Any, number: int, meaning: dict[int, int]
) -> str:
    truth, ids = world.grey[number], world.ids[number]
    if number in world.doubtful.get("EXIF", ()):
        return "the picture is turned and its mask is not"
    image = sample.image.float().mean(0).numpy()
    if image.shape != truth.shape:
        return f"the picture is {image.shape}, not {truth.shape}"
    apart = np.abs(image / 255 - truth).mean()
    scale = float(image.std() / 255 / truth.std())
    if np.corrcoef(image.ravel(), truth.ravel())[0, 1] < 0.97 or not 0.9 < scale < 1.1:
        return f"other pixels: {apart:.3f} apart, contrast {scale:.2f}"
    target = sample.target.numpy()
    if target.shape != ids.shape:
        return f"the mask is {target.shape}, not {ids.shape}"
    for label, true in {(int(a), int(b)) for a, b in zip(target.flat, ids.flat, strict=True)}:
        if true == 255 or label == 255:
            if true != label:
                return f"{true} is read as {label}"
        elif world.named and label != true:
            return f"class {true} is read as {label} ({classes})"
        elif meaning.setdefault(label, true) != true:
            return f"{label} stands for the classes {meaning[label]} and {true}"
    return ""


if __name__ == "__main__":
    import sys

    with tempfile.TemporaryDirectory() as scratch:
        result = folders(Path(), Path(scratch), int(sys.argv[1]), random.Random(sys.argv[2]))
    print(json.dumps(result, indent=1, ensure_ascii=False))
