"""A short text that changes with the data of a training."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segzoo.data.sample import FORMERLY_UNNAMED, TWO_UNNAMED, DataInfo

MOST_SIZES = 1024  # Asking for that many takes some 20 ms on a disk of this machine.


def fingerprint(info: DataInfo, splits: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change with the data set, its options, classes and pictures.

    Pictures are known by their names, their number, and the sizes of up to 1024 files a split,
    evenly spread: not by their times, which a copy changes.
    """
    keys = {name: _keys(data) for name, data in splits.items()}
    return _digest(info, splits, keys)


def former_fingerprints(info: DataInfo, splits: Mapping[str, Any]) -> set[str]:
    """Return the fingerprints that the same data had in older versions, so that a run of theirs can
    be resumed: the names were those of the training alone, two unnamed classes were called
    otherwise.
    """
    infos = [info]
    if info.classes == TWO_UNNAMED:
        infos.append(replace(info, classes=FORMERLY_UNNAMED))
    keys = ({name: _keys(data) for name, data in splits.items()}, _keys(splits["train"]))
    known = {_digest(each, splits, names) for each in infos for names in keys}
    return known - {fingerprint(info, splits)}


def _digest(info: DataInfo, splits: Mapping[str, Any], keys: Any) -> str:
    value = {
        "data": [info.identity, info.version, info.options, info.classes, info.target],
        "keys": keys,
        "splits": {name: [_count(data), _sizes(data)] for name, data in splits.items()},
    }
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _keys(dataset: Any) -> list[str] | None:
    keys = getattr(dataset, "keys", None)
    return list(keys) if isinstance(keys, Sequence) else None


def _count(dataset: Any) -> int:
    return len(dataset) if hasattr(dataset, "__len__") else -1


def _sizes(dataset: Any) -> list[int]:
    if not hasattr(dataset, "files") or not _count(dataset) > 0:
        return []
    places = np.linspace(0, len(dataset) - 1, min(len(dataset), MOST_SIZES)).round().astype(int)
    return [_size(path) for place in places for path in dataset.files(int(place))]


def _size(path: Any) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
