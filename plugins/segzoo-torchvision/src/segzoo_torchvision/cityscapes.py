"""Cityscapes (Cordts et al., CVPR 2016): 19 classes of street scenes from 50 cities.

``leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png`` with the ids in ``gtFine/SPLIT/CITY/
NAME_gtFine_labelIds.png`` (or gtCoarse), listed by torchvision.datasets.Cityscapes, whose table
says which of the 34 ids are the 19 classes that are scored; the others are not labelled.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import Cityscapes

from segzoo.data.roots import find_root
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.pairs import IGNORE, PairDataset, id_table, read_ids
from segzoo_torchvision.plugin import CITYSCAPES_HOMEPAGE, CityscapesOptions
from segzoo_torchvision.standin import HEIGHT, WIDTH, scene

PICTURE = "_leftImg8bit.png"
TABLE = id_table({c.id: min(c.train_id, IGNORE) for c in Cityscapes.classes if c.id >= 0})


def build_cityscapes(*, root: Path | None, split: str, options: CityscapesOptions) -> PairDataset:
    """Build `cityscapes`: `train` or `val`, and `test` for who has its labels.

    The release has blank labels for `test`, which count as none.
    """
    found = find_root("cityscapes", root, _is_root, homepage=CITYSCAPES_HOMEPAGE)
    gt = "gtFine" if options.mode == "fine" else "gtCoarse"
    for folder in (found / "leftImg8bit" / split, found / gt / split):
        if not folder.is_dir():
            raise MissingSplitError(
                f"data set `cityscapes` has no `{split}` split with mode={options.mode}: "
                f"{folder}: no such folder"
            )
    try:
        listed = Cityscapes(str(found), split=split, mode=options.mode, target_type="semantic")
    except (OSError, ValueError, RuntimeError) as error:
        raise SegzooError(f"{found} is not laid out as Cityscapes: {error}") from error
    pairs = sorted(
        (Path(image), Path(targets[0]))
        for image, targets in zip(listed.images, listed.targets, strict=True)
        if image.endswith(PICTURE)
    )
    keys = [image.name.removesuffix(PICTURE) for image, _ in pairs]
    read_labels = partial(read_ids, table=TABLE)
    dataset = PairDataset(keys, [i for i, _ in pairs], [m for _, m in pairs], read_labels)
    if not keys:
        raise MissingSplitError(f"data set `cityscapes` in {found} has no `{split}` pictures")
    if split == "test" and bool((read_labels(dataset.masks[0]) == IGNORE).all()):
        raise MissingSplitError(
            f"data set `cityscapes` has no labels for `test`: {dataset.masks[0]} is blank",
            "score on `val`, or send predictions to the evaluation server",
        )
    return dataset


def _is_root(folder: Path) -> bool:
    gt = (folder / "gtFine", folder / "gtCoarse")
    return (folder / "leftImg8bit").is_dir() and any(path.is_dir() for path in gt)


def write_sample(root: Path) -> None:
    """Write 14 training, 6 val and 2 unlabelled test scenes, fine and coarse, in its layout.

    Roads, persons (discs) and cars (boxes) with sky above, and at the bottom the own car's hood.
    """
    index = 0
    ids = {c.name: c.id for c in Cityscapes.classes}
    drawn = (ids["road"], ids["person"], ids["car"])
    for split, city, count in (("train", "aachen", 8), ("train", "bochum", 6),
                               ("val", "frankfurt", 6), ("test", "berlin", 2)):  # fmt: skip
        for number in range(count):
            picture, labels = scene(200 + index, drawn)
            index += 1
            pixels, fine = np.array(picture), np.array(labels)
            sky = (fine == ids["road"]) & (np.arange(HEIGHT)[:, None] < HEIGHT // 3)
            fine[sky] = ids["sky"]
            pixels[sky] = pixels[sky] // 2 + (35, 65, 90)
            fine[-6:] = ids["ego vehicle"]
            if split == "test":
                fine[:-6] = ids["unlabeled"]
            coarse = np.where(np.arange(WIDTH) % 16 < 12, fine, ids["unlabeled"])
            stem = f"{city}_{number:06d}_000019"
            _save(root / "leftImg8bit" / split / city / f"{stem}{PICTURE}", pixels)
            _save(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", fine)
            if split != "test":
                path = root / "gtCoarse" / split / city / f"{stem}_gtCoarse_labelIds.png"
                _save(path, coarse.astype(np.uint8))


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
