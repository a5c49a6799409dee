"""Masks that are unlike the others of their set: empty, full, the same, of another size or place.

Nothing here is surely wrong; a person is to look at it. So what many masks have is usual, and not
listed: more than a few outliers are no outliers.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segzoo.data.sample import DataInfo

SAME_MASK = "same mask"
CELLS = 96
"""The longer side at which parts are counted."""
FEWEST = 20
"""Masks with a class from which on it can be said what is usual."""
FAR, FAR_OF_MANY = 7.0, 9.0
"""Robust standard deviations from the median, for two classes and for more, which hide each other.
Of 160 good portraits none is so far, of 468 street scenes a few odd ones."""
LEAST_SPREAD = {"share": 0.15, "across": 0.02, "down": 0.02, "parts": 0.5}
"""The smallest standard deviation, so that sets of nearly equal masks have some."""
FEW = 0.02
"""The share of masks that may be outliers."""
MOST_ROWS = 5
"""Empty or full masks that get a line each."""
INVERTED = 0.5
"""Mean log-likelihood by place that foreground and background exchanged has to gain."""


class Suspicion(NamedTuple):
    """What is unusual about the masks at some places in the set."""

    kind: str
    places: list[int]
    text: str


@dataclass
class Masks:
    """What is remembered of a split's masks, one by one."""

    info: DataInfo
    digests: list[bytes] = field(default_factory=list)
    shares: list[dict[int, float]] = field(default_factory=list)  # of a class, of known pixels
    centres: list[dict[int, tuple[float, float]]] = field(default_factory=list)  # down, across
    parts: list[dict[int, int]] = field(default_factory=list)

    def add(self, target_HW: Tensor) -> Tensor:
        """Take a mask, or a matte, of which the half that is more opaque counts as foreground.

        Returns its labels.
        """
        values = target_HW.numpy()
        digest = hashlib.blake2b(values.tobytes(), digest_size=12)
        digest.update(str(values.shape).encode())
        self.digests.append(digest.digest())
        labels_HW = target_HW if self.info.target == "labels" else (target_HW > 127).byte()
        shares = _shares(labels_HW, self.info.ignore_index)
        self.shares.append(shares)
        small = smaller(labels_HW, CELLS).numpy()
        self.centres.append({label: _centre(small == label) for label in shares})
        counts = count_parts(small)
        self.parts.append({label: counts.get(label, 1) for label in shares})
        return labels_HW

    def suspicions(self) -> Iterator[Suspicion]:
        """Yield what is unusual."""
        yield from self._of_one_class()
        yield from self._identical()
        said: dict[int, str] = {}
        names = list(enumerate(self.info.classes))
        for label, name in names[1:] if len(names) == 2 else names:  # Of two, one tells it all.
            for place, text in self._outliers(label, name).items():
                said.setdefault(place, text)
        for place, text in sorted(said.items()):
            yield Suspicion("unlike others", [place], text)

    def _of_one_class(self) -> Iterator[Suspicion]:
        """List masks that hold nothing but one class, or nothing that is labelled."""
        found: dict[int, list[int]] = {}
        for place, shares in enumerate(self.shares):
            if len(shares) <= 1:
                found.setdefault(next(iter(shares), -1), []).append(place)
        for label, places in sorted(found.items()):
            kind, what = "empty mask", "is ignored"
            if label >= 0:
                kind = "full mask" if label else "empty mask"
                what = f"is `{self.info.classes[label]}`"
            if len(places) == len(self.shares):
                continue  # Said of all of them at once.
            if len(places) <= MOST_ROWS:
                for place in places:
                    yield Suspicion(kind, [place], f"every pixel of its mask {what}")
            else:
                text = f"of {len(places)} of {len(self.shares)} masks every pixel {what}"
                yield Suspicion(kind, places, text)

    def _identical(self) -> Iterator[Suspicion]:
        """List masks that are equal to the pixel, unless they hold one class alone."""
        found: dict[bytes, list[int]] = {}
        for place, digest in enumerate(self.digests):
            if len(self.shares[place]) > 1:
                found.setdefault(digest, []).append(place)
        for places in found.values():
            if len(places) > 1:
                yield Suspicion(SAME_MASK, places, f"{len(places)} pictures have the same mask")

    def _outliers(self, label: int, name: str) -> dict[int, str]:
        """Return the places of masks in which a class is unlike in others, with what is."""
        places = [p for p, shares in enumerate(self.shares) if label in shares and len(shares) > 1]
        if len(places) < FEWEST:
            return {}
        shares = np.array([self.shares[place][label] for place in places])
        centres = np.array([self.centres[place][label] for place in places])
        parts = np.array([self.parts[place][label] for place in places])
        clipped = np.clip(shares, 1e-6, 1 - 1e-6)
        far_from = FAR if len(self.info.classes) == 2 else FAR_OF_MANY
        most = max(2, int(FEW * len(places)))
        said: dict[int, str] = {}
        for what, compared, shown in (
            ("share", np.log(clipped / (1 - clipped)), shares),
            ("down", centres[:, 0], centres[:, 0]),
            ("across", centres[:, 1], centres[:, 1]),
            ("parts", np.log(parts), parts),
        ):
            far = _far(compared, LEAST_SPREAD[what], far_from)
            for index in far if len(far) <= most else ():
                text = _said(what, name, float(shown[index]), float(np.median(shown)))
                said.setdefault(places[index], text)
        return said


def inverted(labels: Sequence[npt.NDArray[np.int16]]) -> list[int]:
    """Return the places of small masks of two classes that others are like when exchanged.

    All are of one size. A mask's likelihood is that of its labels, by those of all others there.
    """
    if len(labels) < FEWEST:
        return []
    every = np.stack(labels)
    if set(np.unique(every).tolist()) - {0, 1}:
        return []
    total = (every == 1).sum(0)
    gains = []
    for mask in every:
        chance = (total - (mask == 1) + 0.5) / len(every)
        odds = np.log(chance / (1 - chance))
        gains.append(float(np.where(mask == 1, -odds, odds).mean()))
    found = np.flatnonzero(np.array(gains) > INVERTED).tolist()
    usual = float(np.median(gains))
    return found if usual < -INVERTED / 2 and len(found) <= max(2, len(every) // 5) else []


def smaller(labels_HW: Tensor, side: int) -> Tensor:
    """Return labels with `side` as the longer side at most, each cell one pixel of theirs."""
    height, width = labels_HW.shape
    factor = side / max(height, width)
    if factor >= 1:
        return labels_HW
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    pixels = labels_HW[None, None].double()
    return functional.interpolate(pixels, size, mode="nearest-exact")[0, 0].to(labels_HW.dtype)


def count_parts(labels: npt.NDArray[np.generic]) -> dict[int, int]:
    """Count the connected parts of each label, over corners too: runs of rows, joined."""
    parents: list[int] = []
    kinds: list[int] = []

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    above: list[tuple[int, int, int]] = []  # first, last column and number of the row before
    for row in labels:
        ends = np.flatnonzero(np.diff(row)).tolist()
        runs = []
        for first, last in zip([0, *(end + 1 for end in ends)], [*ends, len(row) - 1], strict=True):
            run, label = len(parents), int(row[first])
            parents.append(run)
            kinds.append(label)
            runs.append((first, last, run))
            for start, stop, other in above:
                if start > last + 1:
                    break
                if stop >= first - 1 and kinds[other] == label:
                    parents[root(other)] = root(run)
        above = runs
    counts: dict[int, int] = {}
    for run, parent in enumerate(parents):
        if run == parent:
            counts[kinds[run]] = counts.get(kinds[run], 0) + 1
    return counts


def _shares(labels_HW: Tensor, ignore: int | None) -> dict[int, float]:
    kinds, counts = torch.unique(labels_HW, return_counts=True)
    held = {
        int(kind): int(count) for kind, count in zip(kinds, counts, strict=True) if kind != ignore
    }
    total = sum(held.values())
    return {kind: count / total for kind, count in held.items()}


def _centre(held: npt.NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(held)
    if not len(rows):
        return 0.5, 0.5
    return (
        float((rows.mean() + 0.5) / held.shape[0]),
        float((columns.mean() + 0.5) / held.shape[1]),
    )


def _far(values: npt.NDArray[np.floating], least: float, spreads: float) -> list[int]:
    middle = np.median(values)
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), least)
    return np.flatnonzero(np.abs(values - middle) > spreads * spread).tolist()


def _said(what: str, name: str, own: float, usual: float) -> str:
    if what == "share":
        return f"`{name}` takes {own:.2%} of its mask, in the middle of the set {usual:.2%}"
    if what == "parts":
        return f"`{name}` is in {own:.0f} parts, in the middle of the set in {usual:.0f}"
    way = {"down": "height", "across": "width"}[what]
    return (
        f"the centre of `{name}` is at {own:.0%} of the {way}, in the middle of the set {usual:.0%}"
    )
