"""The masks of a data folder by chance, in the forms that people store them in, and their lists."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from campaign.folder_worlds import COLOURS, NAMES, World, save

Masks = dict[int, Path]


def _each(
    paths: Masks, world: World, ending: str, make: Callable[[np.ndarray], Image.Image]
) -> None:
    for number, path in paths.items():
        save(make(world.ids[number]), path, ending)


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
        save(picture, path, ".png")
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
        save(picture, path, ".png")
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
        save(Image.fromarray(pixels.astype(np.uint8)), path, ".png")
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
        save(Image.fromarray(ids), path, ".tif" if kind == np.int32 else ".png")
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
