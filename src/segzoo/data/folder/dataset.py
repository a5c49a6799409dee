"""`folder`: the user's own images and masks, in any of the usual layouts."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from segzoo.data.folder.finding import Layout, Where, find_layout, lone
from segzoo.data.images import read_image, read_matte, read_stored_mask
from segzoo.data.labels.class_files import find_classes
from segzoo.data.labels.mattes import refuse_unusable
from segzoo.data.labels.merging import class_names, merge_classes, merge_objects
from segzoo.data.labels.palettes import Reading
from segzoo.data.labels.reading import MOST_SCANNED, LabelMap, find_labels
from segzoo.data.pairs import ListedPairs, Pairs
from segzoo.data.pictures.conventions import (
    AS_THEY_ARE,
    MOST_HEADERS,
    Conventions,
    find_conventions,
    size_hint,
)
from segzoo.data.pictures.headers import spread
from segzoo.data.pictures.mask_files import StoredMask
from segzoo.data.pictures.value_range import parse_range, range_text
from segzoo.data.plugin import FolderOptions
from segzoo.data.roots import FOLDER, check_root
from segzoo.data.sample import Sample
from segzoo.data.splits import TOGETHER, carve_by_pattern
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.words import counted

log = logging.getLogger("segzoo")


class FolderDataset(Dataset[Sample]):
    """Pairs of image and mask files; `notices` say what is left out and what is doubtful."""

    unpaired_notices: tuple[str, ...] = ()
    """Those of `notices` that count what `unpaired` lists."""
    carved = False
    """Whether `val` is a share of `train`, and not the user's own."""
    advice: tuple[str, ...] = ()
    """What to think of before a training, which other uses of the pictures need not hear."""

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
        merged = _merged_classes(pairs)
        # Masks of one class each are made labels when they are merged.
        self.threshold = None if merged else options.threshold
        self._options = options
        self._labels = labels
        self.classes = labels.classes if labels else ("background", "foreground")
        self.palette = labels.palette if labels else ()
        self.resolved_options: dict[str, Any] = {}
        if labels:
            self.resolved_options |= labels.resolved
        if merged and not any("," in name for name in merged):
            self.resolved_options["classes"] = ",".join(merged)
        self.faults = tuple(fault for _, fault in labels.faults) if labels else ()
        self.notices = notices
        self._deep_range, self._upright = conventions.deep_range, options.exif == "apply"
        if conventions.deep_range and options.range is None:
            self.resolved_options["range"] = range_text(conventions.deep_range)

    def __repr__(self) -> str:
        return f"FolderDataset({len(self)} pictures, {self.target}, {counted(self.classes)})"

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        image_path, *mask_paths = self.files(index)
        image = read_image(image_path, deep_range=self._deep_range, upright=self._upright)
        target = self._read_target(index, mask_paths)
        if image.shape[1:] != target.shape:
            raise SegzooError(
                f"{image_path} is {size(image)} but its mask {mask_paths[0]} is {size(target)}",
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

    def _read_target(self, index: int, paths: list[Path]) -> Tensor:
        if classes := _merged_classes(self.pairs):
            of_each = self.pairs.classes_of(index)  # type: ignore[attr-defined]
            return merge_classes(paths, of_each, classes, self._options.threshold, self._upright)
        if self._labels is None:
            return read_matte(paths[0], upright=self._upright)
        mask = _read_mask(paths, self._upright)
        return self._labels.apply(mask, paths[0])


def size(tensor: Tensor) -> str:
    """Return ``width x height`` of a picture or mask, as image programs print it."""
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"


def build_folder(*, root: Path | None, split: str, options: FolderOptions) -> FolderDataset:
    """Build `folder` for a split. Raises SegzooError where nothing pairs up, naming the layouts."""
    check_root(FOLDER, root)
    assert root is not None
    listed = find_classes(options.classes, root)
    where = ("images", "masks", "suffix", "pair", "lists", "group")
    layout = find_layout(
        root, Where(**{name: getattr(options, name) for name in where}, classes=listed.names)
    )
    chosen = _choose(layout.pairs, split, options)
    _refuse_mattes(layout.pairs, options)
    labels = None
    if classes := _merged_classes(chosen):
        known = class_names(classes)
        said = f"masks of one class each, later ones on top: {', '.join(classes)}"
        labels = LabelMap(known, (), {k: k for k in range(len(known))}, Reading(), said)
    elif options.target == "labels" and options.threshold is None:
        some = _some_masks(layout.pairs)
        read = {paths[0]: paths for _, paths in some}
        labels = find_labels(
            list(read),
            options,
            root,
            lambda path: _read_mask(read[path], options.exif == "apply"),
        )
        # Only those of its own split: `test` is nothing to a training.
        own = {paths[0] for of, paths in some if of is _owner(layout.pairs, split)}
        labels = replace(labels, faults=tuple(fault for fault in labels.faults if fault[0] in own))
    if options.threshold is not None or options.target == "alpha":
        masks = [path for _, paths in _some_masks(layout.pairs) for path in paths]
        refuse_unusable(masks, options.threshold, options.exif == "apply")
    conventions = _conventions(layout.pairs, options)
    if split == "train":
        _say(root, layout, labels)
        if _is_carved(layout.pairs) and len(chosen.keys) < len(layout.pairs["train"].keys):
            keys = layout.pairs["train"].keys
            log.info("folder: %s", carve_by_pattern(keys, options.val, options.group)[2])
        if conventions.said:
            log.info("folder: %s", conventions.said)
    notices = _notices(layout, labels, conventions)
    data = FolderDataset(chosen, options, labels, notices, conventions)
    data.unpaired_notices = tuple(f"folder: {text}" for text in lone(layout.pairs))
    data.carved = _is_carved(layout.pairs)
    if data.carved and not options.group and len(chosen.keys) < len(layout.pairs["train"].keys):
        data.advice = (f"folder: {TOGETHER}",)
    if listed.file is not None and "classes" not in data.resolved_options:
        # The file is of this machine; what it says goes into the weights file.
        data.resolved_options["classes"] = listed.inline()
    return data


def _conventions(every: dict[str, Pairs], options: FolderOptions) -> Conventions:
    """Look at pictures of all splits: how deep ones are read, and which way they lie."""
    stated = parse_range(options.range, "-O range")
    some: list[tuple[Path, Path]] = []
    for pairs in every.values():
        for index in spread(len(pairs.keys), MOST_HEADERS):
            image, *masks = pairs.files(index)
            some.append((image, masks[0]))
    return find_conventions(some, stated, options.exif == "apply")


def _read_mask(paths: list[Path], upright: bool) -> StoredMask:
    """Read the mask of a picture, or those of its objects as one."""
    if len(paths) > 1:
        return merge_objects(paths, upright)
    return read_stored_mask(paths[0], upright=upright)


def _merged_classes(pairs: Pairs) -> tuple[str, ...]:
    return pairs.classes if isinstance(pairs, ListedPairs) else ()


def _refuse_mattes(every: dict[str, Pairs], options: FolderOptions) -> None:
    """Refuse to merge mattes: of two at a pixel neither is the truth."""
    merged = any(isinstance(pairs, ListedPairs) and pairs.several for pairs in every.values())
    classes = any(map(_merged_classes, every.values()))
    if merged and (options.target == "alpha" or (options.threshold is not None and not classes)):
        raise SegzooError(
            f"-O pair={options.pair}: several masks of an image, read as mattes",
            "leave out -O target=alpha and -O threshold, or let the pattern have one mask an image",
        )


def _owner(every: dict[str, Pairs], split: str) -> Pairs:
    """Return the pairs that a split is, or is carved out of."""
    return every.get(split, every["train"] if "train" in every else next(iter(every.values())))


def _choose(every: dict[str, Pairs], split: str, options: FolderOptions) -> Pairs:
    if split in every and (split != "train" or "val" in every):
        return every[split]
    keys: list[str] = []
    if _is_carved(every):
        train, val, _ = carve_by_pattern(every["train"].keys, options.val, options.group)
        keys = {"train": train, "val": val, "test": []}[split]
    if not keys:
        raise MissingSplitError(f"data set `folder` has no `{split}` split")
    return every["train"].chosen(set(keys))


def _is_carved(every: dict[str, Pairs]) -> bool:
    return "train" in every and "val" not in every


def _some_masks(every: dict[str, Pairs]) -> list[tuple[Pairs, list[Path]]]:
    """Return evenly spaced masks of all splits, as many as are looked at, with their pairs."""
    step = max(1, -(-sum(len(pairs.keys) for pairs in every.values()) // MOST_SCANNED))
    return [
        (pairs, list(pairs.files(index)[1:]))
        for pairs in every.values()
        for index in range(0, len(pairs.keys), step)
    ]


def _say(root: Path, layout: Layout, labels: LabelMap | None) -> None:
    parts = []
    for split, pairs in layout.pairs.items():
        images, masks = (_shown(root, path) for path in (pairs.images, pairs.masks))
        rule = f" ({pairs.rule})" if pairs.rule else ""
        where = f"in {images} + {masks}"
        if images == masks:  # Of several folders, the one above them says nothing.
            image, mask, *_ = (_shown(root, path) for path in pairs.files(0))
            where = f"in {root if images == Path() else images}, such as {image} + {mask}"
        parts.append(f"{split} {len(pairs.keys)} pairs {where}{rule}")
    log.info("folder: %s", "; ".join(parts))
    for text in layout.said:
        log.info("folder: %s", text)
    if labels:
        log.info(
            "folder: %d classes: %s (%s)",
            len(labels.classes),
            labels.named(),
            labels.said,
        )


def _shown(root: Path, path: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _notices(layout: Layout, labels: LabelMap | None, conventions: Conventions) -> tuple[str, ...]:
    """Return what is left out of all splits, and what is doubtful about pictures and masks."""
    doubts = (*(labels.doubts if labels else ()), conventions.doubt)
    return tuple(f"folder: {text}" for text in (*layout.notices, *filter(None, doubts)))
