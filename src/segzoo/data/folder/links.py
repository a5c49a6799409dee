"""Links that would put the same pictures into two splits, or call one folder by two of them."""

import os
from collections.abc import Iterable
from pathlib import Path

from segzoo.data.folder.known_names import place_of
from segzoo.data.listing import Listing
from segzoo.errors import SegzooError


def refuse_links(listing: Listing) -> None:
    """Raise SegzooError for a link of a split's name to a folder that is of another split, or of
    none: the link is not followed, for the folder is listed, and the split would be missing.
    """
    for link in listing.links:
        place = place_of(f"{link}/")
        split = place.split
        if not split or place.kind == "masks":  # Masks of all splits may lie in one folder.
            continue
        target = os.path.realpath(listing.root / link)
        for folder in listing.files:
            other = place_of(folder).split
            if other != split and os.path.realpath(listing.root / folder) == target:
                raise _linked(listing.root / link, listing.root / folder, split, other)


def refuse_shared(folders: Iterable[tuple[str, Path]]) -> None:
    """Raise SegzooError for one folder, by whatever paths, that is named for two splits."""
    known: dict[str, tuple[str, Path]] = {}
    for split, folder in folders:
        before, first = known.setdefault(os.path.realpath(folder), (split, folder))
        if before != split:
            raise _linked(folder, first, split, before)


def _linked(link: Path, folder: Path, split: str, other: str) -> SegzooError:
    if other:
        return SegzooError(
            f"{link} and {folder} are one folder, by a link: the same pictures as `{split}` and "
            f"as `{other}`",
            "give each split pictures of its own, or take the link away",
        )
    return SegzooError(
        f"{link} is a link to {folder}, which is listed already and of no split",
        f"name that folder itself for the split (rename it `{link.name}`), or keep it outside of "
        "the data set's root",
    )
