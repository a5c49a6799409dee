"""What each picture added to the best epoch's scores: `pictures.safetensors` of a run folder.

`segzoo compare` makes intervals and paired tests of it without predicting anything again. For each
split there is a tensor of N pictures x S sums for every metric, and the pictures' names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segzoo.data.sample import is_clean_text
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.metrics.pictures import PictureSums
from segzoo.model.tensors import load_tensors, parse_json, read_header, write_tensors
from segzoo.store import atomic
from segzoo.train.run import Run

FILE = "pictures.safetensors"
VERSION = 1
MOST_BYTES = 256 << 20
"""Sums that take more are not kept, as those of thousands of classes in thousands of pictures."""
KEYS = "keys"


@dataclass(frozen=True)
class Scored:
    """The pictures that a run was scored on, and what each added to the scores of its best epoch.

    `metrics` are the further metrics of the run, as `--metrics` takes them.
    """

    epoch: int
    classes: tuple[str, ...]
    ignore_index: int | None
    target: str
    metrics: str
    size: tuple[int, int]
    splits: Mapping[str, PictureSums]


def save_picture_sums(run: Run) -> None:
    """Write the sums of the epoch that was scored last beside the weights, atomically."""
    tensors: dict[str, Tensor] = {}
    for split, pictures in run.picture_sums.items():
        names = json.dumps(pictures.keys).encode()  # File names that are not UTF-8 come escaped.
        tensors[f"{split}/{KEYS}"] = torch.frombuffer(bytearray(names), dtype=torch.uint8)
        for identity, sums_NS in pictures.sums.items():
            tensors[f"{split}/{identity}"] = _compact(sums_NS)
    path = run.folder / FILE
    if not tensors or sum(value.nbytes for value in tensors.values()) > MOST_BYTES:
        system.unlink(path)
        return
    described = {
        "version": VERSION,
        "epoch": run.epoch,
        "classes": run.info.classes,
        "ignore_index": run.info.ignore_index,
        "target": run.info.target,
        "metrics": run.config.metrics,
        "size": run.config.size,
    }
    with atomic(path) as temporary:
        write_tensors(temporary, tensors, {"segzoo_pictures": json.dumps(described)})


def read_picture_sums(path: Path) -> Scored:
    """Read such a file. Raises SegzooError naming it where it is missing, damaged or too new."""
    try:
        described = parse_json(read_header(path).metadata["segzoo_pictures"].encode())
        return _read(described, load_tensors(path))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SegzooError(
            f"{path} does not say what pictures a run was scored on: "
            f"{type(error).__name__}: {str(error)[:80]!a}",
            "it is damaged, or of a later segzoo",
        ) from error


def _read(described: Any, tensors: Mapping[str, Tensor]) -> Scored:
    if described["version"] != VERSION:
        raise ValueError(f"version {described['version']}")
    height, width = map(int, described["size"])
    ignore = described["ignore_index"]
    classes = tuple(map(str, described["classes"]))
    if not all(map(is_clean_text, classes)):
        raise ValueError("a class with control characters")
    splits: dict[str, PictureSums] = {}
    for split in dict.fromkeys(name.partition("/")[0] for name in tensors):
        own = {
            name.partition("/")[2]: value
            for name, value in tensors.items()
            if name.startswith(f"{split}/")
        }
        keys = tuple(map(str, parse_json(own.pop(KEYS).numpy().tobytes())))
        if any(value.ndim != 2 or len(value) != len(keys) for value in own.values()):
            raise ValueError(f"not a row of sums for each of {len(keys)} pictures of {split}")
        counts_NS = own.get("segzoo/confusion")
        if counts_NS is not None and counts_NS.shape[1] != 3 * len(classes):
            raise ValueError(f"{counts_NS.shape[1]} sums of {len(classes)} classes")
        splits[split] = PictureSums(keys, {name: value.double() for name, value in own.items()})
    return Scored(
        epoch=int(described["epoch"]),
        classes=classes,
        ignore_index=None if ignore is None else int(ignore),
        target=str(described["target"]),
        metrics=str(described["metrics"]),
        size=(height, width),
        splits=splits,
    )


def _compact(sums_NS: Tensor) -> Tensor:
    """Return counts as int32 where they are such, half of the space; others as they are."""
    small_NS = sums_NS.to(torch.int32)
    return (small_NS if torch.equal(small_NS.double(), sums_NS) else sums_NS).contiguous()
