"""Oxford-IIIT Pet (Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012).

``images/NAME.jpg`` with the trimap ``annotations/trimaps/NAME.png`` (1 pet, 2 background, 3 their
border), listed in ``annotations/trainval.txt`` and ``test.txt``. The lists are read here and not
by torchvision.datasets.OxfordIIITPet, which takes no folder but one named oxford-iiit-pet.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from segzoo.data.splits import carve
from segzoo.data.standin import figure
from segzoo.errors import MissingSplitError
from segzoo_torchvision.pairs import IGNORE, PairDataset, id_table, locate, read_ids, read_list
from segzoo_torchvision.plugin import PET_CLASSES, PET_HOMEPAGE, PetOptions
from segzoo_torchvision.standin import HEIGHT, WIDTH

LISTS = {"train": "trainval", "val": "trainval", "test": "test"}
PET, BACKGROUND, BORDER = 1, 2, 3  # as the trimaps have them
TABLES = {
    "pet": id_table({BACKGROUND: 0, PET: 1, BORDER: IGNORE}),
    "trimap": id_table({BACKGROUND: 0, PET: 1, BORDER: 2}),
}


class PetDataset(PairDataset):
    """Pairs whose classes depend on the option `classes`."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def build_oxford_pet(*, root: Path | None, split: str, options: PetOptions) -> PetDataset:
    """Build `oxford-pet`: `train` and `val` are carved from trainval.txt, `test` is test.txt."""
    fetch = _download if options.download else None
    found = locate("oxford-pet", root, _is_root, PET_HOMEPAGE, fetch)
    if split not in LISTS:
        raise MissingSplitError(f"data set `oxford-pet` has no `{split}` split")
    keys = read_list(found / "annotations" / f"{LISTS[split]}.txt", "oxford-pet", split)
    if split != "test":
        keys = carve(keys, options.val)[0 if split == "train" else 1]
    if not keys:
        raise MissingSplitError(
            f"data set `oxford-pet` has no `{split}` split with val={options.val:g}"
        )
    images = [found / "images" / f"{key}.jpg" for key in keys]
    masks = [found / "annotations" / "trimaps" / f"{key}.png" for key in keys]
    dataset = PetDataset(keys, images, masks, partial(read_ids, table=TABLES[options.classes]))
    count = 2 if options.classes == "pet" else 3
    dataset.classes = tuple(PET_CLASSES)[:count]
    dataset.palette = tuple(PET_CLASSES.values())[:count]
    return dataset


def _download(target: Path) -> None:
    OxfordIIITPet(target, target_types="segmentation", download=True)


def _is_root(folder: Path) -> bool:
    return (folder / "annotations" / "trimaps").is_dir() and (folder / "images").is_dir()


def write_sample(root: Path) -> None:
    """Write 16 pictures of trainval and 6 of test, figures of two breeds, in Pet's layout."""
    found = root / "oxford-iiit-pet"
    (found / "images").mkdir(parents=True)
    (found / "annotations" / "trimaps").mkdir(parents=True)
    everything = ["#Image CLASS-ID SPECIES BREED ID\n"]
    for name, indices in (("trainval", range(16)), ("test", range(16, 22))):
        lines = []
        for index in indices:
            # Cats have capital letters, the columns are class, species (1 cat, 2 dog) and breed.
            breed, columns = (("Abyssinian", "1 1 1"), ("beagle", "2 2 1"))[index % 2]
            key = f"{breed}_{index + 1}"
            lines.append(f"{key} {columns}\n")
            picture, matte = figure(500 + index, height=WIDTH, width=HEIGHT)
            picture.save(found / "images" / f"{key}.jpg", quality=95)
            alpha_HW = np.asarray(matte)
            trimap_HW = np.select([alpha_HW > 230, alpha_HW < 25], [PET, BACKGROUND], BORDER)
            trimap = Image.fromarray(trimap_HW.astype(np.uint8))
            trimap.save(found / "annotations" / "trimaps" / f"{key}.png")
        (found / "annotations" / f"{name}.txt").write_text("".join(lines))
        everything += lines
    (found / "annotations" / "list.txt").write_text("".join(everything))
