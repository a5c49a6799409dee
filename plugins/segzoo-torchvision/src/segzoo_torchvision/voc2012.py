"""PASCAL VOC 2012 (Everingham et al., 2010): 20 kinds of objects, their borders unlabelled.

``JPEGImages/NAME.jpg`` with the class ids in ``SegmentationClass/NAME.png`` (palette, 255 is not
labelled), listed in ``ImageSets/Segmentation/train.txt`` and ``val.txt``. The list is read here
and not by torchvision.datasets.VOCSegmentation, which takes no folder but VOCdevkit/VOC2012.
"""

from functools import partial
from pathlib import Path

from torchvision.datasets import VOCSegmentation

from segzoo.data.sample import voc_palette
from segzoo.errors import MissingSplitError
from segzoo_torchvision.pairs import IGNORE, PairDataset, id_table, locate, read_ids, read_list
from segzoo_torchvision.plugin import VOC_CLASSES, VOC_HOMEPAGE, VOCOptions
from segzoo_torchvision.standin import scene

LISTS = Path("ImageSets", "Segmentation")
OTHER_YEARS = tuple(f"VOC{year}" for year in range(2005, 2012))
TABLE = id_table({**{index: index for index in range(len(VOC_CLASSES))}, IGNORE: IGNORE})


def build_voc2012(*, root: Path | None, split: str, options: VOCOptions) -> PairDataset:
    """Build `voc2012`: `train` or `val`; the labels of VOC's test are not public."""
    fetch = _download if options.download else None
    found = locate("voc2012", root, _is_root, VOC_HOMEPAGE, fetch)
    if split not in ("train", "val"):
        raise MissingSplitError(
            f"data set `voc2012` has no `{split}` split: VOC's test labels are not public",
            "score on `val`, or send predictions to the evaluation server",
        )
    keys = read_list(found / LISTS / f"{split}.txt", "voc2012", split)
    images = [found / "JPEGImages" / f"{key}.jpg" for key in keys]
    masks = [found / "SegmentationClass" / f"{key}.png" for key in keys]
    return PairDataset(keys, images, masks, partial(read_ids, table=TABLE))


def _download(target: Path) -> None:
    VOCSegmentation(target, year="2012", image_set="train", download=True)


def _is_root(folder: Path) -> bool:
    """Other years have the same layout, and often lie beside it in VOCdevkit."""
    there = (folder / LISTS).is_dir() and (folder / "SegmentationClass").is_dir()
    return there and folder.name not in OTHER_YEARS


def write_sample(root: Path) -> None:
    """Write 14 training and 6 val scenes of persons (discs) and buses (boxes) in VOC's layout."""
    found = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", LISTS):
        (found / folder).mkdir(parents=True)
    colours = [value for colour in voc_palette(256) for value in colour]
    ids = (0, VOC_CLASSES.index("person"), VOC_CLASSES.index("bus"))
    for split, indices in (("train", range(14)), ("val", range(14, 20))):
        keys = [f"2007_{index:06d}" for index in indices]
        (found / LISTS / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
        for index, key in zip(indices, keys, strict=True):
            picture, labels = scene(100 + index, ids, border=IGNORE)
            picture.save(found / "JPEGImages" / f"{key}.jpg", quality=95)
            labels.putpalette(colours)  # makes it a palette picture of the same values
            labels.save(found / "SegmentationClass" / f"{key}.png")
