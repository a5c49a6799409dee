"""`segzoo evaluate`: weights, the data that they are scored on, and how pictures are shown."""

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from segzoo.compute.device import device_target
from segzoo.compute.ranks import Ranks, asked_for, told
from segzoo.compute.rendezvous import joined
from segzoo.data.finish import finish_sample
from segzoo.data.labels.ignoring import IGNORE, NOTHING, parse_ignore
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.reading import naming
from segzoo.data.opening import DataSource, notices
from segzoo.data.sample import DataInfo, Sample, current_names
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.host.progress import NOTHING_SHOWN, Waiting
from segzoo.inference.averaging import as_logits
from segzoo.inference.scale import ScaleWatch, fitting
from segzoo.inference.score import score
from segzoo.inference.segmenter import AS_TRAINED, Segmenter, load
from segzoo.inference.settings import Inference
from segzoo.metrics.matrix import MetricSetWithMatrix, shares
from segzoo.metrics.pictures import check_ending
from segzoo.metrics.selection import MetricSet
from segzoo.model.description import WeightsInfo
from segzoo.model.offline import offline
from segzoo.model.untrusted import options_of_file
from segzoo.plugins.early import check_metrics, check_split
from segzoo.plugins.manager import get_registry
from segzoo.size import Size
from segzoo.store import read_config

log = logging.getLogger("segzoo")

OF_PREDICTING = ("range", "max_pixels")
"""Settings that an evaluation, whose data set reads the pictures, has no use for."""


@joined()
def evaluate_weights(
    weights: str | Path | Segmenter,
    *,
    data: str | None = None,
    root: str | None = None,
    split: str | None = None,
    options: Mapping[str, Any] | None = None,
    sample: bool = False,
    how: Inference = AS_TRAINED,
    full_size: bool = False,
    metrics: str = "",
    worst: int = 5,
    per_picture: Path | None = None,
    confusion: bool = False,
    device: str = "auto",
    precision: str = "auto",
    shown: Waiting = NOTHING_SHOWN,
) -> dict[str, Any]:
    """Score a weights file on a split of a data set; what `segzoo evaluate` runs.

    `weights` may be a loaded model, which has its device and precision. By default the data set,
    its options and the size are those of the training. With `full_size`, with windows and with the
    size "full" the probabilities are brought to each picture's own size and scored against the
    untouched mask. Beside the `scores` of the data set there are their 95 % `intervals`, and the
    scores of the `worst` pictures; those of all go to `per_picture`, a .csv or .json file. With
    `confusion` there are the pixels by true and predicted class. Ranks that `torchrun` started
    share the pictures. Raises SegzooError where the data set does not fit the model.
    """
    if any(getattr(how, name) is not None for name in OF_PREDICTING):
        raise SegzooError(
            "`range` and `max_pixels` are settings of predicting",
            "an evaluation reads pictures as its data set does: -O range=0,4095 for `folder`; "
            "SEGZOO_MAX_PIXELS in the environment reads larger ones",
        )
    check_split(split)
    check_metrics(metrics)
    ranks = asked_for()
    if per_picture is not None:
        check_ending(per_picture)
    segmenter = _loaded(weights, device, precision)
    trained, path = segmenter.info, segmenter.path
    how = fitting(how, trained)
    name = data or str(trained.data["identity"])
    given = dict(options or {})
    if data is None:
        beside = _run_of(path)
        given = {**_options_of(trained, path, beside.get("data_options"), given), **given}
        if root is None and not sample:
            root, sample = beside.get("root"), bool(beside.get("sample", False))
            if root:
                log.info("data in %s, as in the training", root)
    source = DataSource(name, root=root, options=given, sample=sample)
    # What the file says of its data set downloads nothing; what the caller says may.
    of_file = f"{path or 'the model'}, data set {name},"
    with contextlib.nullcontext() if options or data else offline(of_file):
        split, dataset = _split(source, split)
    for text in notices([dataset]):
        log.warning("%s", text)
    info = source.info(dataset)
    _check_fit(info, trained)
    kind = MetricSetWithMatrix if confusion else MetricSet
    scored = kind(
        metrics,
        classes=info.classes,
        ignore_index=info.ignore_index,
        target=info.target,
        each=True,
        ranks=ranks,
    )
    own = full_size or how.at_own_size
    at = None if own else how.seen(trained.size, trained.size, 1, segmenter.model.stride)
    if at is not None and how.size is not None and hasattr(dataset, "__getitem__"):
        first = _sample(dataset, info, 0).image.shape
        ScaleWatch(how, trained).look((first[-2], first[-1]), at)
    stream = not hasattr(dataset, "__len__")
    shown.says(f"scoring `{split}`", None if stream else -(-len(dataset) // ranks.count))
    if at is None or not how.is_plain:
        scores, count = _score_predictions(segmenter, dataset, info, scored, how, at, ranks, shown)
    else:
        segmenter.tell_of_size(how)
        segmenter.check_size(at)
        batches = Batches(dataset, info, size=at, batch_size=how.batch_size, ranks=ranks)
        scores = score(
            segmenter.model,
            batches,
            preprocess=segmenter.preprocess,
            loss=None,
            metrics=scored,
            target=info.target,
            device=segmenter.device,
            precision=segmenter.precision,
            watch=lambda: shown.advance(how.batch_size),
        )
        count = None if batches.stream else batches.count
    pictures = scored.pictures()
    if per_picture is not None and ranks.first:
        pictures.write(per_picture)
    by = "mad" if info.target == "alpha" else "mean_iou"
    matrix = {}
    if isinstance(scored, MetricSetWithMatrix):
        counts_KK = scored.matrix()
        matrix = {"confusion": {"counts": counts_KK.tolist(), "shares": shares(counts_KK)}}
    return {
        "weights": None if path is None else str(path),
        "model": trained.model["identity"],
        "data": info.identity,
        "split": split,
        "pictures": count,
        "classes": list(info.classes),
        "size": "full" if at is None else list(at),
        "inference": {
            name: value
            for name, value in dataclasses.asdict(how).items()
            if name not in OF_PREDICTING
        },
        "scores": scores,
        "intervals": scored.intervals(),
        "worst_by": by,
        "worst": pictures.worst(by, worst, higher_is_better=scored.higher_is_better[by]),
        "unscored": pictures.unscored(by),
        **matrix,
    }


def _loaded(weights: str | Path | Segmenter, device: str, precision: str) -> Segmenter:
    if not isinstance(weights, Segmenter):
        return load(weights, device=device, precision=precision)
    if (device, precision) != ("auto", "auto"):
        raise SegzooError(
            f"evaluate: the model is loaded already, on {weights.device} in {weights.precision}",
            "give its file, or load it with the device and the precision",
        )
    return weights


def _run_of(weights: Path | None) -> dict[str, Any]:
    """Return the settings of the run folder that the weights lie in, if they do."""
    config = None if weights is None else weights.parent / "config.toml"
    return read_config(config) if config is not None and config.is_file() else {}


def _options_of(
    trained: WeightsInfo, path: Path | None, own: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the data set's options that the weights name; those that lead out of it only where
    the run's own settings, or the caller, say the same.
    """
    entry = get_registry().get("datasets", str(trained.data["identity"]))
    named = {k: v for k, v in trained.data["options"].items() if k not in given}
    return options_of_file(
        entry.spec.options,
        named,
        entry.owner,
        str(path or "the model"),
        way_out="say it yourself, as -O NAME=VALUE, if it is meant",
        trusted=own if isinstance(own, dict) else {},
    )


def _split(source: DataSource, given: str | None) -> tuple[str, Any]:
    """Return a split, its name first: without a name `test`, or `val` where there is none."""
    split = given or "test"
    try:
        return split, source.split(split)
    except MissingSplitError as error:
        splits = source.splits(("train", "val", "test"))
        if given is None and "val" in splits:
            log.warning(
                "there is no `test` split: scored is `val`, by which a training chooses its epoch"
            )
            return "val", splits["val"]
        there = ", ".join(splits)
        raise SegzooError(error.message, f"there is: {there}; choose with --split") from error


@torch.inference_mode()
def _score_predictions(
    segmenter: Segmenter,
    dataset: Any,
    info: DataInfo,
    metrics: MetricSet,
    how: Inference,
    at: Size | None,
    ranks: Ranks,
    shown: Waiting,
) -> tuple[dict[str, float], int]:
    """Score what `predict` would say of each picture, at the size `at` or (None) its own."""
    metrics.start()
    count = 0
    for first, samples in _chunks(dataset, info, how.pictures_at_once, ranks):
        images = [finish_sample(sample, info, None).image for sample in samples]
        targets = [finish_sample(sample, info, at).target for sample in samples]
        sizes = [(target.shape[0], target.shape[1]) for target in targets]
        found = segmenter.views(images, sizes, how)
        triples = zip(samples, found, targets, strict=True)
        for place, (sample, view, target_HW) in enumerate(triples, first):
            probability_KHW = view.probability()
            target_BHW = device_target(target_HW[None], info.target, probability_KHW.device)
            metrics.update(as_logits(probability_KHW)[None], target_BHW, [sample.key], place)
            shown.advance()
        count += len(samples)
    return metrics.compute(), sum(told(count))


def _sample(dataset: Any, info: DataInfo, index: int) -> Sample:
    with naming(info, index):
        return Sample(*dataset[index])


def _chunks(
    dataset: Any, info: DataInfo, size: int, ranks: Ranks
) -> Iterator[tuple[int, list[Sample]]]:
    """Yield this rank's raw samples, `size` at a time, each time with the place of the first."""
    if hasattr(dataset, "__getitem__"):
        for first in range(ranks.rank * size, len(dataset), ranks.count * size):
            last = min(first + size, len(dataset))
            yield first, [_sample(dataset, info, index) for index in range(first, last)]
        return
    samples = iter(dataset)
    for number in itertools.count():
        chunk = [Sample(*raw) for raw in itertools.islice(samples, size)]
        if not chunk:
            return
        if number % ranks.count == ranks.rank:
            yield number * size, chunk


def _check_fit(info: DataInfo, trained: WeightsInfo) -> None:
    if len(info.classes) != len(trained.classes):
        raise SegzooError(
            f"the model has {len(trained.classes)} classes ({', '.join(trained.classes)}), "
            f"{info.identity} has {len(info.classes)} ({', '.join(info.classes)})",
            "evaluate it on a data set with the same classes",
        )
    if current_names(info.classes) != current_names(trained.classes):
        log.warning(
            "the model's classes are %s, those of %s are %s; they are compared by their order",
            ", ".join(trained.classes),
            info.identity,
            ", ".join(info.classes),
        )
    if info.identity == trained.data["identity"]:
        _check_void(info, trained)


def _meaning_of_255(option: Any) -> str | int | None:
    """Return what 255 is by an option `ignore`: NOTHING (a class), IGNORE, another value's option,
    or None where nothing is said.
    """
    try:
        ignored = parse_ignore(option)
    except SegzooError:
        return str(option)
    if ignored.nothing or not ignored.said:
        return NOTHING if ignored.nothing else None
    return IGNORE if IGNORE in ignored.given else str(option)


def _check_void(info: DataInfo, trained: WeightsInfo) -> None:
    """Refuse masks in which 255 is a class, when it was not labelled in those of the training.

    A `folder` of 0/255 masks reads 255 as a class; beside other ids it is not labelled.
    """
    before, now = (
        _meaning_of_255(options.get("ignore"))
        for options in (trained.data["options"], info.options)
    )
    if before == now or (before, now) == (None, IGNORE) or now not in (IGNORE, NOTHING):
        return
    if before == IGNORE:
        raise SegzooError(
            f"{info.identity}: 255 in these masks is read as the class `{info.classes[-1]}`; the "
            "model was trained with 255 as not labelled",
            "leave it out with -O ignore=255, or say that it is a class with -O threshold=127",
        )
    log.warning(
        "%s: 255 in these masks is %s, of which the training's masks said nothing; -O ignore=255 "
        "leaves it out, -O threshold=127 reads it as the second of two classes",
        *(info.identity, "not scored" if now == IGNORE else f"the class `{info.classes[-1]}`"),
    )
