"""Intervals by drawing pictures anew, and the scores of single pictures."""

import csv
import itertools
import json
import math
from functools import partial

import pytest
import torch
from typer.testing import CliRunner

import segzoo
from segzoo import SegzooError
from segzoo.cli import make_app
from segzoo.inference.evaluation import evaluate_weights
from segzoo.inference.settings import Inference
from segzoo.metrics import resampling
from segzoo.metrics.confusion import Confusion
from segzoo.metrics.pictures import PictureScores, check_ending
from segzoo.metrics.resampling import FEWEST, intervals, resampled_sums
from segzoo.metrics.selection import MetricSet

HOW = {"classes": ("a", "b", "c"), "ignore_index": 255, "target": "labels"}


def pictures(seed, count=12, classes=3):
    """Logits and labels of pictures that differ in what they hold and in how well they are met."""
    random = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (count, 6, 8), generator=random)
    truth[: count // 3, :, :5] = 0
    wrong = torch.rand(count, 6, 8, generator=random) < torch.rand(count, 1, 1, generator=random)
    guess = torch.where(wrong, torch.randint(0, classes, truth.shape, generator=random), truth)
    truth[torch.rand(truth.shape, generator=random) < 0.1] = 255
    return torch.nn.functional.one_hot(guess, classes).movedim(-1, 1).float(), truth


def mattes(seed, count=9):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 2, 5, 7, generator=random)
    return logits, torch.rand(count, 5, 7, generator=random)


def measured(metrics, logits, truth, cuts=(5,)):
    metrics.start()
    ends = [0, *cuts, len(truth)]
    for low, high in itertools.pairwise(ends):
        keys = [f"picture {index}" for index in range(low, high)]
        metrics.update(logits[low:high], truth[low:high], keys)
    return metrics.compute()


def mean_of(sums_RS):
    return {"mean": sums_RS[:, 0] / sums_RS[:, 1]}


def values(count, seed=3):
    drawn = torch.empty(count, dtype=torch.float64)
    return drawn.exponential_(generator=torch.Generator().manual_seed(seed))


def test_the_interval_of_a_mean_as_scipy_has_it():
    stats = pytest.importorskip("scipy.stats")
    numpy = pytest.importorskip("numpy")
    sample = values(40)
    sums_NS = torch.stack([sample, torch.ones_like(sample)], dim=1)
    found = intervals(mean_of, sums_NS, replicates=20_000)["mean"]
    theirs = stats.bootstrap(
        (sample.numpy(),), numpy.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_the_interval_of_a_ratio_of_sums_as_scipy_has_it():
    stats = pytest.importorskip("scipy.stats")
    weight = values(50, seed=4)
    hits = weight * torch.linspace(0, 1, 50, dtype=torch.float64)
    found = intervals(mean_of, torch.stack([hits, weight], dim=1), replicates=20_000)["mean"]
    theirs = stats.bootstrap(
        (hits.numpy(), weight.numpy()),
        lambda h, w, axis: h.sum(axis) / w.sum(axis),
        paired=True, n_resamples=20_000, method="percentile", random_state=1,
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


@pytest.mark.parametrize(("confidence", "deviations"), [(0.95, 1.959964), (0.8, 1.281552)])
def test_of_many_values_it_is_the_normal_one(confidence, deviations):
    sample = values(2000)
    sums_NS = torch.stack([sample, torch.ones_like(sample)], dim=1)
    low, high = intervals(mean_of, sums_NS, replicates=20_000, confidence=confidence)["mean"]
    half = deviations * float(sample.std()) / math.sqrt(2000)
    assert (low + high) / 2 == pytest.approx(float(sample.mean()), abs=0.05 * half)
    assert high - low == pytest.approx(2 * half, rel=0.03)


def test_scores_are_those_of_a_data_set_of_the_drawn_pictures():
    logits, truth = pictures(0)
    metric = Confusion(HOW["classes"], 255)
    sums_NS = metric.update(logits, truth)
    drawn_RN = torch.randint(0, 12, (20, 12), generator=torch.Generator().manual_seed(7))
    found = metric.scores_of(resampled_sums(sums_NS, replicates=20, seed=7))
    for index, drawn_N in enumerate(drawn_RN):
        plain = Confusion(HOW["classes"], 255)
        plain.update(logits[drawn_N], truth[drawn_N])
        assert {name: float(values_R[index]) for name, values_R in found.items()} == plain.compute()


def test_draws_follow_the_seed_and_not_the_memory(monkeypatch):
    sums_NS = torch.rand(30, 4, dtype=torch.float64)
    whole = resampled_sums(sums_NS, replicates=50, seed=1)
    monkeypatch.setattr(resampling, "AT_ONCE", 7 * 30)
    assert torch.allclose(resampled_sums(sums_NS, replicates=50, seed=1), whole, rtol=1e-12)
    assert not torch.allclose(resampled_sums(sums_NS, replicates=50, seed=2), whole)
    assert whole.shape == (50, 4)


def test_few_pictures_have_no_interval_and_equal_ones_a_point():
    one = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert intervals(mean_of, one) == {}
    assert intervals(mean_of, one.expand(FEWEST - 1, 2)) == {}
    for count in (FEWEST, 9):
        assert intervals(mean_of, one.expand(count, 2)) == {"mean": (0.75, 0.75)}


def test_the_score_is_within_its_interval():
    """A score of which every draw is further off than it is itself, as those of rare classes."""
    sums_NS = torch.eye(20, dtype=torch.float64)

    def kinds(sums_RS):
        return {
            "drawn": (sums_RS > 0).double().mean(1),
            "left out": (sums_RS == 0).double().mean(1),
        }

    found = intervals(kinds, sums_NS)
    assert found["drawn"][1] == 1 and found["drawn"][0] < 1
    assert found["left out"][0] == 0 and found["left out"][1] > 0


@pytest.mark.parametrize(("there", "expected"), [(1, False), (2, False), (4, True), (30, True)])
def test_a_class_of_too_few_pictures_has_no_interval(there, expected):
    sums_NS = torch.zeros(30, 3, 2, dtype=torch.float64)
    sums_NS[:, :, 0] = 10
    sums_NS[:there, :, 1] = 10
    sums_NS[::2, 0] -= 5 * (sums_NS[::2, 0] > 0)
    found = intervals(Confusion(("a", "b"), None).scores_of, sums_NS.flatten(1))
    assert ("iou/b" in found) is expected
    assert {"iou/a", "mean_iou", "pixel_accuracy"} <= set(found)
    assert all(math.isfinite(end) for ends in found.values() for end in ends)


LABELS = (pictures(1), HOW, "overlap, boundary(width=0.1)")
ALPHA = (mattes(2), {**HOW, "classes": ("a", "b"), "target": "alpha"}, "matting, overlap")


@pytest.mark.parametrize(("data", "how", "further"), [LABELS, ALPHA], ids=["labels", "alpha"])
def test_every_score_has_an_interval_and_is_not_changed_by_it(data, how, further):
    metrics = MetricSet(further, **how, each=True)
    scores = measured(metrics, *data)
    assert scores == measured(MetricSet(further, **how), *data)
    found = metrics.intervals()
    assert list(found) == list(scores)
    for name, (low, high) in found.items():
        assert low <= scores[name] <= high
        assert low < high
    assert metrics.intervals() == found


@pytest.mark.parametrize(("data", "how", "further"), [LABELS, ALPHA], ids=["labels", "alpha"])
def test_a_picture_has_the_scores_of_a_data_set_of_it_alone(data, how, further):
    metrics = MetricSet(further, **how, each=True)
    measured(metrics, *data)
    records = metrics.pictures().records()
    assert [record.pop("key") for record in records] == [
        f"picture {i}" for i in range(len(data[1]))
    ]
    for index, record in enumerate(records):
        logits, target = (part[index : index + 1] for part in data)
        alone = measured(MetricSet(further, **how), logits, target, ())
        there = {name: value for name, value in record.items() if value is not None}
        assert there == pytest.approx(alone, rel=1e-5)


def test_the_next_pass_begins_anew():
    metrics = MetricSet("", **HOW, each=True)
    first = measured(metrics, *pictures(0))
    measured(metrics, *pictures(1, count=4), cuts=(2,))
    assert len(metrics.pictures().keys) == 4
    assert measured(metrics, *pictures(0)) == first
    assert len(metrics.pictures().records()) == 12


def test_pictures_without_a_label_are_named_and_disturb_nothing():
    logits, truth = pictures(2)
    truth[3] = 255
    metrics = MetricSet("overlap, boundary", **HOW, each=True)
    measured(metrics, logits, truth)
    found = metrics.pictures()
    assert found.unscored("mean_iou") == ["picture 3"]
    assert set(found.records()[3].values()) == {"picture 3", None}
    worst = found.worst("mean_iou", 99, higher_is_better=True)
    assert len(worst) == 11
    assert "picture 3" not in {record["key"] for record in worst}
    assert all(math.isfinite(end) for ends in metrics.intervals().values() for end in ends)


def test_nothing_labelled_at_all():
    logits, truth = pictures(2, count=4)
    metrics = MetricSet("overlap", **HOW, each=True)
    scores = measured(metrics, logits, torch.full_like(truth, 255), cuts=(2,))
    assert scores["mean_iou"] == 0
    assert metrics.intervals() == {}
    found = metrics.pictures()
    assert found.worst("mean_iou", 5, higher_is_better=True) == []
    assert len(found.unscored("mean_iou")) == 4


SCORES = {"mean_iou": [0.5, math.nan, 0.25, 0.75], "iou/b": [0.5, math.nan, math.nan, 1.0]}
TABLE = PictureScores(
    ("x", "y, z", "ü", "w"), {name: torch.tensor(column) for name, column in SCORES.items()}
)


def test_the_worst_come_first():
    keys = [record["key"] for record in TABLE.worst("mean_iou", 2, higher_is_better=True)]
    assert keys == ["ü", "x"]
    (worst,) = TABLE.worst("mean_iou", 1, higher_is_better=False)
    assert worst == {"key": "w", "mean_iou": 0.75, "iou/b": 1.0}
    assert TABLE.worst("mean_iou", 0, higher_is_better=True) == []
    assert TABLE.worst("mean_iou", 1, higher_is_better=True) == [{"key": "ü", "mean_iou": 0.25}]


def test_tables_are_read_back(tmp_path):
    TABLE.write(tmp_path / "deep" / "t.csv")
    with (tmp_path / "deep" / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == ["x", "y, z", "ü", "w"]
    assert [row["mean_iou"] for row in rows] == ["0.5", "", "0.25", "0.75"]
    TABLE.write(tmp_path / "t.JSON")
    assert json.loads((tmp_path / "t.JSON").read_text(encoding="utf-8")) == TABLE.records()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "t.JSON"]


def test_tables_of_other_kinds_are_refused(tmp_path):
    for name, said in (("t.xlsx", "ends in .xlsx"), ("table", "ends in nothing")):
        with pytest.raises(SegzooError, match=f"--per-picture .*{name}: {said}") as caught:
            check_ending(tmp_path / name)
        assert "end it in .csv or .json" in caught.value.hint


PLUGIN = """
from segzoo import MetricSpec
def segzoo_metrics():
    return [MetricSpec(name=n, summary="s", build="acme.m:" + n) for n in ("plain", "sums", "bad")]
"""
METRICS = """
import torch
class plain:
    def __init__(self, **how): self.total = torch.zeros(2)
    def update(self, logits, target):
        self.total += self.rows(target).sum(0)
        return "not looked at"
    def rows(self, target):
        return torch.stack([(target == 1).flatten(1).sum(1), target.flatten(1).ge(0).sum(1)], 1)
    def compute(self): return float(self.total[0] / self.total[1])
class sums(plain):
    def update(self, logits, target):
        super().update(logits, target)
        return self.rows(target)
    def scores_of(self, sums_RS): return sums_RS[:, 0] / sums_RS[:, 1]
class bad(sums):
    def update(self, logits, target): return super().update(logits, target).sum(0, keepdim=True)
"""


def test_a_plugins_metric_takes_part_if_it_can(install):
    install("acme", PLUGIN, files={"m.py": METRICS})
    labels, made = pictures(5), partial(MetricSet, **HOW, each=True)
    metrics = made("plain, sums")
    scores = measured(metrics, *labels)
    low, high = metrics.intervals()["sums"]
    assert low < scores["sums"] < high
    assert scores["plain"] == scores["sums"]
    assert "plain" not in metrics.intervals()
    assert "plain" not in metrics.pictures().scores
    assert measured(MetricSet("bad", **HOW), *labels)["bad"] == scores["sums"]
    with pytest.raises(
        SegzooError, match=r"acme/bad.* has scores_of, but its update returns \(1, 2"
    ):
        measured(made("bad"), *labels)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return segzoo.fit(
        model="unet", data="hk", sample=True, size=32, epochs=1, workers=0,
        out=tmp_path_factory.mktemp("trained") / "run", precision="fp32", progress=False,
        model_options={"width": 4, "depth": 2},
    ).weights  # fmt: skip


@pytest.mark.parametrize("how", [{}, {"full_size": True}, {"how": Inference(window=32)}], ids=str)
def test_evaluate_names_the_pictures_in_their_order(weights, tmp_path, how):
    path = tmp_path / "t.json"
    result = evaluate_weights(weights, worst=3, per_picture=path, precision="fp32", **how)
    records = json.loads(path.read_text(encoding="utf-8"))
    keys = segzoo.DataSource("hk", sample=True).split("test").keys
    assert [record["key"] for record in records] == list(keys)
    assert result["worst"] == sorted(records, key=lambda record: record["mean_iou"])[:3]
    assert result["worst_by"] == "mean_iou"
    assert result["unscored"] == []
    assert list(result["intervals"]) == list(result["scores"])


def test_the_worst_mattes_have_the_largest_mad(weights):
    result = evaluate_weights(weights, data="hk", sample=True, options={"matte": "soft"}, worst=99)
    mads = [record["mad"] for record in result["worst"]]
    assert result["worst_by"] == "mad"
    assert len(mads) == result["pictures"]
    assert mads == sorted(mads, reverse=True)
    low, high = result["intervals"]["mad"]
    assert min(mads) <= low < result["scores"]["mad"] < high <= max(mads)


def test_the_command_prints_intervals_and_the_worst(weights, tmp_path):
    table = tmp_path / "t.csv"
    words = ["evaluate", str(weights), "--batch-size", "5", "--worst", "2", "--per-picture"]
    told = CliRunner().invoke(make_app(), [*words, str(table)], catch_exceptions=False)
    assert told.exit_code == 0
    assert "95 % interval" in told.stdout
    _, _, below = told.stdout.partition("the worst pictures by mean_iou")
    with table.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["mean_iou"]))
    assert len(rows) == 12
    assert [row["key"] in below for row in rows] == [True] * 2 + [False] * 10
    with pytest.raises(SegzooError, match=r"--per-picture t\.txt: ends in \.txt"):
        CliRunner().invoke(make_app(), [*words, "t.txt"], catch_exceptions=False)
