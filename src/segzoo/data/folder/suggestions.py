"""The pattern that would pair images and masks whose names are not understood, to be offered.

What agrees by its numbers alone may still be no pair, so none of this is taken without being asked
for: an error offers it as ``-O pair=...``.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping

from segzoo.data.folder.known_names import shared_start

LOOKED_AT = 200


def suggested(
    images: Collection[str], masks: Collection[str], image_folder: str, mask_folder: str
) -> str:
    """Return the advice to give ``-O pair=...``, or "" where no pattern explains the names.

    `images` and `masks` are keys: paths without ending below their folders.
    """
    if not images or not masks:
        return ""
    known, every = set(images), list(masks)
    if added := _added(known, every):
        return f"if they belong together: -O suffix={added}"
    found = (
        _one_a_class(known, every) or _folders_of_classes(known, every) or _numbered(known, every)
    )
    if not found:
        return ""
    image, mask, what = found
    image, mask = (
        f"{folder}/{name}" if folder else name
        for folder, name in ((image_folder, image), (mask_folder, mask))
    )
    return f"{what}: -O pair='{image}:{mask}'"


def suggested_folders(images: Mapping[str, str], masks: Mapping[str, str]) -> str:
    """Return the advice for a folder an image, with its masks in a folder of their own: 7/images +
    7/masks; else "". Both map a key to the path of a file.
    """
    folders = Counter(image.rpartition("/")[0] for image in images)
    of_masks = Counter(mask.rpartition("/")[0] for mask in masks)
    if len(folders) < len(images) or not set(folders) <= set(of_masks) or not all(folders):
        return ""
    patterns = []
    for files in (images, masks):
        key, path = next(iter(files.items()))
        folder = key.rpartition("/")[0]
        if not path.startswith(f"{folder}/"):
            return ""
        patterns.append("{name}" + path[len(folder) :].rpartition("/")[0] + "/*.*")
    return (
        "if each folder holds one image and a mask for each object, they are merged by: "
        f"-O pair='{patterns[0]}:{patterns[1]}'"
    )


def _one_a_class(images: set[str], masks: list[str]) -> tuple[str, str, str] | None:
    """Masks named as images with a class, or a number, added: 0_cat, 0_dog."""
    added: Counter[str] = Counter()
    per_image: Counter[str] = Counter()
    for mask in masks:
        for cut in (m.start() for m in re.finditer(r"[_\-.]", mask)):
            if mask[:cut] in images:
                added[mask[cut:]] += 1
                per_image[mask[:cut]] += 1
                break
    if sum(added.values()) < len(masks) / 2 or not per_image:
        return None
    if max(per_image.values()) < 2:
        return None
    between = next(iter(added))[0]
    if len(added) <= max(4, len(masks) // 4) and not all(a[1:].isdigit() for a in added):
        return (
            "{name}.*",
            f"{{name}}{between}{{class}}.*",
            "if each mask holds one class, they are merged in the order of -O classes by",
        )
    return (
        "{name}.*", f"{{name}}{between}*.*", "if each mask holds one object, they are merged by",
    )  # fmt: skip


def _folders_of_classes(images: set[str], masks: list[str]) -> tuple[str, str, str] | None:
    """Masks of an image's name in one folder a class: cat/0, dog/0."""
    names = {image.rpartition("/")[2]: image for image in images}
    folders: Counter[str] = Counter()
    for mask in masks:
        folder, _, name = mask.rpartition("/")
        if folder and name in names and mask not in images:
            folders[folder] += 1
    if sum(folders.values()) < len(masks) / 2 or any("/" in folder for folder in folders):
        return None
    if len(folders) == 1:
        return "{name}.*", f"{next(iter(folders))}/{{name}}.*", "pair them by"
    return (
        "{name}.*", "{class}/{name}.*",
        "if each folder of masks holds one class, they are merged in the order of -O classes by",
    )  # fmt: skip


def _added(images: set[str], masks: list[str]) -> str:
    """Return what the masks' names add to their images', all of them the same; else ""."""
    end = re.search(r"[^0-9]*$", masks[0])
    rest = end.group() if end else ""
    for cut in range(len(rest)):
        added = rest[cut:]
        if all(mask.endswith(added) and mask[: -len(added)] in images for mask in masks):
            return added
    return ""


def _numbered(images: set[str], masks: list[str]) -> tuple[str, str, str] | None:
    """Names of which the same part, such as a number, varies: photo1 beside task-1-by-2."""
    first, last = _around(images)
    cores = {name[len(first) : len(name) - len(last)] for name in images}
    ours, theirs = _around(masks)
    their_cores = {name[len(ours) : len(name) - len(theirs)] for name in masks}
    if len(images) < 2 or "" in cores:
        return None
    image = f"{first}{{name}}{last}.*"
    if len(cores & their_cores) > len(images) / 2:
        return image, f"{ours}{{name}}{theirs}.*", "if they belong together by what varies in them"
    shape: Counter[str] = Counter()
    for mask in masks[:LOOKED_AT]:
        parts = re.split(r"(?<![0-9A-Za-z])([0-9A-Za-z]+)", mask)
        place = next((at for at, part in enumerate(parts) if at % 2 and part in cores), None)
        if place is not None:
            shape["".join(parts[:place]) + "{name}" + parts[place + 1][:1] + "*"] += 1
    (mask, count), *_ = shape.most_common(1) or [("", 0)]
    if count <= min(len(masks), LOOKED_AT) / 2:
        return None
    return image, mask, "if they belong together by what varies in them"


def _around(names: Collection[str]) -> tuple[str, str]:
    """Return what all names begin and end with; digits are part of what varies."""
    first = re.sub(r"\d+$", "", shared_start(list(names)))
    last = shared_start([name[len(first) :][::-1] for name in names])[::-1]
    return first, re.sub(r"^\d+", "", last)
