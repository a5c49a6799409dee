"""Finding images and their masks in a folder laid out in any of the usual ways.

The names of folders say what their files are (`segzoo.data.folder.known_names`): ``train/images`` +
``train/masks``, ``images/train`` + ``masks/train``, ``train`` + ``trainannot``, all of these
without splits, each of several folders with images and masks of its own, and pictures and masks
side by side, told apart by their names (`segzoo.data.folder.pairing`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from segzoo.data.folder.known_names import SPLITS, Kind, Place, place_of, shared_start, with_split
from segzoo.data.folder.pairing import Matches, match
from segzoo.data.folder.suggestions import suggested
from segzoo.data.images import MASK_FILES, SUFFIXES
from segzoo.data.listing import Listing, ending
from segzoo.data.names import Names
from segzoo.data.pairs import ListedPairs, Pairs, SuffixPairs
from segzoo.errors import SegzooError
from segzoo.words import number_of


@dataclass
class Group:
    """The pictures whose folders say the same of them: split, kind and layout.

    `files` maps a key to the file's ending, or where `base` is None to its whole path; `twice` are
    pairs of files that differ in their ending alone. `words` are the names that say the split.
    `inner` ones lie in folders beside others of the same kind, which are likelier to be meant.
    """

    split: str
    kind: Kind | None
    rank: int
    base: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    twice: list[tuple[str, str]] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    folder: str = ""
    inner: bool = False

    @property
    def start(self) -> str:
        """The folder that keys are relative to, as people write it."""
        return self.folder if self.base is None else self.base.rstrip("/")

    def path(self, key: str) -> str:
        """Return a file's path relative to the root."""
        return self.files[key] if self.base is None else f"{self.base}{key}{self.files[key]}"


def group_files(listing: Listing) -> list[Group]:
    """Put the pictures, and masks in other files, into groups by what their folders say."""
    places: dict[tuple[str, str], list[tuple[str, Place]]] = defaultdict(list)
    for folder in listing.files:
        place = place_of(folder)
        places[place.split, place.template].append((folder, place))
    groups: list[Group] = []
    for (split, _), every in places.items():
        for number, members in enumerate(_told_apart(every)):
            groups.append(_group(listing, split, members))
            groups[-1].inner = number > 0
    return groups


def _told_apart(members: list[tuple[str, Place]]) -> list[list[tuple[str, Place]]]:
    """Return folders that are one set of pictures: images/ beside old/images/ is not all of it.

    Where every one lies in a folder of its own, such as a scene's, they are all of it.
    """
    shared = len(shared_start([place.lead for _, place in members]))
    outer = [member for member in members if len(member[1].lead) == shared]
    inner = [member for member in members if len(member[1].lead) > shared]
    return [several for several in (outer, inner) if several]


def _group(listing: Listing, split: str, members: list[tuple[str, Place]]) -> Group:
    first = members[0][1]
    filled = [m for m in members if any(_readable(first.kind, listing.files[m[0]]))]
    members = filled or members
    group = Group(split, first.kind, first.rank, folder=_common(f for f, _ in members))
    shared = len(shared_start([place.lead for _, place in members]))
    bases = {_base(folder, place, shared) for folder, place in members}
    group.base = bases.pop() if len(bases) == 1 else None
    for folder, place in members:
        group.words |= {place.word} - {""}
        add_files(group, folder, listing.files[folder], (*place.lead[shared:], *place.rest))
    return group


def _base(folder: str, place: Place, shared: int) -> str | None:
    """Return what of a folder's path comes before its files' keys, where the keys come last."""
    if len(place.lead) > shared:
        return None
    names = folder.split("/")[:-1]
    told = names[: len(names) - len(place.rest)]
    return "".join(f"{name}/" for name in told) if tuple(names[len(told) :]) == place.rest else None


def add_files(group: Group, folder: str, names: Iterable[str], inside: tuple[str, ...]) -> None:
    """Put the files of a folder into a group; `inside` are the folders that go into their keys."""
    prefix = "".join(f"{name}/" for name in inside)
    for name in _readable(group.kind, names):
        stem, dot, last = name.rpartition(".")
        key = prefix + stem
        if key in group.files:
            group.twice.append((group.path(key), folder + name))
        group.files[key] = dot + last if group.base is not None else folder + name


def _readable(kind: Kind | None, names: Iterable[str]) -> Iterator[str]:
    readable = MASK_FILES if kind == "masks" else SUFFIXES
    return (name for name in names if ending(name) in readable)


def _common(folders: Iterable[str]) -> str:
    """Return the folder that all folders lie in."""
    return "/".join(shared_start([folder.split("/")[:-1] for folder in folders]))


class NoMasksError(SegzooError):
    """A split has pictures, of which none has a mask."""


@dataclass
class Found:
    """The pairs of the splits, the groups they are made of, and what is to be said of the rest."""

    pairs: dict[str, Pairs] = field(default_factory=dict)
    used: list[Group] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def find_pairs(root: Path, groups: list[Group], suffix: str | None) -> Found:
    """Pair the images and masks of every split; what has no split is all `train`.

    Raises SegzooError for two folders of one split, and for a folder of pictures none of which has
    a mask: without its split the training would be another one.
    """
    found = Found()
    for split in SPLITS:
        _pair_split(
            root, [group for group in groups if group.split == split], groups, suffix, found
        )
    whole = [group for group in groups if not group.split]
    if "train" not in found.pairs:
        kinds = [group for group in whole if group.kind] if found.pairs else whole
        _pair_split(root, kinds, kinds, suffix, found)
    if "train" not in found.pairs:
        _pair_root(root, groups, suffix, found)
    return found


def _pair_root(root: Path, groups: list[Group], suffix: str | None, found: Found) -> None:
    """Pair what lies in the root itself, beside the folders of other splits, as `train`."""
    other = next((group for group in groups if not group.split and group.base == ""), None)
    if other is None:
        return
    files = {key: end for key, end in other.files.items() if "/" not in key}
    twice = [pair for pair in other.twice if not any("/" in path for path in pair)]
    own = replace(other, files=files, twice=twice)
    others = " and ".join(found.pairs)
    _pair_split(root, [own], [own], suffix, found)
    if pairs := found.pairs.get("train"):
        other.files = {key: end for key, end in other.files.items() if key not in files}
        groups.append(own)
        found.notices.append(
            f"train: the {number_of(len(pairs.keys), 'pair')} in the root itself, beside the "
            f"folders of {others}; in a folder `train` they would be so for certain"
        )


def _pair_split(
    root: Path, own: list[Group], every: list[Group], suffix: str | None, found: Found
) -> None:
    best: tuple[Matches, Group, Group] | None = None
    for images, masks in _candidates(own, every):
        matches = match(images.files, masks.files, beside=images is masks, suffix=suffix)
        if matches.pairs and (best is None or len(matches.pairs) > len(best[0].pairs)):
            best = matches, images, masks
    split = own[0].split if own else ""
    if best is None:
        if split:
            _refuse_fruitless(root, own, every)
        return
    matches, images, masks = best
    _refuse_several(root, split, own, images, masks)
    _refuse_twice(root, images, masks)
    found.used += [images, masks]
    found.pairs[split or "train"] = _pairs(root, matches, images, masks)
    if matches.loosely:
        image, mask = matches.loosely[0]
        found.notices.append(
            f"{split or 'train'}: {number_of(len(matches.loosely), 'pair')} by names that agree "
            "but for upper and lower case or the form of accents, as "
            f"{images.path(image)} and {masks.path(mask)}"
        )


def _candidates(own: list[Group], every: list[Group]) -> Iterator[tuple[Group, Group]]:
    """Yield groups that may be images and masks of each other, the likeliest first."""
    own = sorted(own, key=lambda group: (group.kind is None, group.rank))
    outer = [group for group in own if group.files and not group.inner]
    if {"images", "masks"} <= {group.kind for group in outer}:
        own = outer
    masks = [group for group in own if group.kind == "masks"]
    lone = [group for group in every if group.kind == "masks" and not group.split]
    for image in (group for group in own if group.kind != "masks"):
        yield from ((image, mask) for mask in masks)
    for image in (group for group in own if group.kind != "masks"):
        yield image, image
    if own and own[0].split:
        for image in (group for group in own if group.kind != "masks"):
            yield from ((image, mask) for mask in lone)


def _pairs(root: Path, matches: Matches, images: Group, masks: Group) -> Pairs:
    used = {mask for _, mask in matches.pairs}
    paired = {image for image, _ in matches.pairs}
    beside = images is masks
    marked = {key for key in masks.files if beside and _is_mask(key, matches)}
    told = {
        "images": root / images.folder,
        "masks": root / masks.folder,
        "rule": matches.said,
        "without_mask": tuple(
            key for key in images.files if key not in paired and key not in used | marked
        ),
        "without_image": tuple(
            key for key in masks.files if key not in used and (not beside or key in marked)
        ),
    }
    pairs = matches.pairs
    if any("/" in image for image, _ in pairs):
        pairs = sorted(pairs, key=lambda pair: pair[0].split("/"))
    keys = Names(image for image, _ in pairs)
    if matches.suffix is None or images.base is None or masks.base is None:
        return ListedPairs(
            **told,
            keys=keys,
            root=root,
            image_paths=Names(images.path(image) for image, _ in pairs),
            mask_paths=Names(masks.path(mask) for _, mask in pairs),
        )
    told |= {"images": root / images.base, "masks": root / masks.base}
    of_pair = [(images.files[i], matches.suffix + masks.files[m]) for i, m in pairs]
    endings = {ends: place for place, ends in enumerate(dict.fromkeys(of_pair))}
    which = np.array([endings[ends] for ends in of_pair], np.uint16)
    return SuffixPairs(**told, keys=keys, endings=tuple(endings), which=which)


def _is_mask(key: str, matches: Matches) -> bool:
    name, (first, last) = key.rpartition("/")[2], matches.masks
    return name.startswith(first) and name.endswith(last)


def _refuse_several(root: Path, split: str, own: list[Group], images: Group, masks: Group) -> None:
    """Refuse two folders for one split, such as val/ and validation/, both with pictures."""
    for kind, group in (("images", images), ("masks", masks)):
        words = {
            word: other.folder for other in own if other.kind == group.kind for word in other.words
        }
        if len(words) > 1:
            raise SegzooError(
                f"{root} has two folders of {kind} for `{split}`: {' and '.join(sorted(words))}",
                "keep one of them there, or name the folders: -O images=DIR -O masks=DIR",
            )


def _refuse_twice(root: Path, images: Group, masks: Group) -> None:
    for group in (images, masks):
        for first, second in group.twice:
            if Path(first).parent != Path(second).parent:
                raise SegzooError(
                    f"{root / first} and {root / second} have one name, in folders that say the "
                    f"same{f', `{group.split}`' if group.split else ''}",
                    "give the data set that is meant as --root, or rename the files or the folders",
                )
            raise SegzooError(
                f"{root / first} and {Path(second).name} have the same name but for the ending",
                "it is not clear which one the mask belongs to; rename one of them, or say which "
                "files are images and which masks: -O pair='{name}.jpg:{name}.png'",
            )


def _refuse_fruitless(root: Path, own: list[Group], every: list[Group]) -> None:
    """Refuse a split's folder that has pictures, of which none has a mask.

    Without any folder for masks only `val` is: test pictures often come without.
    """
    own = sorted(own, key=lambda group: (group.kind is None, not group.files))
    masks = next((group for group in own if group.kind == "masks"), None)
    for images in (group for group in own if group.kind != "masks"):
        if not images.files or (masks is None and images.split != "val"):
            continue
        raise NoMasksError(
            without_masks(root, images, masks),
            (
                masks
                and suggested(
                    images.files, masks.files, with_split(images.start), with_split(masks.start)
                )
            )
            or "a mask has its picture's name, or adds one of _mask, _matte, _gt ... (-O "
            "suffix=_x, or -O pair=IMAGE:MASK); take the folder away if it is not to be used",
        )


def without_masks(root: Path, images: Group, masks: Group | None) -> str:
    """Say of which pictures none has a mask, and what there is instead."""
    where = "beside it, or in any folder for masks"
    if masks is not None:
        state = "no pictures"
        if masks.files:
            first = Path(masks.path(min(masks.files))).name
            state = f"{number_of(len(masks.files), 'picture')}, such as {first}"
        where = f"in {root / masks.folder}, which has {state}"
    return (
        f"{root / images.folder} has {number_of(len(images.files), 'picture')}, such as "
        f"{Path(images.path(min(images.files))).name}, of which none has a mask {where}"
    )
