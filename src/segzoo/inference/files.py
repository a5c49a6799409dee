"""Segmenting picture files: a mask, an overlay, a transparent cut-out and more for each."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from segzoo.compute.ranks import asked_for
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.host.ahead import in_order
from segzoo.host.progress import NOTHING_SHOWN, Waiting
from segzoo.inference.compose import Background, parse_background
from segzoo.inference.inputs import collect
from segzoo.inference.outputs import Job, check_targets, jobs_for, new_folder
from segzoo.inference.record import Command, Record
from segzoo.inference.scale import fitting
from segzoo.inference.segmenter import AS_TRAINED, Prediction, Segmenter, has_background, load
from segzoo.inference.settings import Inference, saved_kinds
from segzoo.model.weights import read_info, weights_file
from segzoo.store import atomic, remove_stale

READERS = 2
WRITERS = 2  # Each holds a whole prediction. Pillow compresses without Python's lock.

Given = TypeVar("Given")


def predict_files(
    weights: str | Path,
    pictures: Sequence[Path],
    out: Path | None = None,
    *,
    how: Inference = AS_TRAINED,
    save: str | Iterable[str] | None = None,
    background: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    shown: Waiting = NOTHING_SHOWN,
) -> list[dict[str, str]]:
    """Segment pictures, and the pictures of folders, into `out`; what `segzoo predict` runs.

    Writes what `save` names, by default mask, overlay and where there is a background the cut-out,
    for a model of mattes the alpha too:
    ``NAME_mask.png`` (class ids as a palette picture), ``NAME_overlay.jpg``, ``NAME_cutout.png``,
    ``NAME_alpha.png`` (8-bit grey, 255 = foreground) and ``NAME_probability.npy`` (float16
    K x H x W), and with a `background`, a colour or a picture file, ``NAME_background.jpg`` before
    it; each at the picture's own, upright size; folders below a given folder are kept.
    Without `out` it is a new folder, ``runs/predict``, ``runs/predict-2`` and so on.

    What `out` has already is replaced where the same command wrote it of the same picture, and
    anything else with `overwrite` alone: else nothing is done. What an earlier command wrote is no
    picture, and neither are the masks of a data set's folder.

    Pictures are read ahead and written behind the network. Ranks that `torchrun` started share
    them. Returns the paths written for each of this one's pictures. Raises SegzooError for a
    missing or unreadable picture, what comes before it is written and stays, and for files that
    are in the way.
    """
    saved_kinds(save)  # A mistyped kind is told before anything is read.
    found = collect(pictures)
    weights = weights_file(weights)
    info = read_info(weights)
    kinds = saved_kinds(save, alpha=info.target == "alpha", background=has_background(info))
    behind = None if background is None else parse_background(background)
    written_kinds = kinds if behind is None else (*kinds, "background")
    how = fitting(how, info)
    command = Command.of(weights, how, background)
    ranks = asked_for()

    def planned(folder: Path) -> tuple[list[Job], Record]:
        jobs, record = jobs_for(found, folder), Record(folder, ranks.rank)
        check_targets(jobs, written_kinds, record, command, overwrite)
        for place in {job.file(kind).parent for job in jobs for kind in written_kinds}:
            remove_stale(place)
        return jobs[ranks.rank :: ranks.count], record

    plan = None if out is None else planned(out)
    segmenter = load(weights, device=device, precision=precision)
    jobs, record = plan or planned(new_folder())

    def write(done: tuple[Job, Prediction]) -> dict[str, str]:
        job, prediction = done
        made = _made(prediction, behind)
        files = {kind: job.file(kind) for kind in written_kinds}
        for kind, file in files.items():
            with atomic(file) as temporary:
                system.write(temporary, made[kind])
                record.note(file, temporary, job.picture, command)
        return {"picture": str(job.picture), **{kind: str(file) for kind, file in files.items()}}

    reading = segmenter.reading(how)

    def read_one(job: Job) -> tuple[Job, Tensor]:
        return job, reading.file(job.picture)

    shown.says("segmenting pictures", len(jobs))
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        read = in_order(readers, read_one, jobs, ahead=how.pictures_at_once)
        written = in_order(writers, write, _predicted(segmenter, read, how), ahead=1)
        return list(shown.through(written))


def _predicted(
    segmenter: Segmenter, read: Iterable[tuple[Job, Tensor]], how: Inference
) -> Iterator[tuple[Job, Prediction]]:
    for batch in _batches(read, how.pictures_at_once):
        predictions = segmenter.predictions([pixels_CHW for _, pixels_CHW in batch], how)
        for job, _ in batch:
            try:
                prediction = next(predictions)
            except SegzooError as error:
                raise SegzooError(f"{job.picture}: {error.message}", error.hint) from error
            yield job, prediction


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


def _made(prediction: Prediction, behind: Background | None) -> dict[str, Callable[[Path], None]]:
    """Return what makes each kind of output, when it is called, and saves it to a path."""
    pictures: dict[str, Callable[[], Image.Image]] = {
        "mask": prediction.mask_image,
        "overlay": prediction.overlay,
        "cutout": prediction.cutout,
        "alpha": prediction.alpha_image,
    }
    if behind is not None:
        pictures["background"] = lambda: prediction.before(background=behind)
    savers = {kind: functools.partial(_save, make) for kind, make in pictures.items()}
    return {
        **savers,
        "probability": lambda path: np.save(path, prediction.probability_KHW.half().numpy()),
    }


def _save(make: Callable[[], Image.Image], path: Path) -> None:
    how: dict[str, Any] = {"quality": 92} if path.suffix == ".jpg" else {"compress_level": 3}
    make().save(path, **how)
