"""Finished runs side by side: the settings that differ, the scores, and whether they differ by more
than chance. Scores of different pictures are kept apart.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segzoo.data.sample import current_names
from segzoo.errors import SegzooError, listed
from segzoo.host.regular import REPLACE, read_text
from segzoo.metrics.paired import Difference, paired_differences
from segzoo.metrics.pictures import PictureSums
from segzoo.metrics.resampling import FEWEST
from segzoo.metrics.selection import MetricSet
from segzoo.model.weights import read_info
from segzoo.plugins.isolation import one_line
from segzoo.store import MOST_BYTES, read_config
from segzoo.train.scored import FILE, Scored, read_picture_sums

NO_SETTINGS = {"out"}  # of a run's config.toml, whose difference says nothing of the training
TRUTH = "segzoo/confusion"
"""The metric whose sums hold how many pixels of each class a mask has: hits, truth, prediction."""


@dataclass
class FinishedRun:
    """What a run folder says of its training. `notes` are what is not known, and why."""

    folder: Path
    summary: dict[str, Any]
    settings: dict[str, Any]
    scored: Scored | None
    fingerprint: str
    size: tuple[int, ...]
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """A text for each split that changes with its pictures, their masks and their size."""
        return {} if self.scored is None else _digests(self.scored)

    def metrics(self) -> MetricSet:
        """Return the metrics of the run, with those whose package is not installed left out."""
        assert self.scored is not None
        how: dict[str, Any] = {
            "classes": self.scored.classes,
            "ignore_index": self.scored.ignore_index,
            "target": self.scored.target,
        }
        try:
            return MetricSet(self.scored.metrics, **how)
        except SegzooError as error:
            self.notes.append(f"no intervals of --metrics {self.scored.metrics}: {error.message}")
            return MetricSet("", **how)

    def overall(self) -> dict[str, dict[str, float]]:
        """Return the scores by split, without those of single classes."""
        return {
            split: {name: value for name, value in scores.items() if "/" not in name}
            for split, scores in self.summary["scores"].items()
        }


def read_summary(folder: Path) -> dict[str, Any]:
    """Read a finished run's summary.json; raise SegzooError naming a folder without one."""
    path = folder / "summary.json"
    if not folder.is_dir():
        around = [folder.parent / "summary.json", *folder.parent.glob("*/summary.json")]
        runs = listed((str(each.parent) for each in around if each.is_file()), 8)
        raise SegzooError(
            f"{folder}{' is a file' if folder.exists() else ': no such folder'}",
            f"give the folders of finished runs; those near it: {runs}",
        )
    try:
        summary = json.loads(read_text(path, "a run's summary", MOST_BYTES))
    except FileNotFoundError:
        raise SegzooError(
            f"{folder} is not a finished run: it has no summary.json",
            f"finish it with `segzoo train --resume {folder}`",
        ) from None
    except (ValueError, RecursionError) as error:
        raise SegzooError(f"{path} is not valid JSON: {error}", REPLACE) from error
    needed = ("model", "data", "scores", "best_epoch", "epochs")
    if not isinstance(summary, dict) or (missing := [n for n in needed if n not in summary]):
        what = f"it has no {missing[0]}" if isinstance(summary, dict) else "it is not an object"
        raise SegzooError(f"{path} is not the summary of a run: {what}")
    if not _are_scores(summary["scores"]):
        raise SegzooError(f"{path} is not the summary of a run: its scores are not numbers")
    return summary


def _are_scores(scores: Any) -> bool:
    return isinstance(scores, dict) and all(
        isinstance(own, dict) and all(type(value) in (int, float) for value in own.values())
        for own in scores.values()
    )


def read_run(folder: Path) -> FinishedRun:
    """Read what is in the folder of a finished run, of an older segzoo too.

    Raises SegzooError for a folder without a summary.json.
    """
    run = FinishedRun(folder, read_summary(folder), {}, None, "", ())
    try:
        run.settings = _flat(read_config(folder / "config.toml"))
    except SegzooError as error:
        run.notes.append(f"its settings are not known: {error.message}")
    with contextlib.suppress(SegzooError):
        info = read_info(folder / "best.safetensors")
        run.fingerprint, run.size = str(info.data["fingerprint"]), tuple(info.size)
    if not (folder / FILE).is_file():
        why = (
            "an older segzoo wrote none, nor does a run that scores no pictures but its training's"
        )
        run.notes.append(f"no intervals: it has no {FILE}; {why}")
        return run
    try:
        run.scored = read_picture_sums(folder / FILE)
    except SegzooError as error:
        run.notes.append(f"no intervals: {error.message}")
        return run
    if run.scored.epoch != run.summary["best_epoch"]:
        run.notes.append(
            f"no intervals: {FILE} is of epoch {run.scored.epoch}, the best one was "
            f"{run.summary['best_epoch']}"
        )
        run.scored = None
        return run
    run.size = run.scored.size
    return run


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with options as `model_options.width`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": item for key, item in value.items()}
        elif name not in NO_SETTINGS:
            flat[name] = value
    return flat


def _digests(scored: Scored) -> dict[str, str]:
    digests: dict[str, str] = {}
    for split, pictures in scored.splits.items():
        if TRUTH not in pictures.sums:
            continue
        truth_NK = pictures.sums[TRUTH].chunk(3, dim=1)[1].contiguous()
        text = json.dumps(
            [pictures.keys, current_names(scored.classes), scored.target, scored.size]
        )
        digest = hashlib.sha256(text.encode())
        digest.update(truth_NK.numpy().tobytes())
        digests[split] = digest.hexdigest()[:16]
    return digests


def unlike(one: FinishedRun, two: FinishedRun) -> str:
    """Say in what the data differ that two runs were scored on; "" where their scores compare.

    Known are the names of the pictures and how many pixels of each class every mask has, at the
    size that was scored; of runs of an older segzoo the fingerprint of the training's data.
    """
    if one.summary["data"] != two.summary["data"]:
        return f"another data set: {two.summary['data']}, not {one.summary['data']}"
    if not (one.scored and two.scored and one.digests.keys() & two.digests.keys()):
        if not one.fingerprint or not two.fingerprint:
            return "what it was scored on is not known"
        if one.size != two.size:
            return f"scored at {_size(two.size)}, not {_size(one.size)}"
        return "" if one.fingerprint == two.fingerprint else "other pictures or data options"
    if current_names(one.scored.classes) != current_names(two.scored.classes):
        return f"other classes: {_few(two.scored.classes)}, not {_few(one.scored.classes)}"
    if one.scored.target != two.scored.target:
        return f"scored by {two.scored.target}, not {one.scored.target}"
    if one.scored.size != two.scored.size:
        return f"scored at {_size(two.scored.size)}, not {_size(one.scored.size)}"
    for split in one.digests:
        if split not in two.digests:
            return f"not scored on {split}"
        own, other = one.scored.splits[split].keys, two.scored.splits[split].keys
        if len(own) != len(other):
            return f"{split} has {len(other)} pictures, not {len(own)}"
        if own != other:
            return f"{split} has other pictures"
        if one.digests[split] != two.digests[split]:
            return f"{split} has other masks of the same pictures"
    extra = [split for split in two.digests if split not in one.digests]
    return f"scored on {extra[0]} besides" if extra else ""


def _size(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "")


def grouped(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """Return the runs whose scores compare together, in the order in which they were given."""
    groups: list[list[FinishedRun]] = []
    for run in runs:
        for group in groups:
            if not unlike(group[0], run):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def differing_settings(runs: Sequence[FinishedRun]) -> list[str]:
    """List the settings that not all runs have alike; one that a run does not know counts too.

    Where the data are is left out: what is scored says whether they are the same.
    """
    known = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in known for name in settings if name != "root")
    return [n for n in names if any(s.get(n) != known[0].get(n) for s in known[1:])]


def compare_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a record for every run: settings that differ, scores, intervals, differences.

    Runs with the same number as their `group` were scored on the same data; `unlike` says of the
    first run of another group in what its data differ from the first run's. `differences` are
    those to the first run of the group (`against`), by split and score, over the same pictures.
    """
    runs = [read_run(folder) for folder in folders]
    names = differing_settings(runs)
    records: list[dict[str, Any]] = []
    for number, group in enumerate(grouped(runs), start=1):
        apart = "" if number == 1 else unlike(runs[0], group[0])
        for run in group:
            intervals = _intervals(run)
            differences = {} if run is group[0] else _differences(group[0], run)
            records.append(
                {
                    "run": str(run.folder),
                    "group": number,
                    "unlike": apart,
                    **{
                        name: run.summary.get(name)
                        for name in (
                            *("model", "data", "parameters", "seconds_per_epoch"),
                            *("images_per_second", "best_epoch", "epochs", "monitor"),
                        )
                    },
                    "device": f"{run.summary.get('device')} {run.summary.get('precision')}",
                    "size": list(run.size),
                    "pictures": _counts(run),
                    "settings": {name: run.settings.get(name) for name in names},
                    "scores": run.summary["scores"],
                    "intervals": intervals,
                    "against": str(group[0].folder) if differences else None,
                    "differences": differences,
                    "notes": run.notes,
                }
            )
    return records


def _counts(run: FinishedRun) -> dict[str, int]:
    return {} if run.scored is None else {s: len(p.keys) for s, p in run.scored.splits.items()}


def _intervals(run: FinishedRun) -> dict[str, dict[str, Any]]:
    if run.scored is None:
        return {}
    metrics, found = run.metrics(), {}
    try:
        for split, pictures in run.scored.splits.items():
            metrics.load_sums(pictures)
            found[split] = metrics.intervals()
            if len(pictures.keys) < FEWEST:
                run.notes.append(f"no intervals of {split}: too few pictures, {len(pictures.keys)}")
    except Exception as error:  # Whatever another version of a plugin makes of these sums.
        run.notes.append(f"no intervals: {FILE} does not fit its metrics: {one_line(error)}")
        run.scored = None
        return {}
    return found


def _differences(first: FinishedRun, second: FinishedRun) -> dict[str, dict[str, Any]]:
    """Return the paired differences by split and score, of scores that both runs have."""
    if first.scored is None or second.scored is None:
        return {}
    metrics, found = second.metrics(), {}
    own, other = first.scored.splits, second.scored.splits
    for split in second.summary["scores"]:
        if split in own and split in other:
            differences = _of_split(metrics, own[split], other[split])
            found[split] = {name: asdict(value) for name, value in differences.items()}
    return found


def _of_split(metrics: MetricSet, first: PictureSums, second: PictureSums) -> dict[str, Difference]:
    metrics.load_sums(second)
    found: dict[str, Difference] = {}
    for identity, scores_of, sums_NS in metrics.parts():
        if identity in first.sums:
            found |= paired_differences(scores_of, first.sums[identity], sums_NS)
    return found
