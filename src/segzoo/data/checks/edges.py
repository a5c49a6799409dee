"""Whether masks lie where their pictures have edges, or would so mirrored, moved or exchanged.

A good mask's boundary runs along edges of its picture. The agreement of a picture with a mask is
the mean rank (-0.5..0.5) of the picture's gradients along the mask's boundary, both at 64 x 64.
On 160 portraits and 468 street scenes no mask agrees clearly better in another place than in its
own, and of ones that were mirrored, moved or exchanged on purpose some 80 % are found.

N pictures, S = 64 cells a side.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Floats = npt.NDArray[np.float32]

SIDE = 64
REACH = 10  # cells that a mask may have moved; of more ways to move it, more fit by chance
FEWEST = 8  # pictures from which on a set says what is usual in it
LEVEL, GAIN = 0.6, 0.3  # of the agreement usual in the set: what another place must have, and gain
MOVED_LEVEL = 0.85  # of many moves one may agree so by chance, of a few mirror images none
LEAST_GAIN = 0.05
RANK_SPREAD = 0.29  # of ranks spread evenly
UNLIKELY = -0.03  # mean log-likelihood of labels by place, over the set, that speaks against a move
MUTUAL = 2.5  # spreads of the agreement with foreign masks by which an exchange has to gain
ONE_SIDE = 0.15  # of the usual agreement that each picture of an exchange has to gain at least
TOGETHER = 3000  # pictures whose masks are compared each with each
STANDS_OUT = 4.5  # spreads by which a foreign mask has to fit better than others do
MIRRORED = {
    "mirrored left to right": (2,),
    "mirrored top to bottom": (1,),
    "turned by 180 degrees": (1, 2),
}


class Fault(NamedTuple):
    """A likely fault of the mask at a place in the set, or of all of them (None).

    In the text {other} stands for the name of the picture at the place `other`.
    """

    kind: str
    place: int | None
    text: str
    other: int | None = None


class Thumb(NamedTuple):
    """A picture's gradients, as ranks, and its labels; both S x S."""

    ranks: Floats
    labels: npt.NDArray[np.int16]
    square: bool


def thumb(image_CHW: Tensor, labels_HW: Tensor) -> Thumb:
    """Return what is compared of a picture and its labels."""
    grey = image_CHW.float().mean(0)[None, None]
    small = functional.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)[0, 0]
    down, across = torch.zeros_like(small), torch.zeros_like(small)
    down[1:-1], across[:, 1:-1] = small[2:] - small[:-2], small[:, 2:] - small[:, :-2]
    gradient = torch.hypot(down, across).flatten()
    _, places, counts = gradient.unique(return_inverse=True, return_counts=True)
    middles = counts.cumsum(0) - counts / 2  # equal gradients have one rank
    ranks = (middles[places] / gradient.numel() - 0.5).reshape(SIDE, SIDE)
    labels = functional.interpolate(
        labels_HW[None, None].double(), (SIDE, SIDE), mode="nearest-exact"
    )[0, 0]
    square = labels_HW.shape[0] == labels_HW.shape[1]
    return Thumb(ranks.numpy().astype(np.float32), labels.numpy().astype(np.int16), square)


def misplaced(thumbs: Sequence[Thumb], ignore: int | None) -> Iterator[Fault]:
    """Yield what is likely wrong with masks: of all of a set at once, or of single ones."""
    usable = [place for place, found in enumerate(thumbs) if _boundary(found.labels, ignore).any()]
    if len(usable) < FEWEST:
        return
    every = _Set([thumbs[place] for place in usable], ignore)
    for fault in every.faults():
        other = None if fault.other is None else usable[fault.other]
        place = None if fault.place is None else usable[fault.place]
        yield fault._replace(place=place, other=other)


class _Set:
    """The pictures of a set that have a boundary, with their agreements."""

    def __init__(self, thumbs: Sequence[Thumb], ignore: int | None) -> None:
        self.count = len(thumbs)
        self.ranks = np.stack([found.ranks for found in thumbs])
        self.labels = np.stack([found.labels for found in thumbs])
        self.edges = np.stack([_boundary(found.labels, ignore) for found in thumbs])
        self.lengths = self.edges.sum((1, 2))
        self.own = self._agreement(self.edges)
        likelihood = self._likelihood()
        self.mirrored = {
            name: (
                self._agreement(np.flip(self.edges, axes)),
                self._likelihood(np.flip(self.labels, axes)) - likelihood,
            )
            for name, axes in MIRRORED.items()
        }
        if all(found.square for found in thumbs):
            name, turned = "with rows and columns exchanged", self.edges.transpose(0, 2, 1)
            likelier = self._likelihood(self.labels.transpose(0, 2, 1)) - likelihood
            self.mirrored[name] = (self._agreement(turned), likelier)
        best = np.maximum.reduce([self.own, *(fit for fit, _ in self.mirrored.values())])
        self.usual = float(np.median(best))
        # What chance gains: neighbouring ranks are alike, so half of the boundary counts.
        self.chance = RANK_SPREAD * np.sqrt(4 / self.lengths)
        self.by_shift = [self._by_shift(place) for place in range(self.count)]

    def faults(self) -> Iterator[Fault]:
        """Yield a fault of all masks, or else those of single ones."""
        if self.usual < LEAST_GAIN:
            return  # Nothing here lies along edges.
        whole = [*self._all_mirrored(), *self._all_moved(), *self._all_late()]
        if whole:
            yield whole[0]
            return
        found: set[int] = set()
        for fault in (*self._one_by_one(), *self._exchanged(), *self._moved()):
            if fault.place not in found:
                found.add(fault.place or 0)
                yield fault

    def _agreement(self, edges: Floats) -> Floats:
        return (self.ranks * edges).sum((1, 2)) / np.maximum(edges.sum((1, 2)), 1)

    def _likelihood(self, labels: npt.NDArray[np.int16] | None = None) -> Floats:
        """Return the mean log-likelihood of labels where they are, by those of all others."""
        labels = self.labels if labels is None else labels
        total = np.zeros(self.count, np.float32)
        kinds = np.unique(self.labels)
        for kind in kinds:
            held = (self.labels == kind).sum(0, dtype=np.int32)
            for place in range(self.count):
                counts = held - (self.labels[place] == kind)
                chance = np.log((counts + 0.5) / (self.count - 1 + 0.5 * len(kinds)))
                total[place] += chance[labels[place] == kind].sum()
        total /= SIDE**2
        return total

    def _won(self, gain: Floats) -> bool:
        """Whether nearly all pictures gain, and by more than chance would have it."""
        wins = int((gain > 0).sum())
        enough = max(0.75 * self.count, self.count / 2 + 1.5 * self.count**0.5)
        return wins >= min(enough, self.count) and float(np.median(gain)) > LEAST_GAIN

    def _all_mirrored(self) -> Iterator[Fault]:
        for name, (fit, _) in sorted(self.mirrored.items(), key=lambda m: -float(m[1][0].sum())):
            if self._won(gain := fit - self.own):
                wins = int((gain > 0).sum())
                yield Fault(
                    "mirrored masks",
                    None,
                    f"{wins} of {self.count} masks lie along the edges of their pictures far "
                    f"better when they are {name}: all seem to be so by mistake",
                )

    def _all_moved(self) -> Iterator[Fault]:
        total = np.zeros((2 * REACH + 1, 2 * REACH + 1))
        for place in range(self.count):
            total += np.maximum(self.by_shift[place], -0.5)
        down, across = _peak(total)
        if max(abs(down), abs(across)) < 2:
            return
        moved = np.array([
            _near(by_shift, down, across) - _near(by_shift, 0, 0) for by_shift in self.by_shift
        ])  # fmt: skip
        if self._won(moved):
            wins = int((moved > 0).sum())
            yield Fault(
                "moved masks",
                None,
                f"{wins} of {self.count} masks lie along the edges of their pictures far better "
                f"when they are moved {_direction(down, across)}",
            )

    def _all_late(self) -> Iterator[Fault]:
        """Notice that masks belong to the picture before or after, as where one is missing."""
        for step in (1, -1, 2, -2):
            fits = self._agreement(np.roll(self.edges, -step, 0))
            if self._won(fits - self.own):
                which = f"{abs(step)} {'after' if step > 0 else 'before'} its own in their order"
                yield Fault(
                    "exchanged masks",
                    None,
                    f"most of the {self.count} masks fit other pictures: each picture fits the "
                    f"mask that comes {which} far better",
                )

    def _one_by_one(self) -> Iterator[Fault]:
        fits = np.stack([fit for fit, _ in self.mirrored.values()])
        likelier = np.stack([likelier for _, likelier in self.mirrored.values()])
        fits = np.where(likelier > UNLIKELY, fits, -1)
        names = list(self.mirrored)
        for place in range(self.count):
            which = int(fits[:, place].argmax())
            fit, best = float(fits[which, place]), names[which]
            if self._clearly(fit, place, 3):
                yield Fault(
                    "mirrored mask",
                    place,
                    f"its mask lies along the picture's edges far better when it is {best} "
                    f"({_shown(self.own[place], fit)})",
                )

    def _moved(self) -> Iterator[Fault]:
        for place in range(self.count):
            by_shift = self.by_shift[place]
            own = _near(by_shift, 0, 0)
            down, across = _peak(by_shift)
            fit = float(by_shift[down + REACH, across + REACH])
            far = max(abs(down), abs(across))
            clearly = self._clearly(fit, place, 4, own) and fit >= MOVED_LEVEL * self.usual
            if not 2 <= far < REACH or not clearly:
                continue
            if self._moving_likelier(place, down, across) > UNLIKELY:
                yield Fault(
                    "moved mask",
                    place,
                    "its mask lies along the picture's edges far better when it is moved "
                    f"{_direction(down, across)} ({_shown(own, fit)})",
                )

    def _clearly(self, fit: float, place: int, chances: float, own: float | None = None) -> bool:
        gain = fit - float(self.own[place] if own is None else own)
        least = max(LEAST_GAIN, GAIN * self.usual, chances * float(self.chance[place]) / 2)
        return fit >= LEVEL * self.usual and gain >= least

    def _by_shift(self, place: int) -> Floats:
        """Return the agreement for each shift of a mask by up to REACH cells, down x across."""
        size = (2 * SIDE, 2 * SIDE)
        edges = np.fft.rfft2(self.edges[place], size).conj()
        inside = np.fft.rfft2(np.ones((SIDE, SIDE)), size)
        within = np.r_[-REACH : REACH + 1]
        sums, counts = (
            np.fft.irfft2(field * edges, size)[np.ix_(within, within)]
            for field in (np.fft.rfft2(self.ranks[place], size), inside)
        )
        agreement = sums / np.maximum(counts, 1)
        agreement[counts < LEVEL * self.lengths[place]] = -1
        return agreement.astype(np.float32)

    def _moving_likelier(self, place: int, down: int, across: int) -> float:
        rows = slice(max(0, down), SIDE + min(0, down))
        columns = slice(max(0, across), SIDE + min(0, across))
        own = self.labels[place]
        moved = np.roll(own, (down, across), (0, 1))
        counts = {kind: (self.labels == kind).sum(0) - (own == kind) for kind in np.unique(own)}

        def chance(labels: npt.NDArray[np.int16]) -> float:
            held = np.select([labels == kind for kind in counts], list(counts.values()))
            return float(np.log((held + 0.5) / self.count)[rows, columns].mean())

        return chance(moved) - chance(own)

    def _exchanged(self) -> Iterator[Fault]:
        """Notice masks of other pictures: two exchanged ones, or one that fits far better."""
        for first in range(0, self.count, TOGETHER):
            some = slice(first, first + TOGETHER)
            if len(self.own[some]) < FEWEST:
                continue
            own, chance = self.own[some], self.chance[some]
            flat = self.edges[some].reshape(len(own), -1) / self.lengths[some, None]
            fits = flat @ self.ranks[some].reshape(len(own), -1).T  # mask x picture
            for place, other in self._foreign(fits, own, chance, first):
                agreement = _shown(own[place], fits[other, place])
                text = f"the mask of `{{other}}` fits this picture far better ({agreement})"
                yield Fault("exchanged mask", first + place, text, first + other)

    def _foreign(
        self, fits: Floats, own: Floats, chance: Floats, first: int
    ) -> Iterator[tuple[int, int]]:
        count = len(own)
        beside = ~np.eye(count, dtype=bool)
        rows, columns = (fits.sum(axis) - own for axis in (1, 0))
        rest = fits - (rows[:, None] + columns[None]) / (count - 1) + fits[beside].mean()
        spread = float(rest[beside].std())
        gains = fits - own[None]  # of a picture by a mask
        mutual = np.where(np.minimum(gains, gains.T) >= ONE_SIDE * self.usual, gains + gains.T, -1)
        rest_beside = np.where(beside, rest, -1)
        for place in range(count):
            other = int(mutual[place].argmax())
            least = max(MUTUAL * spread, 2 * LEAST_GAIN, 2 * float(chance[place]))
            if mutual[place, other] >= least and fits[other, place] >= LEVEL / 2 * self.usual:
                yield place, other
                continue
            other = int(rest_beside[:, place].argmax())
            far = rest[other, place] > STANDS_OUT * spread > 0 and rest[place, place] < spread
            if far and self._clearly(float(fits[other, place]), first + place, 3):
                yield place, other


def _boundary(labels: npt.NDArray[np.int16], ignore: int | None) -> Floats:
    """Return the cells beside another label, but for what is ignored and the picture's rim."""
    known = np.ones_like(labels, bool) if ignore is None else labels != ignore
    edges = np.zeros(labels.shape, np.float32)
    down = (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    across = (labels[:, 1:] != labels[:, :-1]) & known[:, 1:] & known[:, :-1]
    edges[1:][down] = edges[:-1][down] = 1
    edges[:, 1:][across] = edges[:, :-1][across] = 1
    edges[[0, -1]] = edges[:, [0, -1]] = 0
    return edges


def _near(by_shift: Floats, down: int, across: int) -> float:
    """Return the best agreement within a cell of a shift."""
    rows = slice(max(0, down + REACH - 1), down + REACH + 2)
    columns = slice(max(0, across + REACH - 1), across + REACH + 2)
    return float(by_shift[rows, columns].max())


def _peak(by_shift: npt.NDArray[np.floating]) -> tuple[int, int]:
    down, across = np.unravel_index(int(by_shift.argmax()), by_shift.shape)
    return int(down) - REACH, int(across) - REACH


def _direction(down: int, across: int) -> str:
    words = [
        f"{abs(cells) / SIDE:.0%} of the {what} {ways[cells > 0]}"
        for cells, what, ways in (
            (across, "width", ("to the left", "to the right")),
            (down, "height", ("up", "down")),
        )
        if cells
    ]
    return " and ".join(words)


def _shown(own: float, fit: float) -> str:
    return f"agreement {fit + 0.5:.2f}, as it is {own + 0.5:.2f}; chance is 0.5"
