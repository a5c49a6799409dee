"""Where a data set's folder is: the flag, $SEGZOO_DATA, ./data, or the user's data folder.

And where caches lie ($SEGZOO_CACHE), and how large they may become ($SEGZOO_CACHE_GB).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

from segzoo.errors import SegzooError, listed, nearest
from segzoo.host.regular import exists, irregular, is_folder

FOLDER = "segzoo/folder"
LIMIT_GB = 32.0
MOST_GB = 1_000_000
LIMIT_VARIABLE = "SEGZOO_CACHE_GB"
"""The environment variable that says another limit."""


def find_root(
    name: str, root: Path | None, looks_right: Callable[[Path], bool], *, homepage: str = ""
) -> Path:
    """Find the folder of data set `name` for which `looks_right` holds.

    Looked at are `root` alone where it is given, else ``$SEGZOO_DATA/name``, ``./data/name`` and
    the user's data folder; each may be the set itself or a folder up to two levels around it.
    Raises SegzooError naming every place, the homepage and ``--sample``.
    """
    places = [root] if root is not None else list(_usual_places(name))
    for place in places:
        for folder in _inside(place):
            if looks_right(folder):
                return folder
    if root is not None:
        state = f"the folder {_what_is_in(root)}" if exists(root) else "no such folder"
        raise SegzooError(
            f"no `{name}` data set in {root}: {state}",
            _advice(name, homepage),
        )
    looked = ", ".join(str(place) for place in places)
    missing = "" if os.environ.get("SEGZOO_DATA") else f", $SEGZOO_DATA/{name} (not set)"
    raise SegzooError(
        f"no `{name}` data set: looked for --root (not given), {looked}{missing}",
        _advice(name, homepage),
    )


def check_root(identity: str, root: str | Path | None) -> None:
    """Raise SegzooError for a root without which the data set `folder` cannot be built.

    What takes no look at pictures is so told before torch is imported. Other data sets have roots
    of their own kinds, and may make them.
    """
    if identity != FOLDER:
        return
    if root is None:
        raise SegzooError("data set `folder` needs --root DIR", "or --sample for a stand-in")
    if not is_folder(Path(root)):
        raise not_a_folder(Path(root))


def not_a_folder(root: Path) -> SegzooError:
    """Return the error for a root that is none, with the folders that may have been meant."""
    if exists(root):
        return SegzooError(
            f"{root} is {irregular(root) or 'a file'}",
            "--root takes the folder of the images and masks",
        )
    absolute = Path.cwd() / root
    around = next(parent for parent in absolute.parents if is_folder(parent))
    try:
        names = [each.name for each in around.iterdir() if each.is_dir()]
    except OSError:
        names = []
    missing = absolute.relative_to(around).parts[0]
    found = listed([name for name in names if not name.startswith(".")], limit=8)
    near = nearest(missing, names).strip()
    return SegzooError(f"{root}: no such folder", near or f"the folders in {around}: {found}")


def user_data_folder() -> Path:
    """Return the user's data folder of segzoo, where data sets are looked for last."""
    return Path(platformdirs.user_data_dir("segzoo", appauthor=False))


def user_cache_folder() -> Path:
    """Return ``$SEGZOO_CACHE`` or the user's cache folder, for what can be made again."""
    given = os.environ.get("SEGZOO_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("segzoo", appauthor=False))


def most_gigabytes() -> float:
    """Return the gigabytes that all caches may take: $SEGZOO_CACHE_GB, or the default.

    Raises SegzooError for what is no number of them.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return LIMIT_GB
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit <= MOST_GB:
        raise SegzooError(
            f"{LIMIT_VARIABLE}={text} in the environment",
            f"give a number of gigabytes from 0 to {MOST_GB}, such as 20",
        )
    return limit


def _usual_places(name: str) -> Iterator[Path]:
    if os.environ.get("SEGZOO_DATA"):
        yield Path(os.environ["SEGZOO_DATA"]) / name
    yield Path("data") / name
    yield user_data_folder() / name


def _inside(place: Path) -> Iterator[Path]:
    """Yield the place and the folders up to two levels below it, outermost first."""
    level = [place] if is_folder(place) else []
    for _ in range(3):
        yield from level
        level = sorted(
            child
            for folder in level
            for child in folder.iterdir()
            if child.is_dir() and not child.name.startswith(".")
        )


def _what_is_in(root: Path) -> str:
    if not root.is_dir():
        return f"is {irregular(root) or 'a file'}"
    names = sorted(child.name for child in root.iterdir())
    return (
        f"holds {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}" if names else "is empty"
    )


def _advice(name: str, homepage: str) -> str:
    source = f"get it from {homepage} and " if homepage else ""
    return f"{source}give its folder as --root DIR, or train on a generated stand-in with --sample"
