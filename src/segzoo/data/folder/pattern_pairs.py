"""Pairing the files of a folder by the patterns of ``-O pair=IMAGE:MASK``."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from segzoo.data.folder.known_names import Place, meaning, place_of, shared_start
from segzoo.data.folder.patterns import PairPattern, Pattern
from segzoo.data.images import MASK_FILES, SUFFIXES
from segzoo.data.listing import Listing, ending
from segzoo.data.names import Names
from segzoo.data.pairs import SEPARATOR, ListedPairs, Pairs
from segzoo.errors import SegzooError
from segzoo.words import number_of

Key = tuple[str, str]
"""The split, and what an image and its mask share."""


def pair_by_pattern(
    listing: Listing, pattern: PairPattern, classes: tuple[str, ...]
) -> tuple[dict[str, Pairs], set[str]]:
    """Return the pairs of every split, and the paths that are used.

    Files of no split are of `train`. `classes`, where given, are those that ``{class}`` may stand
    for. Raises SegzooError where the patterns pair nothing, or several masks with an image whose
    pattern allows one, or one with a class that is not among `classes`.
    """
    masks: dict[Key, list[tuple[str, str]]] = defaultdict(list)
    images: dict[Key, str] = {}
    taken: list[tuple[str, list[tuple[Key, str]]]] = []
    for path, place in _files(listing):
        found = list(_keys(pattern, pattern.mask, path, place, "masks"))
        if found:
            taken.append((path, found))
            continue
        for key, _ in _keys(pattern, pattern.image, path, place, "images"):
            if ending(path) not in SUFFIXES:
                continue
            if key in images:
                raise SegzooError(
                    f"-O pair: {listing.root / images[key]} and {listing.root / path} are both "
                    f"images of the name `{key[1]}`",
                    f"make the image's pattern narrower than {pattern.image.text}",
                )
            images[key] = path
            break
    lone = []
    for path, found in taken:
        choice = next(((key, label) for key, label in found if key in images), None)
        if choice is None:
            lone.append((found[0][0][0], path))
        else:
            masks[choice[0]].append((choice[1], path))
    if not masks:
        _refuse_none(listing.root, pattern, images, taken)
    pairs = _by_split(listing.root, pattern, images, masks, lone, classes)
    used = {path for path, _ in taken} | set(images.values())
    return pairs, used


def _files(listing: Listing) -> Iterator[tuple[str, Place]]:
    for folder, names in listing.files.items():
        place = place_of(folder)
        for name in names:
            if ending(name) in MASK_FILES:
                yield folder + name, place


def _keys(
    pair: PairPattern, pattern: Pattern, path: str, place: Place, kind: str
) -> Iterator[tuple[Key, str]]:
    """Yield what a path may be the image, or a mask, of: the key, and a mask's class."""
    if not pattern.of_path and place.kind not in (None, kind):
        return
    for fields in pattern.fits(path):
        split = place.split
        if "split" in fields:
            said = meaning(fields["split"])
            if said is None or not said.split:
                continue
            split = said.split
        inside = () if pattern.of_path else (*place.lead, *place.rest)
        shared = (fields[name] for name in pair.shared)
        yield (split or "train", "/".join((*inside, *shared))), fields.get("class", "")


def _by_split(
    root: Path,
    pattern: PairPattern,
    images: dict[Key, str],
    masks: dict[Key, list[tuple[str, str]]],
    lone: list[tuple[str, str]],
    classes: tuple[str, ...],
) -> dict[str, Pairs]:
    of_class = "class" in pattern.mask.fields
    known = _classes(root, masks, classes) if of_class else ()
    order = {name: place for place, name in enumerate(known)}
    found: dict[str, Pairs] = {}
    for split in sorted({split for split, _ in masks}):
        keys = sorted((key for key in masks if key[0] == split), key=lambda k: k[1].split("/"))
        of_each = [sorted(masks[key], key=lambda m: (order.get(m[0], 0), m[1])) for key in keys]
        for key, several in zip(keys, of_each, strict=True):
            _refuse_several(root, pattern, images[key], several)
        image_paths = [images[key] for key in keys]
        mask_paths = [[path for _, path in several] for several in of_each]
        found[split] = ListedPairs(
            images=root / _common(image_paths),
            masks=root / _common([path for paths in mask_paths for path in paths]),
            keys=Names(key for _, key in keys),
            rule=f"{pattern.image.text} : {pattern.mask.text}",
            without_mask=tuple(p for k, p in images.items() if k[0] == split and k not in masks),
            without_image=tuple(path for of, path in lone if of == split),
            root=root,
            image_paths=Names(image_paths),
            mask_paths=Names(SEPARATOR.join(paths) for paths in mask_paths),
            several=pattern.several,
            classes=known,
            class_of=Names(SEPARATOR.join(label for label, _ in several) for several in of_each),
        )
    return found


def _classes(
    root: Path, masks: dict[Key, list[tuple[str, str]]], given: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the classes of masks that hold one each, in the order in which they are merged."""
    examples = {label: path for several in masks.values() for label, path in several}
    if given and (unknown := sorted(set(examples) - set(given))):
        raise SegzooError(
            f"{root / examples[unknown[0]]} is a mask of `{unknown[0]}`, which -O classes does "
            f"not name: {', '.join(given)}",
            "name every class, in the order in which masks are laid over each other",
        )
    return given or tuple(sorted(examples))


def _refuse_several(
    root: Path, pattern: PairPattern, image: str, several: list[tuple[str, str]]
) -> None:
    labels = [label for label, _ in several]
    if len(labels) == len(set(labels)) or (pattern.several and "class" not in pattern.mask.fields):
        return
    twice = [path for label, path in several if labels.count(label) > 1]
    raise SegzooError(
        f"-O pair: {root / twice[0]} and {root / twice[1]} are both masks of {root / image}",
        "masks that are to be merged differ by {class}, or by * where each holds one object",
    )


def _refuse_none(
    root: Path, pattern: PairPattern, images: dict[Key, str], taken: Sequence[tuple[str, object]]
) -> None:
    raise SegzooError(
        f"-O pair: {root} has {number_of(len(images), 'picture')} fitting {pattern.image.text}"
        + (f", such as {next(iter(images.values()))}" if images else "")
        + f", and {number_of(len(taken), 'file')} fitting {pattern.mask.text}"
        + (f", such as {taken[0][0]}" if taken else "")
        + "; none of them belong together",
        "a pattern is a file's name, or with / its path below the root; {name} is what an image "
        f"and its mask share, * anything{_by_path(root, pattern, images, taken)}",
    )


def _by_path(
    root: Path, pattern: PairPattern, images: dict[Key, str], taken: Sequence[tuple[str, object]]
) -> str:
    """Say how patterns of names would be of paths, where files lie in several folders."""
    paths = [*images.values(), *(path for path, _ in taken)]
    folders = list(dict.fromkeys(path.rpartition("/")[0] for path in paths))
    if pattern.image.of_path or pattern.mask.of_path or len(folders) < 2:
        return ""
    of_images, of_masks = (f"{folder}/" if folder else "" for folder in (folders[0], folders[-1]))
    return (
        "; where folders tell images and masks apart, as paths: "
        f"-O pair='{of_images}{pattern.image.text}:{of_masks}{pattern.mask.text}'"
    )


def _common(paths: list[str]) -> str:
    return "/".join(shared_start([path.split("/")[:-1] for path in paths]))
