"""Which metrics a run has: those of every run, and further ones by name with their options."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.metrics.pictures import PictureScores
from segzoo.metrics.resampling import ScoresOf, intervals, standard_errors
from segzoo.options import make_options
from segzoo.plugins import get_registry
from segzoo.specs import MetricSpec, target_kinds
from segzoo.terms import parse_terms

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
    metrics 24 bytes a class and picture, on the device.
    """

    def __init__(
        self,
        further: str,
        *,
        classes: Sequence[str],
        ignore_index: int | None,
        target: str,
        each: bool = False,
    ) -> None:
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

    def start(self) -> None:
        """Begin a new pass over a data set."""
        self._keys, self._sums_BS = [], {}
        self._metrics = {
            identity: entry.resolve("build")(
                **self._how,
                options=make_options(entry.spec.options, self._options.get(identity), entry.owner),
            )
            for identity, entry in self.entries.items()
        }

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
        self, logits_BKHW: Tensor, target_BHW: Tensor, keys: Sequence[str] | None = None
    ) -> None:
        """Take one batch in every metric; `keys` name its pictures where `each` is set."""
        for identity, metric in self._metrics.items():
            sums_BS = metric.update(logits_BKHW, target_BHW)
            if self.each and isinstance(metric, Additive):
                self._keep(identity, sums_BS, len(target_BHW))
        if self.each:
            first = len(self._keys)
            self._keys += keys or map(str, range(first, first + len(target_BHW)))

    def _keep(self, identity: str, sums_BS: Tensor | None, pictures: int) -> None:
        if not isinstance(sums_BS, Tensor) or sums_BS.shape[:-1] != (pictures,):
            what = tuple(sums_BS.shape) if isinstance(sums_BS, Tensor) else type(sums_BS).__name__
            raise SegzooError(
                f"metric `{identity}` has scores_of, but its update returns {what}",
                "let it return what each picture of the batch adds, one row a picture",
            )
        self._sums_BS.setdefault(identity, []).append(sums_BS)

    def pictures(self) -> PictureScores:
        """Return the scores of each picture by itself, of the metrics that have `scores_of`."""
        scores: dict[str, Tensor] = {}
        for scores_of, sums_NS in self._additive():
            scores |= scores_of(sums_NS)
        return PictureScores(tuple(self._keys), scores)

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
        scores: dict[str, float] = {}
        for identity, metric in self._metrics.items():
            spec: MetricSpec = self.entries[identity].spec
            value = metric.compute()
            named = dict(value) if isinstance(value, Mapping) else {spec.name: float(value)}
            twice = sorted(scores.keys() & named.keys() | named.keys() & {"loss"})
            if twice:
                raise SegzooError(
                    f"metric `{identity}` gives a score `{twice[0]}`, which another one has",
                    "leave it out of --metrics, or ask its authors for another name",
                )
            scores.update(named)
            self.higher_is_better |= dict.fromkeys(named, spec.higher_is_better)
        return scores


def _named_scores(metric: Additive, name: str, sums_RS: Tensor) -> dict[str, Tensor]:
    value = metric.scores_of(sums_RS)
    return {name: value} if isinstance(value, Tensor) else dict(value)
