"""A user's own train, val and test in text files: `train.txt`, VOC's ``ImageSets/**/val.txt``.

A line names a picture, by its path or its name, with or without ending; what follows on the line,
such as its mask's path, is not needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segzoo.data.folder_names import SPLITS
from segzoo.data.listing import Listing, ending
from segzoo.data.pairs import Pairs
from segzoo.errors import SegzooError, listed
from segzoo.words import number_of

ENDINGS = (".txt", ".lst", ".list")
MOST_BYTES = 1 << 28
ALL_TRAIN = "trainval"


@dataclass(frozen=True)
class Lists:
    """The list of each split, relative to the root, and those beside them that are not used."""

    files: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def find_lists(listing: Listing, where: str) -> Lists:
    """Find the lists of pictures; `where` is "auto", "none", or a folder below the root.

    Of several folders with lists the one for segmentation is taken. Raises SegzooError where it is
    not clear which ones are meant.
    """
    folders: dict[str, dict[str, str]] = {}
    for folder, names in listing.files.items():
        for name in names:
            split = _split_of(name)
            if split:
                folders.setdefault(folder, {}).setdefault(split, folder + name)
    every = [path for lists in folders.values() for path in lists.values()]
    if where == "none" or (where == "auto" and not folders):
        return Lists(others=tuple(every))
    if where != "auto":
        asked = where.strip("/").removeprefix("./").rstrip("/")
        chosen = f"{asked}/" if asked and asked != "." else ""
        if chosen not in folders:
            raise SegzooError(
                f"-O lists={where}: no train.txt, val.txt or test.txt in {listing.root / asked}",
                f"there are lists in {listed(folders)}" if folders else "a list has a name a line",
            )
    else:
        chosen = _likeliest(listing.root, folders)
    lists = dict(folders[chosen])
    whole = lists.pop(ALL_TRAIN, None)
    if whole and "train" not in lists and "val" not in lists:
        lists["train"] = whole
    used = set(lists.values())
    return Lists(lists, tuple(path for path in every if path not in used))


def _split_of(name: str) -> str:
    if (last := ending(name)) not in ENDINGS:
        return ""
    stem = name.casefold().removesuffix(last)
    for split, words in SPLITS.items():
        if stem in words:
            return split
    return ALL_TRAIN if stem in (ALL_TRAIN, "train_val") else ""


def _likeliest(root: Path, folders: dict[str, dict[str, str]]) -> str:
    def has_train(folder: str) -> bool:
        return not {"train", ALL_TRAIN}.isdisjoint(folders[folder])

    named = [folder for folder in folders if "segmentation" in folder.casefold()]
    candidates = [f for f in named or folders if has_train(f)] or list(named or folders)
    if len(candidates) > 1:
        raise SegzooError(
            f"{root} has lists of pictures in {listed(sorted(c or './' for c in candidates))}",
            f"say which are meant: -O lists={candidates[0] or '.'}, or -O lists=none",
        )
    return candidates[0]


def divide(root: Path, pairs: Pairs, lists: dict[str, str]) -> tuple[dict[str, Pairs], list[str]]:
    """Return the pairs of each list, and what is to be said of entries and pairs left over.

    Raises SegzooError for a list of which nothing is found, and for a picture in two lists.
    """
    names = _names_of(root, pairs)
    found: dict[str, Pairs] = {}
    notices: list[str] = []
    owner: dict[int, str] = {}
    for split, file in lists.items():
        places: list[int] = []
        missing: list[str] = []
        for line, entry in _entries(root / file):
            place = _place(entry, names)
            if place is None:
                missing.append(f"line {line}, {entry}")
                continue
            if owner.get(place, file) != file:
                raise SegzooError(
                    f"{pairs.keys[place]} is in {root / owner[place]} and in {root / file}",
                    "score a model on pictures that it was not trained on: take it out of one",
                )
            if place not in owner:
                owner[place] = file
                places.append(place)
        if missing:
            entries = number_of(len(missing), "entry", plural="entries")
            said = f"without a pair of image and mask: {entries} of {root / file}"
            if not places:
                raise SegzooError(
                    f"{said}: {missing[0]}",
                    "a line names a picture of the folder; -O lists=none does without the lists",
                )
            notices.append(f"{said}, such as {missing[0]}")
        if places:
            found[split] = pairs.at(sorted(places))
    if left := len(pairs.keys) - len(owner):
        first = next(key for place, key in enumerate(pairs.keys) if place not in owner)
        notices.append(f"left out: {number_of(left, 'pair')} in none of the lists, such as {first}")
    return found, notices


def _names_of(root: Path, pairs: Pairs) -> dict[str, int | None]:
    """Map every name that a picture may be called by to its place; None where two share it."""
    names: dict[str, int | None] = {}

    def add(name: str, place: int) -> None:
        names[name] = place if names.get(name, place) == place else None

    for place, key in enumerate(pairs.keys):
        path = PurePosixPath(pairs.files(place)[0].relative_to(root).as_posix())
        for known in {str(path), str(path.with_suffix("")), key, path.name, path.stem}:
            add(known, place)
    return names


def _place(entry: str, names: dict[str, int | None]) -> int | None:
    """Find a picture by its path, by the end of its path (lists are often of another machine), or
    by its name.
    """
    parts = entry.replace("\\", "/").removeprefix("./").split("/")
    for start in range(len(parts)):
        text = "/".join(parts[start:])
        for known in (text, text.rpartition(".")[0]):
            if known and (place := names.get(known)) is not None:
                return place
    return None


def _entries(path: Path) -> Iterable[tuple[int, str]]:
    """Yield number and picture of each line of a list."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SegzooError(f"{path} is no list of pictures: {path.stat().st_size} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SegzooError(f"the list {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, _first(text)


def _first(text: str) -> str:
    """Return the picture of a line: up to a tab, comma or semicolon, or its first word where more
    than one follows with an ending, or a number as in VOC's lists of one class.
    """
    for separator in ("\t", ",", ";"):
        text = text.partition(separator)[0].strip()
    words = text.split()
    if len(words) > 1 and all("." in word or word.lstrip("-").isdigit() for word in words[1:]):
        return words[0]
    return text
