"""A user's own train, val and test in text files: `train.txt`, VOC's ``ImageSets/**/val.txt``.

A line names a picture, by its path or its name, with or without ending; what follows on the line,
such as its mask's path, is not needed.
"""

import codecs
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segzoo.data.folder.known_names import SPLITS
from segzoo.data.listing import Listing, ending
from segzoo.data.pairs import Pairs
from segzoo.errors import SegzooError, listed
from segzoo.host.regular import refuse_irregular
from segzoo.words import number_of

ENDINGS = (".txt", ".lst", ".list")
UNREAD_ENDINGS = (".csv", ".tsv", ".json", ".yaml", ".yml", ".pkl", ".xlsx")
_AROUND = {
    *("list", "lists", "file", "files", "filelist", "filenames", "id", "ids", "name", "names"),
    *("image", "images", "img", "imgs", "split", "splits", "set", "index", "pairs", "samples"),
}
"""What stands beside the split in the name of a list: `train_ids`, `split_val`."""
MOST_BYTES = 1 << 28
ALL_TRAIN = "trainval"
_BETWEEN = re.compile(r"[\s,;]")
_BEHIND_A_FILE = re.compile(r"\.\w{2,5}\s*[\s,;]")
_ORDER = (*SPLITS, ALL_TRAIN)


@dataclass(frozen=True)
class Lists:
    """The list of each split, relative to the root, and those beside them that are not used.

    With `whole` the list of `train` is one of `train` and `val` together. `unread` are files in
    other forms that may say the same.
    """

    files: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    others: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def find_lists(listing: Listing, where: str) -> Lists:
    """Find the lists of pictures; `where` is "auto", "none", or a folder below the root.

    Of several folders with lists the one for segmentation is taken. Raises SegzooError where it is
    not clear which ones are meant.
    """
    folders: dict[str, dict[str, str]] = {}
    every: list[str] = []
    for folder, names in listing.files.items():
        for name in sorted(names, key=lambda name: (len(name), name)):  # train before train_list
            if ending(name) in ENDINGS and (split := _split_of(name)):
                folders.setdefault(folder, {}).setdefault(split, folder + name)
                every.append(folder + name)
    unread = _unread(listing)
    if where == "none" or (where == "auto" and not folders):
        return Lists(others=tuple(sorted(every)), unread=() if where == "none" else unread)
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
    lists = {split: folders[chosen][split] for split in _ORDER if split in folders[chosen]}
    whole = lists.pop(ALL_TRAIN, None)
    together = whole is not None and "train" not in lists
    if whole and together:  # Last: what others name is not in it.
        lists["train"] = whole
    used = set(lists.values())
    return Lists(lists, together, tuple(sorted(set(every) - used)), unread)


def _split_of(name: str) -> str:
    stem = name.casefold().removesuffix(ending(name))
    parts = [part for part in re.split(r"[_\-. ]+", stem) if part and part not in _AROUND]
    plain = "".join(parts)
    if plain == ALL_TRAIN:
        return ALL_TRAIN
    return next((split for split, words in SPLITS.items() if plain in words), "")


def _unread(listing: Listing) -> tuple[str, ...]:
    """Return files that say by their names that they divide pictures, in forms that are not read:
    `splits.json`, or `train.csv` and `val.csv` in one folder.
    """
    found: list[str] = []
    for folder, names in listing.files.items():
        of_split: dict[str, str] = {}
        for name in names:
            if ending(name) in UNREAD_ENDINGS:
                if name.casefold().removesuffix(ending(name)) in ("split", "splits", "folds"):
                    found.append(folder + name)
                elif split := _split_of(name):
                    of_split.setdefault(split, folder + name)
        if {"train", "val"} <= of_split.keys():
            found += of_split.values()
    return tuple(found)


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


def divide(root: Path, pairs: Pairs, lists: Lists) -> tuple[dict[str, Pairs], list[str]]:
    """Return the pairs of each list, and what is to be said of entries and pairs left over. Without
    a list of `train` the pairs in none of the others are.

    Raises SegzooError for a list of which nothing is found, and for a picture in two lists.
    """
    names = _Names(root, pairs)
    found: dict[str, Pairs] = {}
    notices: list[str] = []
    owner: dict[int, str] = {}
    for split, file in lists.files.items():
        shared = lists.files.get("val", "") if split == "train" and lists.whole else ""
        listed, missing = _places(root / file, names)
        places: list[int] = []
        for place in listed:
            first = owner.setdefault(place, file)
            if first not in (file, shared):
                raise SegzooError(
                    f"{pairs.keys[place]} is in {root / first} and in {root / file}",
                    "score a model on pictures that it was not trained on: take it out of one",
                )
            places += [place] * (first == file)
        if missing:
            entries = number_of(len(missing), "entry", plural="entries")
            said = f"without a pair of image and mask: {entries} of {root / file}"
            if not listed:
                raise SegzooError(f"{said}: {missing[0]}", _NAMES_PICTURES)
            notices.append(f"{said}, such as {missing[0]}")
        if not places and split != "test":
            said = " but those of `val`" if listed else ""
            raise SegzooError(f"{root / file} names no pictures{said}", _NAMES_PICTURES)
        if len(places) < len(listed):
            notices.append(
                f"train: {number_of(len(places), 'pair')} of {file}, without the "
                f"{len(listed) - len(places)} that {shared} names"
            )
        if places:
            found[split] = pairs.at(sorted(places))
    left = [place for place in range(len(pairs.keys)) if place not in owner]
    if left and "train" not in lists.files:
        found = {"train": pairs.at(left), **found}
        notices.append(
            f"train: the {number_of(len(left), 'pair')} in none of the lists, such as "
            f"{pairs.keys[left[0]]}; a list train.txt says which ones are meant"
        )
    elif left:
        count = number_of(len(left), "pair")
        first = pairs.keys[left[0]]
        notices.append(f"left out: {count} in none of the lists, such as {first}")
    return found, notices


_NAMES_PICTURES = "a line names a picture of the folder; -O lists=none does without the lists"


def _places(file: Path, names: "_Names") -> tuple[list[int], list[str]]:
    """Return the places of the pictures that a list names, each once, and lines that name none."""
    places: dict[int, None] = {}
    missing: list[str] = []
    for line, text in _lines(file):
        place = names.place(text)
        if place is not None:
            names.check_mask(place, text, f"{file}, line {line}")
            places[place] = None
        elif not text.startswith("#"):
            missing.append(f"line {line}, {_first(text)}")
    return list(places), missing


class _Names:
    """What pictures and their masks may be called in a list, and by which place of a pair."""

    def __init__(self, root: Path, pairs: Pairs) -> None:
        self._root, self._pairs = root, pairs
        self._images = self._of_files(lambda place: pairs.files(place)[:1])
        self._masks: dict[str, int | None] | None = None

    def place(self, text: str) -> int | None:
        """Return the place of a line's picture: the whole line, or what comes first on it."""
        for piece in (text.partition("\t")[0], re.split(r"[\t,;]", text)[0]):
            if (place := self._whole(piece)) is not None:
                return place
        return _place(_first(text), self._images)

    def _whole(self, text: str) -> int | None:
        """Return the place of a picture whose name is a whole line, spaces and commas with it."""
        return _place(text.strip("\"' "), self._images, whole=True)

    def check_mask(self, place: int, text: str, where: str) -> None:
        """Raise SegzooError for a line that names another picture's mask behind its picture."""
        if self._whole(text) is not None:
            return
        for entry in _behind_first(text):
            if self._masks is None:
                self._masks = self._of_files(lambda place: self._pairs.files(place)[1:])
            other = _place(entry, self._masks)
            if other not in (None, place):
                image, mask = self._pairs.files(place)[:2]
                raise SegzooError(
                    f"{where}: {entry} as the mask of {image.name}, which is {mask.name} by its "
                    "name",
                    "masks are found by their names: rename them, or mend the list",
                )

    def _of_files(self, files: Callable[[int], Iterable[Path]]) -> dict[str, int | None]:
        """Map every name of files to their place, None where two share it; and every name in
        lower case and with composed accents that is not another's own.
        """
        names: dict[str, int | None] = {}
        for place, key in enumerate(self._pairs.keys):
            for file in files(place):
                path = PurePosixPath(os.path.relpath(file, self._root).replace(os.sep, "/"))
                known = {str(path), str(path.with_suffix("")), path.name, path.stem}
                for name in known | ({key} if file == self._pairs.files(place)[0] else set()):
                    names[name] = place if names.get(name, place) == place else None
        folded: dict[str, int | None] = {}
        for name, place in names.items():
            loose = _folded(name)
            folded[loose] = place if folded.get(loose, place) == place else None
        return {**folded, **names}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _place(entry: str, names: Mapping[str, int | None], *, whole: bool = False) -> int | None:
    """Find a picture by its path, by the end of its path (lists are often of another machine), or
    by its name; a `whole` line is one name, its spaces and commas with it.
    """
    parts = entry.replace("\\", "/").removeprefix("./").split("/")
    for start in range(len(parts)):
        text, before = "/".join(parts[start:]), "/".join(parts[:start])
        # Behind a space there may be another file, such as the mask.
        if whole and _BETWEEN.search(before) and not _BETWEEN.search(text):
            continue
        if whole and _BEHIND_A_FILE.search(before):
            break
        for known in (text, text.rpartition(".")[0]):
            for name in (known, _folded(known)):
                if known and (place := names.get(name)) is not None:
                    return place
    return None


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    """Yield number and text of each line of a list that is not empty."""
    refuse_irregular(path, "a list of pictures")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SegzooError(f"{path} is not a list of pictures: {path.stat().st_size} bytes")
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = re.split("\r\n|\r|\n", content.decode("utf-16" if wide else "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SegzooError(
            f"the list {path} cannot be read: {error}", "save it as text in UTF-8"
        ) from error
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield number, text


def _first(text: str) -> str:
    """Return the picture of a line: up to a tab, comma or semicolon, or its first word where more
    than one follows with an ending, or a number as in VOC's lists of one class.
    """
    for separator in ("\t", ",", ";"):
        text = text.partition(separator)[0].strip()
    text = text.strip("\"'")
    words = text.split()
    if len(words) > 1 and all("." in word or word.lstrip("-").isdigit() for word in words[1:]):
        return words[0]
    return text


def _behind_first(text: str) -> list[str]:
    """Return what may be a mask behind a line's picture: pieces with an ending."""
    pieces = re.split(r"[\t,;]", text)
    pieces = pieces[1:] if len(pieces) > 1 else text.split()[1:]
    return [piece for word in pieces if "." in (piece := word.strip(" \"'"))]
