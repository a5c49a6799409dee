"""From a folder to the pairs of its splits: by folder names, patterns, named folders, lists."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.data.folder.known_names import Kind, meaning
from segzoo.data.folder.layout import (
    Found,
    Group,
    NoMasksError,
    add_files,
    find_pairs,
    group_files,
    without_masks,
)
from segzoo.data.folder.leftovers import annotations, left_out, way_out
from segzoo.data.folder.links import refuse_links, refuse_shared
from segzoo.data.folder.pattern_pairs import pair_by_pattern
from segzoo.data.folder.patterns import parse_pair
from segzoo.data.folder.several import refuse_several_sets, refuse_undivided, undivided_folders
from segzoo.data.folder.split_lists import Lists, divide, find_lists
from segzoo.data.folder.suggestions import suggested, suggested_folders
from segzoo.data.index import Index
from segzoo.data.listing import Listing, ending, is_hidden, walk
from segzoo.data.names import Names
from segzoo.data.pairs import Pairs, SuffixPairs
from segzoo.data.splits import refuse_folds
from segzoo.errors import SegzooError
from segzoo.words import number_of

USUAL = (
    "lay them out as images/ + masks/, train/images/ + train/masks/, train/ + trainannot/ "
    "or side by side as a.jpg + a_mask.png, or name the folders: "
    "-O images=DIR -O masks=DIR -O suffix=_x, or what images and masks are called: "
    "-O pair='img_{name}.*:mask_{name}.png'"
)


@dataclass(frozen=True, kw_only=True)
class Where:
    """The options of `folder` that say where its files are; see `FolderOptions`."""

    images: str | None = None
    masks: str | None = None
    suffix: str | None = None
    pair: str | None = None
    lists: str = "auto"
    group: str | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The pairs of every split that there is, what is left out, and what else was found."""

    pairs: dict[str, Pairs]
    notices: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def find_layout(root: Path, where: Where) -> Layout:
    """Find the pairs of every split; a folder without splits is all `train`.

    That of a large folder is remembered in the user's cache folder until a file comes or goes.
    Raises SegzooError where nothing pairs up, naming the layouts and what is there instead.
    """
    index = Index((root,), ["folder", *(getattr(where, name) for name in Where.__annotations__)])
    if (known := _load(index, root)) is not None:
        return known
    if where.pair:
        layout = _by_pattern(root, where, index)
    elif where.images is not None or where.masks is not None:
        layout = _by_named_folders(root, where, index)
    else:
        layout = _by_folder_names(root, where, index)
    _save(index, root, layout)
    return layout


def _by_folder_names(root: Path, where: Where, index: Index) -> Layout:
    listing = walk(root, watch=index.watch)
    refuse_links(listing)
    groups = group_files(listing)
    try:
        found = find_pairs(root, groups, where.suffix)
    except NoMasksError as error:
        raise _with_annotations(root, listing, error) from None
    if not found.pairs:
        raise _nothing(root, listing, groups)
    unused = [group for group in groups if not any(group is used for used in found.used)]
    layout = _with_lists(root, where, index, listing, found, unused)
    refuse_several_sets(root, listing, found, unused)
    return layout


def _by_pattern(root: Path, where: Where, index: Index) -> Layout:
    for name in ("images", "masks", "suffix"):
        if (given := getattr(where, name)) is not None:
            raise SegzooError(
                f"-O pair={where.pair} and -O {name}={given}",
                "the patterns say it all: put the folder into them, as images/{name}.*",
            )
    listing = walk(root, watch=index.watch)
    refuse_links(listing)
    pairs, used = pair_by_pattern(listing, parse_pair(where.pair or ""), where.classes)
    groups = group_files(listing)
    for group in groups:
        group.files = {key: end for key, end in group.files.items() if group.path(key) not in used}
    return _with_lists(root, where, index, listing, Found(pairs), groups)


def _by_named_folders(root: Path, where: Where, index: Index) -> Layout:
    groups: list[Group] = []
    listings: dict[Path, Listing] = {}
    beside = where.images is None or where.masks is None
    kinds: tuple[tuple[Kind, str | None], ...] = (
        ("images", where.images or where.masks),
        ("masks", where.masks),
    )
    for kind, name in kinds:
        if name is None or (beside and kind == "masks"):
            continue
        named = list(_named(root, name))
        if kind == "images":  # Masks of all splits may lie in one folder.
            refuse_shared((split, folder) for split, _, folder in named)
        for split, word, folder in named:
            listings[folder] = walk(folder, watch=index.watch)
            groups.append(_one_group(root, listings[folder], None if beside else kind, split, word))
    found = find_pairs(root, groups, where.suffix)
    if not found.pairs:
        raise _nothing_named(root, where, groups)
    pairs, _, notices, said = _divided(root, where, index, walk(root, watch=index.watch), found)
    for listing in listings.values():
        warned, info = left_out(listing, ())
        notices += [warned] * bool(warned)
        said += [info] * bool(info)
    return Layout(pairs, tuple(notices), tuple(said))


def _named(root: Path, pattern: str) -> Iterable[tuple[str, str, Path]]:
    """Yield split, the name that says it, and folder, of the folders that a name stands for."""
    if "{split}" not in pattern:
        folder = root / pattern
        return [("", "", folder)] if folder.is_dir() else []
    before, _, after = pattern.partition("{split}")
    parent, slash, first = before.rpartition("/")
    last, more, rest = after.partition("/")
    above = root / (parent + slash)
    found = []
    for name in sorted(os.listdir(above)) if above.is_dir() else ():  # noqa: PTH208
        fits = re.fullmatch(re.escape(first) + "(.+)" + re.escape(last), name)
        said = meaning(fits[1]) if fits and not is_hidden(name) else None
        folder = above / (name + more + rest.replace("{split}", fits[1] if fits else ""))
        if said is not None and said.split and folder.is_dir():
            found.append((said.split, said.word, folder))
    return found


def _one_group(root: Path, listing: Listing, kind: Kind | None, split: str, word: str) -> Group:
    """Put all pictures of a named folder into one group, whatever folders in it are called."""
    shown = os.path.relpath(listing.root, root)
    base = "" if shown == "." else f"{shown}/"
    group = Group(split, kind, 0, base=base, words={word} - {""}, folder=shown)
    for folder, names in listing.files.items():
        add_files(group, base + folder, names, tuple(folder.split("/")[:-1]))
    return group


def _with_lists(
    root: Path, where: Where, index: Index, listing: Listing, found: Found, unused: list[Group]
) -> Layout:
    """Divide pairs without splits by the user's own lists, and say what is left out."""
    pairs, lists, notices, said = _divided(root, where, index, listing, found)
    warned, info = left_out(listing, unused, {*lists.files.values(), *lists.others})
    notices += [warned] * bool(warned)
    said += [info] * bool(info)
    return Layout(pairs, tuple(notices), tuple(said))


def _divided(
    root: Path, where: Where, index: Index, listing: Listing, found: Found
) -> tuple[dict[str, Pairs], Lists, list[str], list[str]]:
    """Return the pairs of each split, the lists, what is doubtful, and what is only said."""
    pairs, lists = found.pairs, find_lists(listing, where.lists)
    notices = [*lone(pairs), *found.notices]
    said: list[str] = []
    whole = list(pairs) == ["train"] and not any(group.split for group in found.used)
    if lists.files and whole:
        for file in lists.files.values():
            index.watch(root / file)
        pairs, told = divide(root, pairs["train"], lists)
        said.append("splits by " + ", ".join(lists.files.values()))
        notices += told
    elif lists.files or lists.others:
        why = ", for folders say what is train and val" if lists.files else ""
        lists = Lists(others=(*lists.files.values(), *lists.others))
        notices.append(f"lists of pictures are not used{why}: {', '.join(lists.others[:4])}")
    elif whole:
        if not where.pair and where.images is None and where.masks is None:
            refuse_undivided(pairs["train"], where.group)
        if where.group is None:  # What it advises would be said again to who has done it.
            notices += undivided_folders(pairs["train"])
    if whole and not lists.files and lists.unread:
        notices.append(
            f"{', '.join(lists.unread[:4])} may say what is train and val, and is not read: a list "
            "is a text file, train.txt or val.txt, with a picture's name a line"
        )
    refuse_folds(root, pairs)
    return pairs, lists, notices, said


def lone(every: dict[str, Pairs]) -> list[str]:
    """Say which images have no mask, and which masks no image."""
    notices: list[str] = []
    for split, pairs in every.items():
        for missing, noun, lacks in (
            (pairs.without_mask, "image", "without a mask"),
            (pairs.without_image, "mask", "without an image"),
        ):
            if missing:
                shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
                notices.append(
                    f"{split}: left out: {number_of(len(missing), noun)} {lacks}: {shown}"
                )
    return notices


def _with_annotations(root: Path, listing: Listing, error: SegzooError) -> SegzooError:
    """Add to an error which annotations are there that are not read, and how masks come of them."""
    by_ending: dict[str, list[str]] = {}
    for path in listing.paths():
        by_ending.setdefault(ending(path), []).append(path)
    if not (forms := annotations(root, by_ending)):
        return error
    found = "; ".join(
        f"{number_of(len(paths), 'file')} of {form.name}, such as {paths[0]}"
        for form, paths in forms
    )
    return SegzooError(
        f"{error.message}, but annotations that are not read: {found}",
        f"{way_out(forms)}; then {USUAL}",
    )


def _nothing(root: Path, listing: Listing, groups: list[Group]) -> SegzooError:
    plain = SegzooError(f"no pairs of images and masks in {root}")
    if (told := _with_annotations(root, listing, plain)) is not plain:
        return told
    groups = sorted(groups, key=lambda group: (not group.files, group.inner))
    images = next((group for group in groups if group.kind == "images" and group.files), None)
    masks = next((group for group in groups if group.kind == "masks"), None)
    if images and masks:
        advice = suggested_folders(images.files, masks.files) or suggested(
            images.files, masks.files, images.start, masks.start
        )
        return SegzooError(without_masks(root, images, masks), advice or USUAL)
    inside = sorted(child.name for child in root.iterdir())[:8]
    warned, _ = left_out(listing, ())
    return SegzooError(
        f"no pairs of images and masks in {root} "
        f"(it {'holds ' + ', '.join(inside) if inside else 'is empty'})"
        + (f"; {warned}" if warned else ""),
        USUAL,
    )


def _nothing_named(root: Path, where: Where, groups: list[Group]) -> SegzooError:
    images = next((group for group in groups if group.kind != "masks" and group.files), None)
    masks = next((group for group in groups if group.kind == "masks"), None)
    if images and masks:
        advice = suggested(images.files, masks.files, images.start, masks.start)
        return SegzooError(without_masks(root, images, masks), advice or USUAL)
    for name in ("images", "masks"):
        given = getattr(where, name)
        if given is not None and not any(True for _ in _named(root, given)):
            return SegzooError(f"-O {name}={given}: no such folder in {root}", USUAL)
    return SegzooError(
        f"no pairs of images and masks in {where.images or where.masks} of {root}", USUAL
    )


def _load(index: Index, root: Path) -> Layout | None:
    known = index.load()
    if known is None:
        return None
    pairs: dict[str, Pairs] = {}
    start = 0
    for told in known["splits"]:
        stop = start + told["count"]
        pairs[told["split"]] = SuffixPairs(
            images=root / told["images"],
            masks=root / told["masks"],
            rule=told["rule"],
            without_mask=tuple(told["without_mask"]),
            without_image=tuple(told["without_image"]),
            endings=tuple((image, mask) for image, mask in told["endings"]),
            keys=known["keys"].part(start, stop),
            which=known["which"][start:stop],
        )
        start = stop
    return Layout(pairs, tuple(known["notices"]), tuple(known["said"]))


def _save(index: Index, root: Path, layout: Layout) -> None:
    every = layout.pairs.values()
    if not all(isinstance(pairs, SuffixPairs) for pairs in every):
        return
    splits: list[dict[str, Any]] = []
    which: list[Any] = []
    for split, pairs in layout.pairs.items():
        assert isinstance(pairs, SuffixPairs)
        splits.append(
            {
                "split": split,
                "count": len(pairs.keys),
                "images": os.path.relpath(pairs.images, root),
                "masks": os.path.relpath(pairs.masks, root),
                **{
                    name: getattr(pairs, name)
                    for name in ("rule", "without_mask", "without_image", "endings")
                },
            }
        )
        which.append(pairs.which)
    index.save(
        keys=Names.joined([pairs.keys for pairs in every]),
        arrays={"which": np.concatenate(which)},
        told={"splits": splits, "notices": layout.notices, "said": layout.said},
    )
