"""What lies in a data folder and is not used: counted and named in one line, by reason."""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from segzoo.data.folder.known_names import place_of
from segzoo.data.folder.layout import Group
from segzoo.data.images import MASK_FILES, SUFFIXES
from segzoo.data.labels.class_files import KNOWN_FILES, UNREAD_FILES
from segzoo.data.listing import Listing, ending
from segzoo.data.pictures.formats import UNREAD_SUFFIXES
from segzoo.words import number_of

LISTS_OF_CLASSES = {*KNOWN_FILES, *UNREAD_FILES}
"""Files of which it is said elsewhere whether they are used."""
SHOWN = 4
"""How many of a kind are named."""
LOOKED_AT = 1 << 16
"""Bytes at a file's beginning and end that are looked at for what it is."""


@dataclass(frozen=True)
class Annotations:
    """A form of annotations that is not read: how files show it, and how masks come of it."""

    name: str
    endings: tuple[str, ...]
    signs: tuple[str, ...]
    way: str


FORMS = (
    Annotations("LabelMe polygons", (".json",), ('"shapes"', '"imagePath"'),
                "LabelMe's labelme2voc.py writes masks"),
    Annotations("COCO annotations", (".json",), ('"annotations"', '"categories"'),
                "pycocotools' COCO.annToMask makes masks of them"),
    Annotations("VIA regions", (".json",), ('"shape_attributes"',),
                "draw the polygons into PNG masks, one id a pixel"),
    Annotations("Label Studio tasks", (".json",), ('"annotations"', '"result"'),
                "export brush labels as PNG"),
    Annotations("Cityscapes polygons", (".json",), ('"imgHeight"', '"polygon"'),
                "cityscapesscripts' createTrainIdLabelImgs writes masks"),
    Annotations("Supervisely figures", (".json",), ('"classTitle"', '"objects"'),
                "export them as semantic segmentation masks"),
    Annotations("CVAT annotations", (".xml",), ("<annotations>",),
                "export the task from CVAT as `Segmentation mask`"),
    Annotations("Pascal VOC boxes", (".xml",), ("<annotation>",),
                "boxes are not masks; export masks from the labelling tool"),
    Annotations("run-length masks", (".csv",), ("EncodedPixels",),
                "decode them into PNG masks, one id a pixel"),
)  # fmt: skip
YOLO = Annotations("YOLO labels", (".txt",), (), "draw the polygons into PNG masks, one id a pixel")
_YOLO_LINE = re.compile(rb"\s*\d+(?:\s+-?\d*\.?\d+(?:e-?\d+)?){4,}\s*", re.IGNORECASE)
COUNTED = (".json", ".xml", ".csv", ".txt")


def left_out(
    listing: Listing, unused: Collection[Group], known: Collection[str] = ()
) -> tuple[str, str]:
    """Return what is left out of a data folder in one line, and of what is no data another.

    `unused` are the groups of pictures that are in no split; `known` are files that are used for
    something else, such as lists of pictures.
    """
    parts = [
        f"{number_of(len(group.files), 'picture')} in {_folders(group)} ("
        + (f"{group.split} without masks" if group.split else "of no split, or without masks")
        + f"), such as {group.path(min(group.files))}"
        for group in unused
        if group.files
    ]
    others: dict[str, list[str]] = defaultdict(list)
    for folder, names in listing.files.items():
        masks = place_of(folder).kind == "masks"
        for name in names:
            last = ending(name)
            grouped = last in (MASK_FILES if masks else SUFFIXES)
            if not grouped and folder + name not in known:
                others[last].append(folder + name)
    unread = {last: paths for last, paths in others.items() if last in UNREAD_SUFFIXES}
    parts += [
        f"{_counted(paths, last)}: {UNREAD_SUFFIXES[last]}s, which are not read"
        for last, paths in unread.items()
    ]
    forms = annotations(listing.root, others)
    for form, paths in forms:
        parts.append(f"{_counted(paths, form.endings[0])}: {form.name}, which are not read")
    hidden = [p for p in listing.hidden if p.endswith("/") or ending(p) in SUFFIXES]
    for paths, why in (
        (hidden, "hidden"),
        (listing.links, "linked folders that are listed already"),
        (listing.irregular, "pipes or devices"),
    ):
        if paths:
            parts.append(f"{len(paths)} {why}: {_shown(paths)}")
    told = {path for _, paths in forms for path in paths}
    rest = [
        path
        for last, paths in others.items()
        if last not in unread
        for path in paths
        if path not in told and path.rpartition("/")[2] not in LISTS_OF_CLASSES
    ]
    return (
        f"left out of {listing.root}: {'; '.join(parts)}" if parts else "",
        f"{number_of(len(rest), 'other file')}: {_shown(rest)}" if rest else "",
    )


def annotations(root: Path, by_ending: dict[str, list[str]]) -> list[tuple[Annotations, list[str]]]:
    """Return the forms of annotations that are found, each with the files of that form.

    One file of each ending and folder is looked at, its beginning and its end.
    """
    found: dict[str, tuple[Annotations, list[str]]] = {}
    for last in COUNTED:
        by_folder: dict[str, list[str]] = defaultdict(list)
        for path in by_ending.get(last, ()):
            by_folder[path.rpartition("/")[0]].append(path)
        for paths in by_folder.values():
            form = next((f for p in paths[:3] if (f := _form(root / p, last))), None)
            if form is not None:
                found.setdefault(form.name, (form, []))[1].extend(paths)
    return list(found.values())


def way_out(forms: list[tuple[Annotations, list[str]]]) -> str:
    """Return how annotations that are not read become masks."""
    return "; ".join(form.way for form, _ in forms)


def _form(path: Path, last: str) -> Annotations | None:
    try:
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
            file.seek(max(0, path.stat().st_size - LOOKED_AT))
            data = head + file.read(LOOKED_AT)
    except OSError:
        return None
    if last == ".txt":
        lines = [line for line in head.splitlines()[:5] if line.strip()]
        return YOLO if lines and all(map(_YOLO_LINE.fullmatch, lines)) else None
    text = data.decode("utf-8", "replace")
    fitting = (f for f in FORMS if last in f.endings and all(sign in text for sign in f.signs))
    return next(fitting, None)


def _folders(group: Group) -> str:
    """Name the folder that a group's pictures are in, or of several the first ones."""
    if group.base is not None or group.folder:
        return group.folder or "."
    return _shown(sorted({group.path(key).rpartition("/")[0] or "." for key in group.files}))


def _counted(paths: list[str], last: str) -> str:
    return f"{len(paths)} {last or 'files without an ending'} ({_shown(paths, 1)})"


def _shown(paths: list[str], most: int = SHOWN) -> str:
    return ", ".join(paths[:most]) + (", ..." if len(paths) > most else "")
