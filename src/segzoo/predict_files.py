"""Segmenting picture files: a mask, an overlay, a transparent cut-out and more for each."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from segzoo.ahead import in_order
from segzoo.compose import Background, parse_background
from segzoo.data.images import SUFFIXES, is_picture, read_image
from segzoo.errors import SegzooError
from segzoo.inference import Inference, saved_kinds
from segzoo.predict import AS_TRAINED, Prediction, Segmenter, has_background, load
from segzoo.ranks import asked_for
from segzoo.store import atomic

log = logging.getLogger("segzoo")

READERS = 2
WRITERS = 2  # Each holds a whole prediction. Pillow compresses without Python's lock.
ENDINGS = {
    "mask": "_mask.png",
    "overlay": "_overlay.jpg",
    "cutout": "_cutout.png",
    "alpha": "_alpha.png",
    "probability": "_probability.npy",
    "background": "_background.jpg",
}

Given = TypeVar("Given")


def predict_files(
    weights: str | Path,
    pictures: Sequence[Path],
    out: Path,
    *,
    how: Inference = AS_TRAINED,
    save: str | Iterable[str] | None = None,
    background: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> list[dict[str, str]]:
    """Segment pictures, and the pictures of folders, into `out`; what `segzoo predict` runs.

    Writes what `save` names, by default mask, overlay and where there is a background the cut-out,
    for a model of mattes the alpha too:
    ``NAME_mask.png`` (class ids as a palette picture), ``NAME_overlay.jpg``, ``NAME_cutout.png``,
    ``NAME_alpha.png`` (8-bit grey, 255 = foreground) and ``NAME_probability.npy`` (float16
    K x H x W), and with a `background`, a colour or a picture file, ``NAME_background.jpg`` before
    it; each at the picture's own, upright size; folders below a given folder are kept.
    Pictures are read ahead and written behind the network. Ranks that `torchrun` started share
    them. Returns the paths written for each of this one's pictures. Raises SegzooError for a
    missing or unreadable picture; what comes before it is written and stays.
    """
    jobs = _outputs(_collect(pictures), out)
    if not jobs:
        raise SegzooError(
            f"no pictures in {', '.join(map(str, pictures))}", f"readable: {_listed_suffixes()}"
        )
    ranks = asked_for()
    jobs = jobs[ranks.rank :: ranks.count]
    saved_kinds(save)  # A mistyped kind is told before the model is built.
    behind = None if background is None else parse_background(background)
    segmenter = load(weights, device=device, precision=precision)
    info = segmenter.info
    kinds = saved_kinds(save, alpha=info.target == "alpha", background=has_background(info))

    def write(done: tuple[Path, Path, Tensor, Prediction]) -> dict[str, str]:
        path, target, pixels_CHW, prediction = done
        image = Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy())
        files = _write(prediction, image, target, kinds, behind)
        return {"picture": str(path), **{kind: str(file) for kind, file in files.items()}}

    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        read = in_order(readers, _read, jobs, ahead=how.pictures_at_once)
        return list(in_order(writers, write, _predicted(segmenter, read, how), ahead=1))


def _read(job: tuple[Path, Path]) -> tuple[Path, Path, Tensor]:
    return (*job, read_image(job[0]))


def _predicted(
    segmenter: Segmenter, read: Iterable[tuple[Path, Path, Tensor]], how: Inference
) -> Iterator[tuple[Path, Path, Tensor, Prediction]]:
    for batch in _batches(read, how.pictures_at_once):
        predictions = segmenter.predictions([pixels_CHW for _, _, pixels_CHW in batch], how)
        for path, target, pixels_CHW in batch:
            try:
                prediction = next(predictions)
            except SegzooError as error:
                raise SegzooError(f"{path}: {error.message}", error.hint) from error
            yield path, target, pixels_CHW, prediction


def _batches(items: Iterable[Given], size: int) -> Iterator[list[Given]]:
    """Yield lists of `size` items; what comes before an error is yielded before it is raised."""
    batch: list[Given] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except SegzooError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _collect(pictures: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (file, its path relative to what was given) for every picture, once each."""
    found: dict[Path, Path] = {}
    for given in pictures:
        if given.is_dir():
            for path in sorted(given.rglob("*")):
                if not is_picture(path):
                    continue
                if path.is_file():
                    found.setdefault(path, path.relative_to(given))
                elif not path.is_dir():
                    log.warning("left out: %s is no file, or a link to none", path)
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


def _write(
    prediction: Prediction,
    image: Image.Image,
    target: Path,
    kinds: Iterable[str],
    behind: Background | None,
) -> dict[str, Path]:
    """Write what `kinds` names beside `target`, one after another; returns the paths."""
    make: dict[str, Callable[[], Image.Image]] = {
        "mask": prediction.mask_image,
        "overlay": lambda: prediction.overlay(image),
        "cutout": lambda: prediction.cutout(image),
        "alpha": prediction.alpha_image,
    }
    if behind is not None:
        make["background"] = lambda: prediction.before(image, behind)
        kinds = (*kinds, "background")
    files: dict[str, Path] = {}
    for kind in kinds:
        files[kind] = target.with_name(target.name + ENDINGS[kind])
        with atomic(files[kind]) as temporary:
            if kind == "probability":
                np.save(temporary, prediction.probability_KHW.half().numpy())
            else:
                is_jpeg = temporary.suffix == ".jpg"
                how: dict[str, Any] = {"quality": 92} if is_jpeg else {"compress_level": 3}
                make[kind]().save(temporary, **how)
    return files


def _listed_suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
