"""Which metrics a run has: those of every run, and further ones by name with their options."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from segzoo.compute.contracts import check_scores
from segzoo.compute.process_state import unchanged_process
from segzoo.compute.ranks import ALONE, Ranks, gathered, in_their_order
from segzoo.data.sample import DataInfo
from segzoo.errors import SegzooError
from segzoo.metrics.pictures import PictureScores, PictureSums
from segzoo.metrics.resampling import ScoresOf, defined, intervals, standard_errors, sum_type
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options
from segzoo.plugins.specs import MetricSpec, target_kinds
from segzoo.plugins.terms import parse_terms

ALWAYS = ("segzoo/confusion", "segzoo/matte")
"""What every run computes where its target kind allows; all others only by name."""


class Metric(Protocol):
    """What a metric's builder returns."""

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor | None:
        """Take one batch; a metric with `scores_of` returns what each picture adds, B x S."""
        ...

    def compute(self) -> float | Mapping[str, float]:
        """Return the score of all batches so far."""
        ...


@runtime_checkable
class Additive(Metric, Protocol):
    """A metric whose scores come from sums over pictures: it can be resampled (optional)."""

    def scores_of(self, sums_RS: Tensor) -> Tensor | Mapping[str, Tensor]:
        """Return the scores of R sums, R values each, nan where there is none; on the CPU."""
        ...


class MetricSet:
    """The metrics of one run: of `ALWAYS` those that take the target kind, and others by name.

    With `each` they also keep what each picture adds, for `pictures` and `intervals`: for most
    metrics 24 bytes a class and picture, on the device. Of several `ranks` each takes its own
    pictures, and all have the scores of all; for that a metric must have `scores_of`.
    """

    def __init__(
        self,
        further: str,
        *,
        classes: Sequence[str],
        ignore_index: int | None,
        target: str,
        each: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        registry = get_registry()
        terms = parse_terms(further, ",", "metrics") if further.strip() else []
        entries = [registry.get_for(target, "metrics", term.name) for term in terms]
        own = [
            entry
            for entry in registry.all("metrics")
            if entry.identity in ALWAYS and target in target_kinds(entry.spec.targets)
        ]
        self.entries = {entry.identity: entry for entry in own + entries}
        self._options: dict[str, dict[str, str]] = {
            entry.identity: term.options for entry, term in zip(entries, terms, strict=True)
        }
        self._how: dict[str, Any] = {"classes": tuple(classes), "ignore_index": ignore_index}
        self.higher_is_better: dict[str, bool] = {"loss": False}
        self._metrics: dict[str, Metric] = {}
        self.each, self._keys = each, list[str]()
        self._sums_BS: dict[str, list[Tensor]] = {}
        self._firsts: list[int] = []
        self._totals_S: dict[str, Tensor] = {}

    def start(self) -> None:
        """Begin a new pass over a data set.

        Raises SegzooError for a metric that several ranks cannot have together.
        """
        self._keys, self._sums_BS, self._firsts, self._totals_S = [], {}, [], {}
        with unchanged_process():
            self._metrics = {
                identity: entry.resolve("build")(
                    **self._how,
                    options=make_options(
                        entry.spec.options, self._options.get(identity), entry.owner
                    ),
                )
                for identity, entry in self.entries.items()
            }
        for identity, metric in self._metrics.items():
            if self.ranks.count > 1 and not isinstance(metric, Additive):
                raise SegzooError(
                    f"metric `{identity}` cannot be added up over {self.ranks.count} processes",
                    "leave it out of --metrics, or ask its authors for `scores_of`",
                )

    def names(self, num_classes: int, target: str) -> list[str]:
        """List the names of the scores, from a made-up picture that holds every class."""
        labels_HW = torch.arange(64 * 64).reshape(64, 64) % num_classes
        logits_BKHW = torch.nn.functional.one_hot(labels_HW, num_classes).permute(2, 0, 1)[None]
        self.start()
        if target == "alpha":
            self.update(logits_BKHW.float(), labels_HW[None].clamp(max=1).float())
        else:
            self.update(logits_BKHW.float(), labels_HW[None])
        return list(self.compute())

    def update(
        self,
        logits_BKHW: Tensor,
        target_BHW: Tensor,
        keys: Sequence[str] | None = None,
        first: int = 0,
    ) -> None:
        """Take one batch in every metric; `keys` name its pictures where `each` is set.

        `first` is the place of its first picture in the data set, which several ranks need.
        """
        for identity, metric in self._metrics.items():
            sums_BS = metric.update(logits_BKHW, target_BHW)
            if not isinstance(metric, Additive):
                continue
            rows_BS = self._rows(identity, sums_BS, len(target_BHW))
            if rows_BS is not None:
                self._keep(identity, rows_BS)
        self._firsts.append(first)
        if self.each:
            start = len(self._keys)
            self._keys += keys or map(str, range(start, start + len(target_BHW)))

    def _keep(self, identity: str, sums_BS: Tensor) -> None:
        if self.each:
            self._sums_BS.setdefault(identity, []).append(sums_BS)
        sums_S = sums_BS.sum(0, dtype=sum_type(sums_BS.device))
        known_S = self._totals_S.get(identity)
        known_S = torch.zeros_like(sums_S) if known_S is None else known_S.to(sums_S.device)
        self._totals_S[identity] = known_S + sums_S

    def _rows(self, identity: str, sums_BS: Tensor | None, pictures: int) -> Tensor | None:
        """Return what a metric's update did if that is a row a picture, which not all uses need."""
        if isinstance(sums_BS, Tensor) and sums_BS.shape[:-1] == (pictures,):
            return sums_BS
        if self.each or self.ranks.count > 1:
            what = tuple(sums_BS.shape) if isinstance(sums_BS, Tensor) else type(sums_BS).__name__
            raise SegzooError(
                f"metric `{identity}` has scores_of, but its update returns {what}",
                "let it return what each picture of the batch adds, one row a picture",
            )
        return None

    def state(self) -> dict[str, Tensor]:
        """Return what all ranks have added up so far, by metric, of those with `scores_of`."""
        if self.ranks.count == 1:
            return dict(self._totals_S)
        none_S = torch.zeros(0)
        return {
            identity: torch.cat(gathered(self._totals_S.get(identity, none_S)[None])).sum(0)
            for identity in self._metrics
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there; metrics without `scores_of` begin anew."""
        if self.ranks.first:
            self._totals_S = {name: state[name] for name in self._metrics if name in state}

    def own_state(self) -> dict[str, Tensor]:
        """Return what this rank has added up so far, for `go_back`."""
        return dict(self._totals_S)

    def go_back(self, state: Mapping[str, Tensor]) -> None:
        """Have this rank's sums of then; metrics without `scores_of` begin anew."""
        self._totals_S = dict(state)

    def pictures(self) -> PictureScores:
        """Return the scores of each picture by itself, of the metrics that have `scores_of`."""
        scores: dict[str, Tensor] = {}
        for scores_of, sums_NS in self._additive():
            scores |= scores_of(sums_NS)
        return PictureScores(tuple(self._keys), scores)

    def sums(self) -> PictureSums:
        """Return what each picture has added, of the metrics that have `scores_of`."""
        sums = {name: torch.cat(parts).cpu().double() for name, parts in self._sums_BS.items()}
        return PictureSums(tuple(self._keys), sums)

    def load_sums(self, pictures: PictureSums) -> None:
        """Begin with what pictures added elsewhere; `pictures`, `intervals` and `parts` use it.

        Sums of metrics that this set does not have are passed over.
        """
        self.start()
        self._keys = list(pictures.keys)
        self._sums_BS = {n: [pictures.sums[n]] for n in self._metrics if n in pictures.sums}

    def parts(self) -> list[tuple[str, ScoresOf, Tensor]]:
        """Return identity, `scores_of` and N x S sums of each metric that has them."""
        return [
            (identity, scores_of, sums_NS)
            for identity, (scores_of, sums_NS) in zip(self._sums_BS, self._additive(), strict=True)
        ]

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % intervals of the scores, (low, high): see `resampling.intervals`."""
        found: dict[str, tuple[float, float]] = {}
        for scores_of, sums_NS in self._additive():
            found |= intervals(scores_of, sums_NS)
        return found

    def standard_error(self, name: str) -> float:
        """Return the standard error of a score over the pictures, 0 where it cannot be known."""
        for scores_of, sums_NS in self._additive():
            errors = standard_errors(scores_of, sums_NS)
            if name in errors:
                return errors[name]
        return 0.0

    def _additive(self) -> Iterator[tuple[ScoresOf, Tensor]]:
        for identity, parts_BS in self._sums_BS.items():
            metric: Any = self._metrics[identity]
            name = self.entries[identity].spec.name
            yield partial(_named_scores, metric, name), torch.cat(parts_BS).cpu().double()

    def compute(self) -> dict[str, float]:
        """Return all scores by name; a metric that gives one number has its spec's name."""
        if self.ranks.count > 1:
            self._gather()
        scores: dict[str, float] = {}
        for identity, metric in self._metrics.items():
            spec: MetricSpec = self.entries[identity].spec
            named = self._scores(identity, metric, spec.name)
            twice = sorted(scores.keys() & named.keys() | named.keys() & {"loss"})
            if twice:
                raise SegzooError(
                    f"metric `{identity}` gives a score `{twice[0]}`, which another one has",
                    "leave it out of --metrics, or ask its authors for another name",
                )
            scores.update(named)
            self.higher_is_better |= dict.fromkeys(named, spec.higher_is_better)
        return scores

    def _scores(self, identity: str, metric: Any, name: str) -> dict[str, float]:
        named: dict[str, float] = {}
        if self._firsts:  # A metric that has seen nothing in this process may divide by zero.
            value = metric.compute()
            value = value if isinstance(value, Mapping) else {name: value}
            named = check_scores(value, self.entries[identity].owner)
        if identity in self._totals_S:
            sums_1S = self._totals_S[identity].cpu().double()[None]
            named |= defined(_named_scores(metric, name, sums_1S))
        return named

    def _gather(self) -> None:
        """Have the sums of all ranks, and with `each` those of all their pictures in order."""
        if not self.each:
            none_S = torch.zeros(0)
            for identity in self._metrics:
                parts = gathered(self._totals_S.get(identity, none_S)[None])
                self._totals_S[identity] = torch.cat(parts).sum(0)
            return
        own = {identity: self._sums_BS.get(identity, []) for identity in self._metrics}
        self._keys, self._sums_BS = in_their_order(self._firsts, self._keys, own)
        for identity, parts_BS in self._sums_BS.items():
            # One batch after the other, as a single process adds them up, to the bit.
            self._totals_S[identity] = sum(sums_BS.sum(0) for sums_BS in parts_BS)  # type: ignore


def chosen_score(metrics: MetricSet, monitor: str, further: str, info: DataInfo) -> str:
    """Return the score that chooses the best weights, of the `further` metrics among others.

    They are asked for their scores' names with a made-up picture, so that one that gives no numbers
    is told before the first step. Raises SegzooError for that, and for a score there is not.
    """
    usual = "mad" if info.target == "alpha" else "mean_iou"
    if monitor == "auto" and not further:
        return usual
    try:
        names = {"loss", *metrics.names(len(info.classes), info.target)}
    except SegzooError:
        raise
    except Exception:
        if monitor == "auto":
            return usual  # In the training the error is told with its place.
        raise
    if monitor != "auto" and monitor not in names:
        raise SegzooError(
            f"--monitor {monitor}: no such score", f"there is: {', '.join(sorted(names))}"
        )
    return usual if monitor == "auto" else monitor


def _named_scores(metric: Additive, name: str, sums_RS: Tensor) -> dict[str, Tensor]:
    value = metric.scores_of(sums_RS)
    return {name: value} if isinstance(value, Tensor) else dict(value)
