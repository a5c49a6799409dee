"""The pictures that `segzoo predict` segments, and what it leaves out of folders."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from segzoo.data.folder.known_names import meaning
from segzoo.data.folder.pairing import IMAGE_WORDS, MASK_WORDS
from segzoo.data.listing import SYSTEM_NAMES, Listing, ending, walk
from segzoo.data.pictures.formats import SUFFIXES, kind_of
from segzoo.errors import SegzooError
from segzoo.inference.outputs import shown
from segzoo.inference.record import FOLDER, Records

log = logging.getLogger("segzoo")

DRAWN = {"curves.png", "predictions.png"}
RUN_FILES = {"config.toml", "metrics.jsonl"}
MADE_WORDS = ("overlay", "cutout", "background")
"""What ends names that `segzoo predict` gives, and masks do not have."""
JUNK = {*SYSTEM_NAMES, ".ds_store", FOLDER}

UNREAD_FORMATS = "formats that are not read"
OTHER = "other files"
OWN = "written by segzoo predict"
OF_RUNS = "drawn by segzoo train"
BESIDE = "masks of pictures beside them"
IN_FOLDERS = "masks in a folder beside one of pictures"
EXPECTED = {OWN, OF_RUNS}
"""What nobody would miss: it is said, and is no warning."""


def collect(pictures: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (file, its path relative to what was given) for every picture, once each.

    Given are pictures, and folders, out of which everything else is left, what `segzoo predict` and
    `segzoo train` wrote, and the masks of data sets: all of it is counted and said, by its reason.
    Raises SegzooError for what is not there, and where no picture is left.
    """
    found: dict[Path, Path] = {}
    again: list[str] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    records = Records()
    for given in pictures:
        if given.is_dir():
            listing = walk(given)
            for relative, reason in _sorted_out(listing, records):
                if reason:
                    left_out[reason].append(str(given / relative))
                else:
                    again += [str(given / relative)] * (given / relative in found)
                    found.setdefault(given / relative, Path(relative))
        elif not given.is_file():
            raise SegzooError(f"{given}: no such picture or folder")
        elif records.know(given):
            left_out[OWN].append(str(given))
        else:
            again += [str(given)] * (given in found)
            found.setdefault(given, Path(given.name))
    where = f" in {pictures[0]}" if len(pictures) == 1 else ""
    said = _said(left_out, where)
    if not found:
        raise SegzooError(
            f"no pictures in {', '.join(map(str, pictures))}{f': {said}' if said else ''}",
            f"readable: {', '.join(sorted(SUFFIXES))}",
        )
    if said:
        (log.info if left_out.keys() <= EXPECTED else log.warning)("%s", said)
    if again:
        log.info("given more than once, and segmented once: %s", shown(again))
    _ask_about(found)
    return list(found.items())


def _sorted_out(listing: Listing, records: Records) -> Iterator[tuple[str, str]]:
    """Yield what lies in a folder, with the reason to leave it out, or ""."""
    mask_folders = _mask_folders(listing.files)
    for path in listing.hidden:
        if PurePosixPath(path).name.lower() not in JUNK:
            yield path, "hidden"
    for path in listing.links:
        yield path, "links to folders that are looked into anyway"
    for path in listing.irregular:
        yield path, "no regular files"
    for folder, names in listing.files.items():
        is_run = set(names) >= RUN_FILES
        pictures = [name for name in names if ending(name) in SUFFIXES]
        masks = _affixed(pictures, MASK_WORDS)
        for name in names:
            path = listing.root / folder / name
            if ending(name) not in SUFFIXES:
                reason = UNREAD_FORMATS if kind_of(name) == "unread picture" else OTHER
            elif not path.is_file():
                reason = "links to nothing"
            elif records.know(path):
                reason = OWN
            elif is_run and name in DRAWN:
                reason = OF_RUNS
            elif folder in mask_folders:
                reason = IN_FOLDERS
            else:
                reason = BESIDE if name in masks else ""
            yield folder + name, reason


def _mask_folders(folders: Iterable[str]) -> set[str]:
    """Return the folders of masks, at any depth, that have a folder of pictures beside them.

    As in `images` and `masks`, `train` and `trainannot`; folders are "" or end with /.
    """
    folders = list(folders)
    beside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        parts = folder.split("/")[:-1]
        for depth, part in enumerate(parts):
            beside["/".join(parts[:depth])].add(part)
    found: set[str] = set()
    for folder in folders:
        parts = folder.split("/")[:-1]
        for depth, part in enumerate(parts):
            said = meaning(part)
            if said is None or said.kind != "masks":
                continue
            others = [meaning(name) for name in beside["/".join(parts[:depth])]]
            if any(
                other.kind == "images" or (other.kind is None and other.split == said.split)
                for other in others
                if other is not None
            ):
                found.add(folder)
    return found


def _affixed(names: Iterable[str], words: Iterable[str]) -> set[str]:
    """Return those names that are another one's with some words around it: `a_mask`, `gt-a`.

    The other one may have a word for images instead: `a_leftImg8bit` beside `a_gtFine_labelIds`.
    """
    stems = {name: PurePosixPath(name).stem for name in names}
    owners: dict[str, set[str]] = defaultdict(set)
    for name, stem in stems.items():
        for core in (stem, _without(stem, IMAGE_WORDS)):
            owners[core.casefold()].add(name)
    found: set[str] = set()
    for name, stem in stems.items():
        core = stem
        while (shorter := _without(core, words)) != core:
            core = shorter
            if owners[core.casefold()] - {name}:
                found.add(name)
    return found


def _without(stem: str, words: Iterable[str]) -> str:
    """Return a name without a word at one of its ends, and what parts them; of `l` only an `L`."""
    for pattern in (
        r"(?P<core>.+)[_\-. ](?P<word>[^_\-. ]+)",
        r"(?P<word>[^_\-. ]+)[_\-. ](?P<core>.+)",
    ):
        match = re.fullmatch(pattern, stem)
        if match and match["word"].casefold() in words and match["word"] != "l":
            return match["core"]
    return stem


def _said(left_out: dict[str, list[str]], where: str) -> str:
    """Say in one line what is left out."""
    count = sum(map(len, left_out.values()))
    if not count:
        return ""
    parts: list[str] = []
    for reason, paths in left_out.items():
        endings = Counter(ending(path) or "without ending" for path in paths)
        kinds = ", ".join(f"{kind} {number}" for kind, number in endings.most_common(6))
        more = ", ..." if len(endings) > 6 else ""
        which = kinds + more if reason in (UNREAD_FORMATS, OTHER) else shown(paths)
        number = "" if len(left_out) == 1 else f"{len(paths)} "
        parts.append(f"{number}{reason} ({which})")
    files = "1 file" if count == 1 else f"{count} files"
    return f"{files}{where} {'is' if count == 1 else 'are'} left out: {'; '.join(parts)}"


def _ask_about(found: dict[Path, Path]) -> None:
    """Say of pictures that they look like masks or outputs of others: their names alone tell it."""
    by_folder: dict[Path, list[str]] = defaultdict(list)
    for path in found:
        by_folder[path.parent].append(path.name)
    alike = [
        folder / name
        for folder, names in by_folder.items()
        for name in sorted(_affixed(names, (*MADE_WORDS, *MASK_WORDS)))
    ]
    if alike:
        log.warning(
            "%d of the pictures to be segmented have names of masks, overlays or cut-outs of "
            "others (%s), and there is no record that segzoo predict wrote them",
            *(len(alike), shown(alike)),
        )
