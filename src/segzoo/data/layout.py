"""Finding images and their masks in a folder laid out in any of the usual ways.

Known are, for each split: ``train/images`` + ``train/masks``, ``images/train`` + ``masks/train``,
``train`` + ``trainannot``, pictures and masks side by side told apart by a suffix, and all of
these without splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segzoo.data.images import is_picture
from segzoo.errors import SegzooError

SPLITS = {
    "train": ("train", "training", "Train"),
    "val": ("val", "valid", "validation", "Val"),
    "test": ("test", "testing", "Test"),
}
IMAGES = ("images", "image", "imgs", "img", "JPEGImages", "photos", "pictures", "leftImg8bit")
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annot", "mattes", "matte"),
    *("SegmentationClass", "gt", "gtFine", "alpha", "targets"),
)
MASK_SUFFIXES = (
    *("_mask", "_matte", "_label", "_labels", "_gt", "_alpha", "_seg", "_annotation", "_L"),
    *("-mask", ".mask"),
)
NEIGHBOURS = ("annot", "_mask", "_masks", "_label", "_labels", "_annot", "_annotations", "_gt")


@dataclass
class Pairs:
    """The pairs of one split by key, how they are laid out, and what has no partner."""

    images: Path
    masks: Path
    suffix: str
    by_key: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    without_mask: list[str] = field(default_factory=list)
    without_image: list[str] = field(default_factory=list)


def find_pairs(
    root: Path, split: str, *, images: str | None, masks: str | None, suffix: str | None
) -> Pairs | None:
    """Find the pairs of a split, or of the whole folder for the split "".

    `images` and `masks` are folders under the root where ``{split}`` stands for the split's name;
    None means looked for. Returns None where there are none.
    """
    for image_folder, mask_folder in _candidates(root, split, images, masks):
        if not (image_folder.is_dir() and mask_folder.is_dir()):
            continue
        image_files = _by_stem(image_folder)
        mask_files = image_files if mask_folder == image_folder else _by_stem(mask_folder)
        beside = mask_folder == image_folder
        options = ("", *MASK_SUFFIXES) if suffix is None else (suffix,)
        for ending in options[1:] if beside and suffix is None else options:
            pairs = _match(image_files, mask_files, ending, beside)
            if pairs.by_key:
                pairs.images, pairs.masks = image_folder, mask_folder
                return pairs
    return None


def _candidates(
    root: Path, split: str, images: str | None, masks: str | None
) -> Iterator[tuple[Path, Path]]:
    for name in SPLITS.get(split, ("",)):
        if images is not None or masks is not None:
            where = [images if images is not None else masks, masks or images]
            if split and not any("{split}" in str(folder) for folder in where):
                continue
            first, second = (root / str(folder).replace("{split}", name) for folder in where)
            yield first, second
            continue
        for image_name in IMAGES:
            for mask_name in MASKS:
                yield root / name / image_name, root / name / mask_name
                if name:
                    yield root / image_name / name, root / mask_name / name
        if name:
            for neighbour in NEIGHBOURS:
                yield root / name, root / f"{name}{neighbour}"
        yield root / name, root / name


def _by_stem(folder: Path) -> dict[str, Path]:
    """Map relative paths without their ending to files; two files of one name are an error."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not is_picture(path):
            continue
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise SegzooError(
                f"{found[key]} and {path.name} have the same name but for the ending",
                "it is not clear which one the mask belongs to; rename one of them",
            )
        found[key] = path
    return found


def _match(images: dict[str, Path], masks: dict[str, Path], suffix: str, beside: bool) -> Pairs:
    pairs = Pairs(images=Path(), masks=Path(), suffix=suffix)
    used = set()
    for key, path in images.items():
        if beside and key.endswith(suffix):
            continue
        partner = masks.get(key + suffix)
        if partner is None:
            pairs.without_mask.append(key)
        else:
            pairs.by_key[key] = (path, partner)
            used.add(key + suffix)
    pairs.without_image = [
        key for key in masks if key not in used and (not beside or key.endswith(suffix))
    ]
    return pairs
