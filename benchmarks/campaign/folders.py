"""Data folders by chance with a known truth: what `folder` reads is the truth, or it is refused.

A folder has random names, splits, formats, depths, bands, orientations, palettes, lists of classes
and things that are no data. What is read wrongly without a notice about it is a failure.
"""

import json
import os
import random
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segzoo.builtin import FolderOptions
from segzoo.data.folder import build_folder
from segzoo.errors import MissingSplitError, SegzooError

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


def _rgb(grey: np.ndarray) -> Image.Image:
    return Image.fromarray((grey * 255).round().astype(np.uint8)).convert("RGB")


def _save(picture: Image.Image, path: Path, ending: str, **how: Any) -> str:
    target = path.parent / f"{path.name}{ending}"
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = {".JPG": "JPEG", ".jpg": "JPEG", ".PNG": "PNG"}.get(ending)
    picture.save(target, kind, **how)
    return ending


def png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]), path, chance.choice((".png", ".PNG")))


def grey_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]).convert("L"), path, ".png")


def rgba_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]).convert("RGBA"), path, ".png")


def palette_png(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]).convert("L").convert("P"), path, ".png")


def jpeg(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]), path, chance.choice((".jpg", ".jpeg", ".JPG")), quality=95)


def cmyk_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(_rgb(world.grey[n]).convert("CMYK"), path, ".tif")


def other_format(path: Path, world: World, n: int, chance: random.Random) -> str:
    ending = chance.choice((".webp", ".bmp", ".tiff", ".ppm", ".avif", ".gif"))
    how = {".webp": {"lossless": True}, ".avif": {"quality": 100}}.get(ending, {})
    return _save(_rgb(world.grey[n]), path, ending, **how)


def twelve_bits(path: Path, world: World, n: int, chance: random.Random) -> str:
    pixels = (world.grey[n] * 4095).round().astype(np.uint16)
    return _save(Image.fromarray(pixels), path, chance.choice((".png", ".tif")))


def sixteen_bits(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(Image.fromarray((world.grey[n] * 65535).round().astype(np.uint16)), path, ".png")


def int32_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(Image.fromarray((world.grey[n] * 255).round().astype(np.int32)), path, ".tif")


def float_tiff(path: Path, world: World, n: int, chance: random.Random) -> str:
    return _save(Image.fromarray(world.grey[n].astype(np.float32)), path, ".tif")


def two_pages(path: Path, world: World, n: int, chance: random.Random) -> str:
    more = [Image.new("RGB", (5, 5), (255, 0, 0))]
    return _save(_rgb(world.grey[n]), path, ".tif", save_all=True, append_images=more)


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
    return _save(stored, path, ".jpg", exif=exif, quality=95)


IMAGES: tuple[Callable[..., str], ...] = (
    *(png, png, jpeg, jpeg, grey_png, rgba_png, palette_png, cmyk_tiff, other_format),
    *(twelve_bits, sixteen_bits, int32_tiff, float_tiff, two_pages, turned),
)
Masks = dict[int, Path]


def _each(
    paths: Masks, world: World, ending: str, make: Callable[[np.ndarray], Image.Image]
) -> None:
    for number, path in paths.items():
        _save(make(world.ids[number]), path, ending)


def id_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    kind = chance.choice((np.uint8, np.uint16, np.int32))
    ending = ".tif" if kind == np.int32 else ".png"
    _each(paths, world, ending, lambda ids: Image.fromarray(ids.astype(kind)))
    _maybe_names(root, world, chance)


def array_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    kind = chance.choice((np.uint8, np.int64, np.float32))
    for number, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.parent / f"{path.name}.npy", world.ids[number].astype(kind))
    _maybe_names(root, world, chance)


def binary_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write 0 and 255, 1 bit, or black and white palettes either way round, mixed."""
    _two_classes(world)
    forms = chance.sample(("L", "1", "P", "swapped"), chance.choice((1, 1, 2)))
    for number, path in paths.items():
        front, form = world.ids[number] > 0, chance.choice(forms)
        picture = Image.fromarray((front * 255).astype(np.uint8))
        if form == "1":
            picture = picture.convert("1")
        elif form in ("P", "swapped"):
            index = front if form == "P" else ~front
            picture = Image.fromarray(index.astype(np.uint8), "P")
            picture.putpalette([0, 0, 0, 255, 255, 255] if form == "P" else [255] * 3 + [0] * 3)
        _save(picture, path, ".png")
    world.named = True  # 255 and white are the foreground.


def palette_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write palette pictures: one palette, or for each file one in an order of its own."""
    own = chance.random() < 0.5
    for number, path in paths.items():
        order = list(range(world.classes))
        if own:
            chance.shuffle(order)
        index = np.array(order, np.uint8)[world.ids[number]]
        picture = Image.fromarray(index, "P")
        colours = [COLOURS[order.index(place)] for place in range(world.classes)]
        picture.putpalette([value for colour in colours for value in colour])
        _save(picture, path, ".png")
    if chance.random() < 0.5:
        _class_file(root, world, chance, colours=True)


def colour_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    table = np.array(COLOURS, np.uint8)
    alpha = chance.random() < 0.3

    def make(ids: np.ndarray) -> Image.Image:
        picture = Image.fromarray(table[ids])
        return picture.convert("RGBA") if alpha else picture

    _each(paths, world, ".png", make)
    if chance.random() < 0.9:
        _class_file(root, world, chance, colours=True)


def blended_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write colour masks of which edges are blended: to be refused."""
    table = np.array(COLOURS, np.float32)
    for number, path in paths.items():
        pixels = table[world.ids[number]]
        pixels[:, 1:] = (pixels[:, 1:] + pixels[:, :-1]) / 2
        _save(Image.fromarray(pixels.astype(np.uint8)), path, ".png")
    _class_file(root, world, chance, colours=True)


def lossy_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write masks in formats that change values: to be refused."""
    ending = chance.choice((".jpg", ".webp", ".avif"))
    _each(paths, world, ending, lambda ids: Image.fromarray(ids * 60).convert("RGB"))


def ignored_masks(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write ids with a value that is not labelled: 255 by itself, others by an option."""
    value, kind = chance.choice(((255, np.uint8), (-1, np.int32), (65535, np.uint16)))
    for number, path in paths.items():
        ids = world.ids[number].astype(kind)
        ids[:, -1] = value
        _save(Image.fromarray(ids), path, ".tif" if kind == np.int32 else ".png")
        world.ids[number][:, -1] = 255
    if value != 255 and chance.random() < 0.7:
        world.options["ignore"] = str(value)
    _maybe_names(root, world, chance)


def swapped_ids(paths: Masks, root: Path, world: World, chance: random.Random) -> None:
    """Write ids that are not 0, 1, 2 with a list that says what each means."""
    ids_of = sorted(chance.sample(range(1, 60), world.classes))
    table = np.array(ids_of, np.uint8)
    _each(paths, world, ".png", lambda ids: Image.fromarray(table[ids]))
    form = chance.choice(("{v},{n}", "{v} {n}", "{v}: {n}"))
    lines = [form.format(v=v, n=n) for v, n in zip(ids_of, NAMES, strict=False)]
    head = ["id,name"] if "," in form and chance.random() < 0.5 else []
    (root / "classes.csv").write_text("\n".join([*head, *lines]) + "\n")
    world.options["classes"] = "classes.csv"
    world.named = True


def _two_classes(world: World) -> None:
    world.classes = 2
    world.ids = [(ids > 0).astype(np.uint8) for ids in world.ids]


def _maybe_names(root: Path, world: World, chance: random.Random) -> None:
    if chance.random() < 0.6:
        _class_file(root, world, chance, colours=False)


def _class_file(root: Path, world: World, chance: random.Random, *, colours: bool) -> None:
    names, table = NAMES[: world.classes], COLOURS[: world.classes]
    pairs = list(zip(names, table, strict=True))
    forms = {
        "names": ("classes.txt", "".join(f"{n}\n" for n in names)),
        "roboflow": ("_classes.csv", "Pixel Value, Class\n"
                     + "".join(f"{k}, {n}\n" for k, n in enumerate(names))),
        "labelme": ("class_names.txt", "__ignore__\n" + "".join(f"{n}\n" for n in names)),
        "ids": ("ids.txt", "".join(f"{k} {n}\n" for k, n in enumerate(names))),
    }  # fmt: skip
    if colours:
        forms = {
            "rgb name": ("classes.txt", "".join(f"{r} {g} {b} {n}\n" for n, (r, g, b) in pairs)),
            "name rgb": ("colors.txt", "".join(f"{n} {r} {g} {b}\n" for n, (r, g, b) in pairs)),
            "cvat": ("labelmap.txt", "# label:color_rgb:parts:actions\n"
                     + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in pairs)),
            "csv": ("class_dict.csv", "name,r,g,b\n"
                    + "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in pairs)),
        }  # fmt: skip
    form = chance.choice(list(forms))
    name, text = forms[form]
    data = text.encode()
    if chance.random() < 0.3:
        data = b"\xef\xbb\xbf" + data
    if chance.random() < 0.3:
        data = data.replace(b"\n", b"\r\n")
    (root / name).write_bytes(data)
    world.options["classes"] = name
    world.named = True
    world.made_of.append(f"classes as {form}")


MASKS: tuple[Callable[..., None], ...] = (
    *(id_masks, id_masks, array_masks, binary_masks, binary_masks, palette_masks, palette_masks),
    *(colour_masks, colour_masks, blended_masks, lossy_masks, ignored_masks, swapped_ids),
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
    world.doubtful.setdefault("have no pair", set()).add(number)


def links(root: Path, world: World, names: Places, chance: random.Random) -> None:
    first = sorted(child for child in root.iterdir() if child.is_dir())
    if first:
        (root / "again").symlink_to(first[0])


EXTRAS = (hidden_copies, other_pictures, visualised, annotations, lone_files, links)


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
                return f"`{sample.key}` is no picture of it"
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
