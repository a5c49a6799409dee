"""Finding images and their masks in a folder laid out in any of the usual ways.

Known are, for each split: ``train/images`` + ``train/masks``, ``images/train`` + ``masks/train``,
``train`` + ``trainannot``, pictures and masks side by side told apart by a suffix, and all of
these without splits.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segzoo.data.index import Index
from segzoo.data.names import Names
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


_TOLD = ("suffix", "endings", "without_mask", "without_image")


@dataclass(frozen=True)
class Pairs:
    """The pairs of one split, how they are laid out, and what has no partner.

    Pair n is `images / (key + ending)` with `masks / (key + ending)` for the two endings that
    `which[n]` names. Of very many pairs all of it is little but the keys themselves.
    """

    images: Path
    masks: Path
    suffix: str
    keys: Names
    endings: tuple[tuple[str, str], ...]
    which: npt.NDArray[np.uint16]
    without_mask: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()

    def files(self, index: int) -> tuple[Path, Path]:
        """Return the image and the mask of a pair."""
        key, (image, mask) = self.keys[index], self.endings[self.which[index]]
        return self.images / f"{key}{image}", self.masks / f"{key}{mask}"

    def chosen(self, keys: Collection[str]) -> "Pairs":
        """Return the pairs of some keys, in their order here."""
        at = [place for place, key in enumerate(self.keys) if key in keys]
        kept = Names(self.keys[place] for place in at)
        return replace(self, keys=kept, which=self.which[at])


def find_pairs(
    root: Path, split: str, *, images: str | None, masks: str | None, suffix: str | None
) -> Pairs | None:
    """Find the pairs of a split, or of the whole folder for the split "".

    `images` and `masks` are folders under the root where ``{split}`` stands for the split's name;
    None means looked for. Returns None where there are none. Those of large folders are remembered
    in the user's cache folder until a file comes or goes. Raises SegzooError for a folder of
    pictures none of which has a mask: without its split the training would be another one.
    """
    fruitless: list[tuple[Path, Path]] = []
    for image_folder, mask_folder in _candidates(root, split, images, masks):
        if not image_folder.is_dir():
            continue
        if image_folder != mask_folder and mask_folder.is_dir():
            fruitless.insert(0, (image_folder, mask_folder))  # the likeliest to be meant
        elif split == "val":
            fruitless.append((image_folder, mask_folder))
        if not mask_folder.is_dir():
            continue
        index = Index((image_folder, mask_folder), suffix)
        known = index.load()
        if known is not None:
            known["endings"] = tuple(tuple(pair) for pair in known["endings"])
            return Pairs(images=image_folder, masks=mask_folder, **known)
        pairs = _pair_up(image_folder, mask_folder, suffix, index)
        if pairs is not None:
            told = {name: getattr(pairs, name) for name in _TOLD}
            index.save(keys=pairs.keys, arrays={"which": pairs.which}, told=told)
            return pairs
    _refuse_fruitless(fruitless)
    return None


def _refuse_fruitless(tried: list[tuple[Path, Path]]) -> None:
    """Refuse a folder that has pictures, of which none has a mask.

    Without any folder for masks only `val` is: test pictures often come without.
    """
    for image_folder, mask_folder in tried:
        images, masks = (_listed(folder) for folder in (image_folder, mask_folder))
        if not images:
            continue
        beside = image_folder == mask_folder
        state = "is not there"
        if mask_folder.is_dir():
            state = f"has {len(masks)} pictures, such as {masks[0]}" if masks else "has no pictures"
        where = "beside it, or in any folder for masks" if beside else f"in {mask_folder}"
        raise SegzooError(
            f"{image_folder} has {len(images)} pictures, such as {images[0]}, of which none has a "
            f"mask {where}" + ("" if beside else f", which {state}"),
            "a mask has its picture's name, or adds one of _mask, _matte, _gt ... (-O suffix=_x); "
            "take the folder away if it is not to be used",
        )


def _listed(folder: Path) -> list[str]:
    return Index((folder,), "").pictures(folder) if folder.is_dir() else []


def _pair_up(
    image_folder: Path, mask_folder: Path, suffix: str | None, index: Index
) -> Pairs | None:
    beside = mask_folder == image_folder
    images = _by_stem(image_folder, index)
    masks = images if beside else _by_stem(mask_folder, index)
    options = ("", *MASK_SUFFIXES) if suffix is None else (suffix,)
    for ending in options[1:] if beside and suffix is None else options:
        matched = [
            (key, (kind, ending + masks[key + ending]))
            for key, kind in images.items()
            if key + ending in masks and not (beside and key.endswith(ending))
        ]
        if not matched:
            continue
        endings = {pair: place for place, pair in enumerate(dict.fromkeys(e for _, e in matched))}
        used = {key + ending for key, _ in matched}
        return Pairs(
            images=image_folder,
            masks=mask_folder,
            suffix=ending,
            keys=Names(key for key, _ in matched),
            endings=tuple(endings),
            which=np.array([endings[pair] for _, pair in matched], np.uint16),
            without_mask=tuple(
                key
                for key in images
                if key + ending not in used and not (beside and key.endswith(ending))
            ),
            without_image=tuple(
                key for key in masks if key not in used and (not beside or key.endswith(ending))
            ),
        )
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


def _by_stem(folder: Path, index: Index) -> dict[str, str]:
    """Map the pictures' relative paths without ending to their endings, in the paths' order.

    Two files of one name are an error.
    """
    found: dict[str, str] = {}
    for name in index.pictures(folder):
        stem, dot, ending = name.rpartition(".")
        if stem in found:
            raise SegzooError(
                f"{folder / (stem + found[stem])} and {Path(name).name} have the same name but for "
                "the ending",
                "it is not clear which one the mask belongs to; rename one of them",
            )
        found[stem] = dot + ending
    return found
