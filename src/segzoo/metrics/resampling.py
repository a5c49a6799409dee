"""How far a score may be off: percentile intervals from pictures drawn anew.

Shapes: N pictures, S sums of a picture, R replicates. Sums are what a metric adds up over the
pictures, such as counts of pixels; scores are made of them after adding, never averaged.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

REPLICATES = 2000
CONFIDENCE = 0.95
SCARCE = 0.05
"""A score undefined in a larger share of the replicates gets no interval."""
FEWEST = 5
"""Fewer pictures than these have no interval: it would say little but what each of them scores."""
AT_ONCE = 1 << 22  # Drawn pictures held in memory at a time, 32 MB.

ScoresOf = Callable[[Tensor], Mapping[str, Tensor]]


def resampled_sums(sums_NS: Tensor, replicates: int = REPLICATES, seed: int = 0) -> Tensor:
    """Return the sums of N pictures drawn with replacement, `replicates` times: float64 R x S.

    Only how often a picture is drawn matters, so that all replicates are one matrix product.
    """
    count = len(sums_NS)
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, AT_ONCE // count)
    parts = []
    for start in range(0, replicates, rows):
        size = min(rows, replicates - start)
        drawn_RN = torch.randint(0, count, (size, count), generator=generator)
        times_RN = torch.zeros(size, count, dtype=torch.float64)
        times_RN.scatter_add_(1, drawn_RN, torch.ones((), dtype=torch.float64).expand(size, count))
        parts.append(times_RN @ sums_NS.double())
    return torch.cat(parts)


def intervals(
    scores_of: ScoresOf,
    sums_NS: Tensor,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the bootstrap percentile interval of each score, (low, high).

    Pictures are resampled, not pixels, since those of one picture depend on each other (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). `sums_NS` has one row a
    picture, float64 on the CPU; `scores_of` takes R x S sums and gives R scores each, nan where
    there is none. A score that more than one replicate in twenty does not have, as for a class in
    fewer than three pictures, has no interval, nor has any score of fewer than `FEWEST` pictures.
    The score itself is always within: replicates with few pictures of a class may all lie on one
    side of it. Intervals from few pictures are too narrow: of simulated data sets of 10, 20 and
    100 pictures 87, 92 and 95 % of the intervals of mean IoU held the true value.
    """
    if len(sums_NS) < FEWEST:
        return {}
    own = scores_of(sums_NS.double().sum(0)[None])
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    found: dict[str, tuple[float, float]] = {}
    for name, values_R in scores_of(resampled_sums(sums_NS, replicates, seed)).items():
        if values_R.isnan().double().mean() <= SCARCE:
            low, high = values_R.double().nanquantile(tails).tolist()
            value = float(own[name])
            # min and max keep the first where the other is nan.
            found[name] = (min(low, value), max(high, value))
    return found


def standard_errors(
    scores_of: ScoresOf, sums_NS: Tensor, *, replicates: int = 200, seed: int = 0
) -> dict[str, float]:
    """Return the bootstrap standard error of each score that every replicate has.

    That is the standard deviation over the replicates; 200 are enough for it (Efron & Tibshirani,
    1993, section 6.4). Of a single picture there is none.
    """
    if len(sums_NS) < 2:
        return {}
    found = scores_of(resampled_sums(sums_NS, replicates, seed))
    return {
        name: float(values_R.double().std())
        for name, values_R in found.items()
        if not values_R.isnan().any()
    }


def sum_type(device: torch.device) -> torch.dtype:
    """Return what floats are summed in: float64, and float32 on Apple's GPUs, which lack it."""
    return torch.float32 if device.type == "mps" else torch.float64


def class_mean(values_RK: Tensor) -> Tensor:
    """Return the mean over the classes that have a value, R; nan where none has one."""
    # Without the columns of nan a sum adds in the order of `values[there].mean()`, to the bit.
    return values_RK[:, ~values_RK.isnan().all(0)].nanmean(1)


def defined(scores: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the scores of one sum (R = 1) as numbers, without those that are nan."""
    return {name: float(value) for name, value in scores.items() if not bool(value.isnan())}
