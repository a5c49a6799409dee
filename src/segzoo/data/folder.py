"""`folder`: the user's own images and masks, in any of the usual layouts."""

import logging
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from segzoo.builtin import FolderOptions
from segzoo.data.conventions import (
    AS_THEY_ARE,
    MOST_HEADERS,
    Conventions,
    find_conventions,
    size_hint,
)
from segzoo.data.depth import parse_range, range_text
from segzoo.data.headers import spread
from segzoo.data.images import read_image, read_mask, read_matte
from segzoo.data.labels import MOST_SCANNED, LabelMap, find_labels, parse_classes
from segzoo.data.layout import SPLITS, Pairs, find_pairs
from segzoo.data.sample import Sample
from segzoo.data.splits import carve
from segzoo.errors import MissingSplitError, SegzooError

log = logging.getLogger("segzoo")


class FolderDataset(Dataset[Sample]):
    """Pairs of image and mask files; `notices` say what is left out and what is doubtful."""

    def __init__(
        self,
        pairs: Pairs,
        options: FolderOptions,
        labels: LabelMap | None,
        notices: tuple[str, ...] = (),
        conventions: Conventions = AS_THEY_ARE,
    ) -> None:
        self.pairs, self.keys = pairs, pairs.keys
        self.target = options.target
        self.threshold = options.threshold
        self._labels = labels
        self.classes = labels.classes if labels else ("background", "foreground")
        self.palette = labels.palette if labels else ()
        self.resolved_options: dict[str, Any] = {}
        if labels:
            self.resolved_options |= labels.resolved(options.ignore)
        # Only those of its own split: `test` is nothing to a training.
        every = labels.faults if labels else ()
        self.faults = tuple(fault for path, fault in every if path.is_relative_to(pairs.masks))
        self.notices = (*notices, *_doubts(conventions))
        self._deep_range, self._upright = conventions.deep_range, options.exif == "apply"
        if conventions.deep_range and options.range is None:
            self.resolved_options["range"] = range_text(conventions.deep_range)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        image_path, mask_path = self.files(index)
        image = read_image(image_path, deep_range=self._deep_range, upright=self._upright)
        target = self._read_target(mask_path)
        if image.shape[1:] != target.shape:
            raise SegzooError(
                f"{image_path} is {size(image)} but its mask {mask_path} is {size(target)}",
                size_hint(image_path, tuple(image.shape[1:]), tuple(target.shape)),
            )
        return Sample(image, target, key)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is made of."""
        return self.pairs.files(index)

    @property
    def unpaired(self) -> list[tuple[str, str]]:
        """The files that are left out, each with what it lacks."""
        no_mask = f"has no mask in {self.pairs.masks}"
        no_image = f"is a mask without an image in {self.pairs.images}"
        return [
            *((name, no_mask) for name in self.pairs.without_mask),
            *((name, no_image) for name in self.pairs.without_image),
        ]

    def _read_target(self, path: Path) -> Tensor:
        if self._labels is None:
            return read_matte(path, upright=self._upright)
        return self._labels.apply(read_mask(path, upright=self._upright), path)


def size(tensor: Tensor) -> str:
    """Return ``width x height`` of a picture or mask, as image programs print it."""
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"


def build_folder(*, root: Path | None, split: str, options: FolderOptions) -> FolderDataset:
    """Build `folder` for a split. Raises SegzooError where nothing pairs up, naming the layouts."""
    if root is None:
        raise SegzooError("data set `folder` needs --root DIR", "or --sample for a stand-in")
    if not root.is_dir():
        raise SegzooError(f"{root} {'is a file' if root.exists() else 'is not there'}")
    every = _find_all(root, options)
    chosen = _choose(every, split, options)
    labels = None
    if options.target == "labels" and options.threshold is None:
        names, colours = parse_classes(options.classes, root)
        labels = find_labels(_some_masks(every), names, colours, options.ignore)
    conventions = _conventions(every, options)
    if split == "train":
        _say(root, every, labels)
        if conventions.said:
            log.info("folder: %s", conventions.said)
    return FolderDataset(chosen, options, labels, _notices(every, labels), conventions)


def _conventions(every: dict[str, Pairs], options: FolderOptions) -> Conventions:
    """Look at pictures of all splits: how deep ones are read, and which way they lie."""
    stated = parse_range(options.range, "-O range")
    some: list[tuple[Path, Path]] = []
    for pairs in every.values():
        for index in spread(len(pairs.keys), MOST_HEADERS):
            image, *masks = pairs.files(index)
            some.append((image, masks[0]))
    return find_conventions(some, stated, options.exif == "apply")


def _doubts(conventions: Conventions) -> tuple[str, ...]:
    return (f"folder: {conventions.doubt}",) if conventions.doubt else ()


def _find_all(root: Path, options: FolderOptions) -> dict[str, Pairs]:
    """Find the pairs of every split there is; a folder without splits is all `train`."""
    where = {"images": options.images, "masks": options.masks, "suffix": options.suffix}
    found = {split: pairs for split in SPLITS if (pairs := find_pairs(root, split, **where))}
    if not found and (pairs := find_pairs(root, "", **where)):
        found["train"] = pairs
    if not found:
        inside = sorted(child.name for child in root.iterdir())[:8]
        raise SegzooError(
            f"no pairs of images and masks in {root} "
            f"(it {'holds ' + ', '.join(inside) if inside else 'is empty'})",
            "lay them out as images/ + masks/, train/images/ + train/masks/, train/ + trainannot/ "
            "or side by side as a.jpg + a_mask.png, or name the folders: "
            "-O images=DIR -O masks=DIR -O suffix=_x",
        )
    return found


def _choose(every: dict[str, Pairs], split: str, options: FolderOptions) -> Pairs:
    if split in every and (split != "train" or "val" in every):
        return every[split]
    keys: list[str] = []
    if "train" in every and "val" not in every:
        train, val = carve(every["train"].keys, options.val)
        keys = {"train": train, "val": val, "test": []}[split]
    if not keys:
        raise MissingSplitError(f"data set `folder` has no `{split}` split")
    return every["train"].chosen(set(keys))


def _some_masks(every: dict[str, Pairs]) -> list[Path]:
    """Return evenly spaced masks of all splits, as many as are looked at."""
    step = max(1, -(-sum(len(pairs.keys) for pairs in every.values()) // MOST_SCANNED))
    return [
        pairs.files(index)[1]
        for pairs in every.values()
        for index in range(0, len(pairs.keys), step)
    ]


def _say(root: Path, every: dict[str, Pairs], labels: LabelMap | None) -> None:
    parts = []
    for split, pairs in every.items():
        images, masks = (path.relative_to(root) for path in (pairs.images, pairs.masks))
        ending = f" (*{pairs.suffix})" if pairs.suffix else ""
        parts.append(f"{split} {len(pairs.keys)} pairs in {images} + {masks}{ending}")
    log.info("folder: %s", "; ".join(parts))
    if labels:
        log.info(
            "folder: %d classes: %s (%s)",
            len(labels.classes),
            ", ".join(labels.classes),
            labels.said,
        )


def _notices(every: dict[str, Pairs], labels: LabelMap | None) -> tuple[str, ...]:
    """Return what is left out of all splits, and what is doubtful about the masks."""
    notices: list[str] = []
    for split, pairs in every.items():
        for missing, what in (
            (pairs.without_mask, "images without a mask"),
            (pairs.without_image, "masks without an image"),
        ):
            if missing:
                shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
                count = len(missing)
                notices.append(f"folder: {split}: {count} {what} are left out: {shown}")
    if labels and labels.doubt:
        notices.append(f"folder: {labels.doubt}")
    return tuple(notices)
