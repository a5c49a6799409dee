"""Segmenting picture files: a mask, an overlay and a transparent cut-out for each."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from segzoo.data.images import SUFFIXES, is_picture, read_image
from segzoo.errors import SegzooError
from segzoo.predict import Prediction, load
from segzoo.store import atomic

log = logging.getLogger("segzoo")


def predict_files(
    weights: str | Path,
    pictures: Sequence[Path],
    out: Path,
    *,
    size: Any = None,
    device: str = "auto",
    precision: str = "auto",
) -> list[dict[str, str]]:
    """Segment pictures, and the pictures of folders, into `out`; what `segzoo predict` runs.

    Writes ``NAME_mask.png`` (class ids as a palette picture), ``NAME_overlay.jpg`` and
    ``NAME_cutout.png``, each at the picture's own, upright size; folders below a given folder are
    kept. Returns the paths written for each picture. Raises SegzooError for a missing or
    unreadable picture; what was written before it stays.
    """
    jobs = _outputs(_collect(pictures), out)
    if not jobs:
        raise SegzooError(
            f"no pictures in {', '.join(map(str, pictures))}", f"readable: {_listed_suffixes()}"
        )
    segmenter = load(weights, device=device, precision=precision)
    written = []
    for path, target in jobs:
        pixels = read_image(path)
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        files = _write(segmenter.predict(pixels, size=size), image, target)
        written.append({"picture": str(path), **{k: str(v) for k, v in files.items()}})
    return written


def _collect(pictures: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (file, its path relative to what was given) for every picture, once each."""
    found: dict[Path, Path] = {}
    for given in pictures:
        if given.is_dir():
            for path in sorted(given.rglob("*")):
                if path.is_file() and is_picture(path):
                    found.setdefault(path, path.relative_to(given))
        elif given.is_file():
            found.setdefault(given, Path(given.name))
        else:
            raise SegzooError(f"{given}: no such picture or folder")
    return list(found.items())


def _outputs(found: Iterable[tuple[Path, Path]], out: Path) -> list[tuple[Path, Path]]:
    """Return (file, output path without ending), keeping a.jpg and a.png apart."""
    jobs: list[tuple[Path, Path]] = []
    taken: set[Path] = set()
    for path, relative in found:
        target = out / relative.with_suffix("")
        number = 1
        if target in taken:
            target = out / relative.with_name(relative.name.replace(".", "_"))
        while target in taken:
            number += 1
            target = target.with_name(f"{relative.stem}-{number}")
        taken.add(target)
        jobs.append((path, target))
    return jobs


def _write(prediction: Prediction, image: Image.Image, target: Path) -> dict[str, Path]:
    pictures = {
        "mask": (prediction.mask_image(), "_mask.png"),
        "overlay": (prediction.overlay(image), "_overlay.jpg"),
        "cutout": (prediction.cutout(image), "_cutout.png"),
    }
    files: dict[str, Path] = {}
    for kind, (picture, ending) in pictures.items():
        files[kind] = target.with_name(target.name + ending)
        how: dict[str, Any] = {"quality": 92} if ending == "_overlay.jpg" else {"compress_level": 3}
        with atomic(files[kind]) as temporary:
            picture.save(temporary, **how)
    return files


def _listed_suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
