"""CamVid (Brostow, Fauqueur, Cipolla, 2009) as SegNet released it: 480 x 360 frames, 11 classes.

``train/NAME.png`` with ``trainannot/NAME.png``, and so for ``val`` and ``test``. Labels are 8-bit
PNG: 0 sky to 10 bicyclist, 11 is not labelled and comes out as 255. Frames may be JPEG too.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from segzoo.data.images import is_picture, read_image, read_mask
from segzoo.data.roots import find_root
from segzoo.data.sample import Sample
from segzoo.data.splits import carve
from segzoo.data.standin import shapes
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_camvid.plugin import CLASSES, HOMEPAGE, CamVidOptions

SPLITS = ("train", "val", "test")
UNLABELLED, IGNORE = 11, 255


class CamVidDataset(Dataset[Sample]):
    """Frames and labels of one split, paired by name."""

    def __init__(self, pairs: dict[str, tuple[Path, Path]]) -> None:
        self.pairs, self.keys = pairs, list(pairs)

    def __len__(self) -> int:
        return len(self.keys)

    def files(self, index: int) -> tuple[Path, Path]:
        """Return the files that a sample is made of."""
        return self.pairs[self.keys[index]]

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        frame_path, labels_path = self.pairs[key]
        frame, labels = read_image(frame_path), read_labels(labels_path)
        if frame.shape[1:] != labels.shape:
            sizes = [f"{tensor.shape[-1]}x{tensor.shape[-2]}" for tensor in (frame, labels)]
            raise SegzooError(
                f"{frame_path} is {sizes[0]} but {labels_path} is {sizes[1]}",
                "a frame and its labels have the same size; replace the wrong one",
            )
        return Sample(frame, labels, key)


def build_camvid(*, root: Path | None, split: str, options: CamVidOptions) -> CamVidDataset:
    """Build `camvid`; without a ``val/`` that split is carved from ``train/``.

    Raises SegzooError for a root that is not found and for a frame or labels without partner.
    """
    found = find_root("camvid", root, _is_root, homepage=HOMEPAGE)
    pairs = find_pairs(found, split) if split in SPLITS else {}
    if split != "test" and not find_pairs(found, "val"):
        every = find_pairs(found, "train")
        train, val = carve(list(every), options.val)
        pairs = {key: every[key] for key in {"train": train, "val": val}.get(split, [])}
    if not pairs:
        raise MissingSplitError(f"data set `camvid` in {found} has no `{split}` split")
    return CamVidDataset(pairs)


def find_pairs(root: Path, split: str) -> dict[str, tuple[Path, Path]]:
    """Return frame and labels by name, sorted; raise SegzooError for one without its partner."""
    frames, labels = _by_name(root / split), _by_name(root / f"{split}annot")
    for files, partners, what, folder in (
        (frames, labels, "frame without its labels", f"{split}annot"),
        (labels, frames, "label picture without its frame", split),
    ):
        lone = sorted(set(files) - set(partners))
        if lone:
            raise SegzooError(
                f"{files[lone[0]]} is a {what} ({len(lone)} of {len(files)} in this folder)",
                f"add {lone[0]} to {root / folder}, or take the file away",
            )
    return {name: (frames[name], labels[name]) for name in sorted(frames)}


def read_labels(path: Path) -> Tensor:
    """Read labels as uint8 H x W: ids 0 to 10, and 255 for the stored 11."""
    stored = read_mask(path)
    if stored.ndim != 2 or int(stored.max()) > UNLABELLED:
        came = "colours" if stored.ndim != 2 else f"the id {int(stored.max())}"
        raise SegzooError(
            f"{path} holds {came}; labels are the ids 0 to {UNLABELLED}",
            f"use the 11-class labels of {HOMEPAGE}",
        )
    return torch.where(stored == UNLABELLED, IGNORE, stored).to(torch.uint8)


def _by_name(folder: Path) -> dict[str, Path]:
    """Map names without ending to pictures; two files of one name are an error."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not is_picture(path):
            continue
        if path.stem in found:
            raise SegzooError(
                f"{path} and {found[path.stem].name} have one name", "keep one of them"
            )
        found[path.stem] = path
    return found


def _is_root(folder: Path) -> bool:
    """Any split makes a root: test frames alone can be scored."""
    return any((folder / f"{s}annot").is_dir() and (folder / s).is_dir() for s in SPLITS)


def write_sample(root: Path) -> None:
    """Write 14 training, 5 val and 5 test scenes: sky, road, trees (discs), buildings (boxes)."""
    ids = {name: index for index, name in enumerate(CLASSES)}
    drawn = np.array([ids["road"], ids["tree"], ids["building"]], np.uint8)
    for split, indices in (("train", range(14)), ("val", range(14, 19)), ("test", range(19, 24))):
        for folder in (split, f"{split}annot"):
            (root / "CamVid" / folder).mkdir(parents=True)
        for index in indices:
            picture, shape_ids = shapes(400 + index, height=60, width=80)
            pixels_HWC, labels_HW = np.array(picture), drawn[np.asarray(shape_ids)]
            sky = (labels_HW == ids["road"]) & (np.arange(60)[:, None] < 20)
            pixels_HWC[sky] = pixels_HWC[sky] // 2 + np.array([60, 75, 90], np.uint8)
            labels_HW[sky] = ids["sky"]
            labels_HW[:, :3] = UNLABELLED
            name = f"0001TP_{6690 + 30 * index:06d}.png"
            Image.fromarray(pixels_HWC).save(root / "CamVid" / split / name)
            Image.fromarray(labels_HW).save(root / "CamVid" / f"{split}annot" / name)
