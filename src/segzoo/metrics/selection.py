"""Which metrics a run has: those of every run, and further ones by name with their options."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.options import make_options
from segzoo.plugins import get_registry
from segzoo.specs import MetricSpec, target_kinds
from segzoo.terms import parse_terms

ALWAYS = ("segzoo/confusion", "segzoo/matte")
"""What every run computes where its target kind allows; all others only by name."""


class Metric(Protocol):
    """What a metric's builder returns."""

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch."""
        ...

    def compute(self) -> float | Mapping[str, float]:
        """Return the score of all batches so far."""
        ...


class MetricSet:
    """The metrics of one run: of `ALWAYS` those that take the target kind, and others by name."""

    def __init__(
        self, further: str, *, classes: Sequence[str], ignore_index: int | None, target: str
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

    def start(self) -> None:
        """Begin a new pass over a data set."""
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

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Take one batch in every metric."""
        for metric in self._metrics.values():
            metric.update(logits_BKHW, target_BHW)

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
