"""The scores of each picture by itself: the worst ones, a table of all, and what they come from."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.store import atomic

ENDINGS = (".csv", ".json")


@dataclass(frozen=True)
class PictureSums:
    """What each picture adds to the sums of every metric, N x S float64 by the metric's identity.

    Scores are made of the sums of pictures, so that two models can be compared over drawings of
    the same pictures without predicting anything again.
    """

    keys: tuple[str, ...]
    sums: Mapping[str, Tensor]


@dataclass(frozen=True)
class PictureScores:
    """Scores by name, each a value for every key (float, N), nan where the picture has none.

    The scores of a picture are those of a data set of it alone: the mean IoU of a picture is the
    mean over the classes that it or its prediction holds. Their mean is not the data set's score.
    """

    keys: tuple[str, ...]
    scores: Mapping[str, Tensor]

    def records(self) -> list[dict[str, Any]]:
        """Return `{"key": ..., score: value}` for every picture, None where there is no value."""
        columns = [values_N.tolist() for values_N in self.scores.values()]
        rows = zip(*columns, strict=True) if columns else ((),) * len(self.keys)
        return [
            {"key": key, **dict(zip(self.scores, map(_or_none, row), strict=True))}
            for key, row in zip(self.keys, rows, strict=True)
        ]

    def worst(self, name: str, count: int, *, higher_is_better: bool) -> list[dict[str, Any]]:
        """Return the records of the `count` worst pictures by one score, the worst first.

        Pictures without that score are left out, and so are scores that a picture has not.
        """
        scored = [record for record in self.records() if record[name] is not None]
        scored.sort(key=lambda record: record[name] if higher_is_better else -record[name])
        return [
            {part: value for part, value in record.items() if value is not None}
            for record in scored[:count]
        ]

    def unscored(self, name: str) -> list[str]:
        """Return the keys of the pictures without a score, such as those without a label."""
        missing_N = self.scores[name].isnan().tolist()
        return [key for key, missing in zip(self.keys, missing_N, strict=True) if missing]

    def write(self, path: Path) -> None:
        """Write all records as CSV, an empty cell where there is no value, or as a JSON list."""
        check_ending(path)
        with atomic(path) as temporary:
            system.write(temporary, self._write)

    def _write(self, path: Path) -> None:
        with path.open("w", **TEXT) as file:
            if path.suffix.lower() == ".json":
                json.dump(self.records(), file, indent=2)
                file.write("\n")
                return
            writer = csv.DictWriter(file, ("key", *self.scores), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.records())


TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
"""A file's name need not be UTF-8; it is written as it is."""


def check_ending(path: Path) -> None:
    """Raise SegzooError where a table of the pictures cannot have that name."""
    if path.suffix.lower() not in ENDINGS:
        raise SegzooError(
            f"--per-picture {path}: ends in {path.suffix or 'nothing'}",
            f"end it in {' or '.join(ENDINGS)}",
        )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
