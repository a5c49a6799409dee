"""Several data sets below one root, each in a folder of its own: refused, never mixed.

Training on one of them, or on all of them as one, is hardly what was meant, and the user knows
which; an error names them.
"""

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segzoo.data.folder.known_names import place_of, shared_start
from segzoo.data.folder.layout import Found, Group, find_pairs, group_files
from segzoo.data.images import SUFFIXES
from segzoo.data.listing import Listing, ending
from segzoo.data.pairs import Pairs
from segzoo.errors import SegzooError

MOST_NAMED = 3
"""Folders of pairs up to which it is asked whether they are data sets; more are scenes or films."""
MOST_COMMANDS = 8
TOGETHER = "-O group='{group}/*'"

Sets = dict[str, list[str]]


def refuse_several_sets(root: Path, listing: Listing, found: Found, unused: list[Group]) -> None:
    """Raise SegzooError where a folder with a data set of its own lies beside those that are used,
    or where several folders have a train and a val each.
    """
    above, sets = _folders_of_sets(listing)
    if len(sets) < 2:
        return
    both = [
        name
        for name, folders in sets.items()
        if {"train", "val"} <= {place_of(folder).split for folder in folders}
    ]
    if len(both) > 1 and {"train", "val"} <= found.pairs.keys():
        raise _error(
            root / above,
            both,
            "to train on all of them, put their pictures below one train/ and one val/",
        )
    used = {_set_of(group, above) for group in found.used}
    if len(used) != 1 or not (own := used.pop()) or not any(group.files for group in unused):
        return
    others = [name for name in sets if name != own and _pairs_up(listing, sets[name])]
    if others:
        raise _error(root / above, [own, *others])


def refuse_undivided(pairs: Pairs, group: str | None) -> None:
    """Raise SegzooError where training pictures come from few folders whose names say no split.

    They may be data sets, splits, or scenes: then a pattern of `group` says so.
    """
    folders = first_folders(pairs)
    if group is None and folders and pairs.images == pairs.masks:
        raise _error(
            pairs.images,
            folders,
            f"if they are scenes or films of one data set, say so by {TOGETHER}; if they are its "
            "splits, call them train, val and test",
        )


def undivided_folders(pairs: Pairs) -> list[str]:
    """Say of few folders whose names say nothing that all of them are `train`: they may be splits,
    or pictures that belong together.
    """
    folders = first_folders(pairs)
    if not folders:
        return []
    return [
        f"train: pairs of the folders {', '.join(folders)}, whose names say no split, are all "
        "`train`; a folder that is a split is called train, val or test, and pictures of one "
        f"folder stay on one side with {TOGETHER}"
    ]


def first_folders(pairs: Pairs) -> list[str]:
    """Return the first folders in the keys of pairs; none where there are one or many, or where
    some pictures are in no folder.
    """
    folders = sorted({key.partition("/")[0] if "/" in key else "" for key in pairs.keys})
    return folders if 2 <= len(folders) <= MOST_NAMED and "" not in folders else []


def _folders_of_sets(listing: Listing) -> tuple[str, Sets]:
    """Return the folder that all pictures lie in, and those of its folders whose names say nothing,
    each with the folders of pictures below it.
    """
    leads = {
        folder: place.lead if place.template else place.rest
        for folder, names in listing.files.items()
        if any(ending(name) in SUFFIXES for name in names)
        for place in (place_of(folder),)
    }
    shared = shared_start(list(leads.values())) if leads else ()
    sets: Sets = defaultdict(list)
    for folder, lead in leads.items():
        if len(lead) > len(shared):
            sets[lead[len(shared)]].append(folder)
    return "/".join(shared), sets


def _set_of(group: Group, above: str) -> str:
    """Return the name of the folder below `above` that all pictures of a group lie in, or ""."""
    inside = group.folder.removeprefix(above).strip("/")
    return inside.partition("/")[0]


def _pairs_up(listing: Listing, folders: Sequence[str]) -> bool:
    part = replace(listing, files={folder: listing.files[folder] for folder in folders})
    try:
        return bool(find_pairs(listing.root, group_files(part), None).pairs)
    except SegzooError:
        return False


def _error(above: Path, names: Sequence[str], otherwise: str = "") -> SegzooError:
    names = sorted(names)
    more = " ..." if len(names) > MOST_COMMANDS else ""
    ways = [f"--root {shlex.quote(str(above / name))}" for name in names[:MOST_COMMANDS]]
    return SegzooError(
        f"{above} holds {len(names)} data sets, each in a folder of its own: "
        f"{', '.join(names[:MOST_COMMANDS])}{more}",
        f"give one of them: {' or '.join(ways)}{more}" + (f"\n{otherwise}" if otherwise else ""),
    )
