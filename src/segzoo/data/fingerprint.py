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

    Those of the training are known by their names, all splits by their number, and by the sizes of
    up to 1024 pictures' files, evenly spread: not by their times, which a copy changes.
    """
    train = splits["train"]
    value = {
        "data": [info.identity, info.version, info.options, info.classes, info.target],
        "keys": list(train.keys) if isinstance(getattr(train, "keys", None), Sequence) else None,
        "splits": {name: [_count(data), _sizes(data)] for name, data in splits.items()},
    }
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def former_fingerprint(info: DataInfo, splits: Mapping[str, Any]) -> str:
    """Return the fingerprint that the same data had in older versions, so that a run of theirs can
    be resumed: two unnamed classes were called otherwise.
    """
    if info.classes != TWO_UNNAMED:
        return fingerprint(info, splits)
    return fingerprint(replace(info, classes=FORMERLY_UNNAMED), splits)


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
