"""MetricConformance: the contract of a metric. Scores add up over a whole data set."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from segzoo.metrics.selection import Additive
from segzoo.plugins.specs import target_kinds
from segzoo.testing.base import Conformance, check
from segzoo.testing.losses import IGNORED, perfect_logits
from segzoo.testing.state import ADVICE, changed_state, global_state

SIDE = 10
ADVICE_SUMS = "sum counts over all batches and divide once, in compute()"
ADVICE_ROWS = "update returns each picture's sums, scores_of(sums_RS) what compute() makes of them"
Scores = Mapping[str, float]
Case = tuple[Any, Any, Scores]


class MetricConformance(Conformance):
    """Inherit from it and set `metric`; `cases` are results worked out by hand.

    class TestFoo(MetricConformance):
        metric = "segzoo-foo/foo"
        cases = [([[0, 1]], [[0, 0]], {"foo": 0.5})]  # prediction, target, scores

    Predictions and targets are H x W: class ids (`classes` of them), or an alpha in 0..1.
    """

    kind = "metrics"
    attribute = "metric"
    metric: ClassVar[str] = ""
    classes: ClassVar[int] = 3
    cases: ClassVar[Sequence[Case]] = ()

    def count(self, kind: str) -> int:
        """Return the number of classes for a target kind."""
        return 2 if kind == "alpha" else self.classes

    def built(self, kind: str) -> Any:
        """Return a new metric for a target kind."""
        names = tuple(f"class_{index}" for index in range(self.count(kind)))
        return self.entry.resolve("build")(
            classes=names, ignore_index=IGNORED, options=self.made_options()
        )

    def scores(self, kind: str, *batches: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return what the metric computes for batches of (logits_BKHW, target_BHW)."""
        metric = self.built(kind)
        try:
            for logits_BKHW, target_BHW in batches:
                metric.update(logits_BKHW, target_BHW)
            value = metric.compute()
        except Exception as error:
            raise self.fault(
                f"fails after {len(batches)} batches of {kind}: {type(error).__name__}: {error}",
                "update(logits_BKHW, target_BHW) takes a batch, compute() returns the scores",
            ) from error
        named = dict(value) if isinstance(value, Mapping) else {self.entry.spec.name: value}
        for name, score in named.items():
            if not isinstance(name, str) or not isinstance(score, (int, float)):
                raise self.fault(
                    f"computes {name!r}: {type(score).__name__}", "return float, or str -> float"
                )
        return {name: float(score) for name, score in named.items()}

    def kinds(self) -> tuple[str, ...]:
        """Return the target kinds that the spec names."""
        return target_kinds(self.entry.spec.targets)

    def random_batch(self, kind: str, size: int) -> tuple[Tensor, Tensor]:
        """Return logits_BKHW and a target_BHW of a kind, the same every time."""
        count, generator = self.count(kind), torch.Generator().manual_seed(8)
        logits_BKHW = torch.randn(size, count, SIDE, SIDE, generator=generator)
        if kind == "alpha":
            return logits_BKHW, torch.rand(size, SIDE, SIDE, generator=generator)
        target_BHW = torch.randint(0, count, (size, SIDE, SIDE), generator=generator)
        # The pictures differ much in what they hold: an average over batches then shows.
        target_BHW[0], target_BHW[1, :, 2:] = 0, IGNORED
        return logits_BKHW, target_BHW

    @check
    def test_cases(self) -> None:
        """The cases worked out by hand come out as they should."""
        if not self.cases:
            raise SkipTest("the test class gives no `cases`")
        for prediction, target, expected in self.cases:
            truth = torch.as_tensor(target)[None]
            predicted = torch.as_tensor(prediction)[None]
            kind = "alpha" if truth.is_floating_point() else "labels"
            logits_BKHW = perfect_logits(predicted, self.count(kind), 30.0)
            scores = self.scores(kind, (logits_BKHW, truth))
            for name, value in expected.items():
                if not math.isclose(scores.get(name, math.nan), value, abs_tol=1e-4):
                    raise self.fault(
                        f"computes {name}={scores.get(name)} for prediction {prediction} and "
                        f"target {target}, worked out by hand as {value}",
                        "correct the metric, or the case",
                    )

    @check
    def test_best(self) -> None:
        """A perfect prediction scores better than a wrong one, in the direction of the spec."""
        better = 1 if self.entry.spec.higher_is_better else -1
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 4)
            labelled_BHW = target_BHW.clone()
            labelled_BHW[target_BHW == IGNORED] = 0
            right = perfect_logits(labelled_BHW, self.count(kind), 30.0)
            wrong = right.roll(1, dims=1) if kind == "labels" else -right
            best, random, worst = (
                self.scores(kind, (logits, target_BHW)) for logits in (right, logits_BKHW, wrong)
            )
            for name in best:
                values = [better * scores[name] for scores in (best, random, worst)]
                if values[0] < max(values[1:]) or not any(
                    better * best[n] > better * worst[n] for n in best
                ):
                    raise self.fault(
                        f"scores a perfect prediction {name}={best[name]:.4f}, a random one "
                        f"{random[name]:.4f}, a wrong one {worst[name]:.4f}",
                        f"correct it, or higher_is_better={self.entry.spec.higher_is_better}",
                    )

    @check
    def test_fresh(self) -> None:
        """Built anew it knows nothing of earlier pictures."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 3)
            first = self.scores(kind, (logits_BKHW, target_BHW))
            self.scores(kind, (-logits_BKHW, target_BHW))
            again = self.scores(kind, (logits_BKHW, target_BHW))
            self._equal(kind, first, again, "after another pass", "keep counts in the instance")

    @check
    def test_order(self) -> None:
        """The order of batches, and of pictures in a batch, does not matter."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 6)
            turned = torch.tensor([5, 3, 0, 4, 1, 2])
            self._equal(
                kind,
                self.scores(kind, (logits_BKHW, target_BHW)),
                self.scores(kind, (logits_BKHW[turned], target_BHW[turned])),
                "in another order",
            )

    @check
    def test_parts(self) -> None:
        """Computed in two uneven parts it is the same as in one batch."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 6)
            whole = self.scores(kind, (logits_BKHW, target_BHW))
            for cut in (1, 4):
                parts = (
                    (logits_BKHW[:cut], target_BHW[:cut]),
                    (logits_BKHW[cut:], target_BHW[cut:]),
                )
                self._equal(kind, whole, self.scores(kind, *parts), f"cut after picture {cut}")

    def _equal(
        self, kind: str, one: Scores, two: Scores, how: str, advice: str = ADVICE_SUMS
    ) -> None:
        for name in one.keys() | two.keys():
            a, b = one.get(name, math.nan), two.get(name, math.nan)
            if not (math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) or (a != a and b != b)):
                raise self.fault(
                    f"computes {name}={a:.6f}, and {b:.6f} for the same pictures {how} ({kind})",
                    advice,
                )

    @check
    def test_ignored(self) -> None:
        """What the network says on ignored pixels changes nothing."""
        if "labels" not in self.kinds():
            raise SkipTest("an alpha has no ignored pixels")
        logits_BKHW, target_BHW = self.random_batch("labels", 4)
        target_BHW[:, 5:] = IGNORED
        other = logits_BKHW.clone()
        other[:, :, 5:] = -other[:, :, 5:]
        one, two = (self.scores("labels", (x, target_BHW)) for x in (logits_BKHW, other))
        for name in one:
            if not math.isclose(one[name], two[name], rel_tol=1e-6, abs_tol=1e-9):
                raise self.fault(
                    f"changes {name} from {one[name]:.5f} to {two[name]:.5f} with ignored pixels",
                    "leave pixels out whose label is ignore_index",
                )

    @check
    def test_empty(self) -> None:
        """Without a batch, and without a labelled pixel, it computes numbers and does not fail."""
        for kind in self.kinds():
            self.scores(kind)
            logits_BKHW, target_BHW = self.random_batch(kind, 2)
            if kind == "labels":
                self.scores(kind, (logits_BKHW, torch.full_like(target_BHW, IGNORED)))

    @check
    def test_names(self) -> None:
        """Finite scores with the same names whatever the pictures hold."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 6)
            scores = self.scores(kind, (logits_BKHW, target_BHW))
            if not scores or not all(math.isfinite(value) for value in scores.values()):
                raise self.fault(f"computes {scores}", "every score is a finite number here")
            if "loss" in scores:
                raise self.fault("names a score `loss`", "that is the loss's own; take another")
            few = self.scores(kind, (logits_BKHW[:1], target_BHW[:1]))
            if few.keys() != scores.keys():
                raise self.fault(
                    f"names {sorted(few)} for one picture and {sorted(scores)} for six",
                    "name every score in every case",
                )

    @check
    def test_pictures(self) -> None:
        """Where there is `scores_of`: what `update` returns for each picture adds up."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 6)
            metric = self.built(kind)
            if not isinstance(metric, Additive):
                return
            rows: list[Tensor] = []
            for part in (slice(0, 4), slice(4, 6)):
                target = target_BHW[part]
                sums_BS = metric.update(logits_BKHW[part], target)
                if not isinstance(sums_BS, Tensor) or sums_BS.shape[:-1] != target.shape[:1]:
                    raise self.fault(
                        f"has scores_of, but update returns {_form(sums_BS)} for {len(target)} "
                        "pictures",
                        "return what each picture adds to the sums, one row a picture",
                    )
                rows.append(sums_BS)
            sums_NS = torch.cat(rows).double()
            whole, how = sums_NS.sum(0, keepdim=True), "from the pictures' sums"
            scores = self.scores(kind, (logits_BKHW, target_BHW))
            self._equal(kind, scores, self.scores_of(metric, whole), how, ADVICE_ROWS)
            alone = self.scores(kind, (logits_BKHW[2:3], target_BHW[2:3]))
            found = self.scores_of(metric, torch.cat([whole, sums_NS[2:3]]), row=1)
            self._equal(kind, alone, found, "of picture 3 in its sums", ADVICE_ROWS)

    def scores_of(self, metric: Additive, sums_RS: Tensor, row: int = 0) -> dict[str, float]:
        """Return the scores of one row of sums, without those that are nan."""
        value = metric.scores_of(sums_RS)
        named = value if isinstance(value, Mapping) else {self.entry.spec.name: value}
        for name, values_R in named.items():
            if not isinstance(values_R, Tensor) or values_R.shape != sums_RS.shape[:1]:
                raise self.fault(
                    f"gives {name} as {_form(values_R)} in scores_of for {len(sums_RS)} sums",
                    "return a tensor with a value for every row of its argument",
                )
        values = {name: float(values_R[row]) for name, values_R in named.items()}
        return {name: score for name, score in values.items() if not math.isnan(score)}

    @check
    def test_inputs_kept(self) -> None:
        """Logits may be bf16; inputs and global state are left alone."""
        for kind in self.kinds():
            logits_BKHW, target_BHW = self.random_batch(kind, 3)
            self.scores(kind, (logits_BKHW.bfloat16(), target_BHW))
            given, wanted, before = logits_BKHW.clone(), target_BHW.clone(), global_state()
            self.scores(kind, (logits_BKHW, target_BHW))
            if changed := changed_state(before):
                raise self.fault(f"changes the {changed[0]}", ADVICE[changed[0]])
            if not (torch.equal(given, logits_BKHW) and torch.equal(wanted, target_BHW)):
                raise self.fault(f"changes its inputs ({kind})", "copy before writing in place")


def _form(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
