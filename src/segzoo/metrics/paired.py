"""Whether two models differ by more than the choice of pictures: paired over the same pictures.

Shapes: N pictures, S sums of a picture, R replicates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segzoo.metrics.resampling import (
    CONFIDENCE,
    FEWEST,
    REPLICATES,
    SCARCE,
    ScoresOf,
    resampled_sums,
)

AT_ONCE = 1 << 22  # Drawn swaps held in memory at a time, 32 MB.
EQUAL = 1e-12  # Differences of sums in another order are not exactly equal.


@dataclass(frozen=True)
class Difference:
    """The second model's score minus the first's, with its 95 % interval, and a p-value."""

    difference: float
    low: float
    high: float
    p: float


def paired_differences(
    scores_of: ScoresOf,
    first_NS: Tensor,
    second_NS: Tensor,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two models scored on the same N pictures, in the same order, by each score.

    The interval is the paired bootstrap's: both models have the same pictures drawn (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; Koehn, Statistical Significance
    Tests for Machine Translation Evaluation, 2004). The p-value, two-sided, is that of approximate
    randomization: were the models alike, then of each picture it would be chance which of them
    made which prediction, so predictions are swapped by coin and the difference is taken again
    (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; Yeh, More Accurate Tests for
    the Statistical Significance of Result Differences, 2000). Both are of the score of the whole
    data set, not of a mean over pictures, and know nothing of the chance of training again.
    Fewer than `FEWEST` pictures give nothing, and so does a score that one of the models lacks.
    """
    count = len(first_NS)
    if count < FEWEST or first_NS.shape != second_NS.shape:
        return {}
    first_NS, second_NS = first_NS.double(), second_NS.double()
    seen = _differences(scores_of, first_NS.sum(0)[None], second_NS.sum(0)[None])
    both = resampled_sums(torch.cat([first_NS, second_NS], dim=1), replicates, seed)
    drawn = _differences(scores_of, *both.chunk(2, dim=1))
    swapped = _differences(scores_of, *_swapped(first_NS, second_NS, replicates - 1, seed))
    tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    found: dict[str, Difference] = {}
    for name, value in seen.items():
        if bool(value.isnan()) or drawn[name].isnan().double().mean() > SCARCE:
            continue
        low, high = drawn[name].nanquantile(tails).tolist()
        # nan, where a swap leaves no score, counts as extreme: the cautious side.
        less = (swapped[name].abs() < value.abs() - EQUAL).sum()
        p = float(replicates - less) / replicates  # The models as they are count as one swap.
        own = float(value)
        found[name] = Difference(own, min(low, own), max(high, own), p)
    return found


def _differences(scores_of: ScoresOf, first_RS: Tensor, second_RS: Tensor) -> dict[str, Tensor]:
    first, second = scores_of(first_RS), scores_of(second_RS)
    return {name: second[name].double() - first[name].double() for name in first}


def _swapped(
    first_NS: Tensor, second_NS: Tensor, replicates: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the sums of both models after swapping the predictions of pictures by coin, R x S."""
    count = len(first_NS)
    more_NS = second_NS - first_NS
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, AT_ONCE // count)
    moved = [
        torch.randint(0, 2, (min(rows, replicates - start), count), generator=generator).double()
        @ more_NS
        for start in range(0, replicates, rows)
    ]
    moved_RS = torch.cat(moved)
    return first_NS.sum(0) + moved_RS, second_NS.sum(0) - moved_RS
