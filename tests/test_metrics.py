import pytest
import torch

from segzoo import SegzooError
from segzoo.metrics import confusion_matrix
from segzoo.metrics.confusion import Confusion
from segzoo.metrics.matte import MatteErrors
from segzoo.metrics.selection import MetricSet


def logits_of(labels, count):
    return torch.nn.functional.one_hot(labels, count).movedim(-1, 1).float()


def test_scores_by_hand():
    truth = torch.tensor([[[0, 0, 1, 1, 2, 255]]])
    guess = torch.tensor([[[0, 1, 1, 1, 1, 0]]])
    metric = Confusion(("a", "b", "c", "d"), 255)
    metric.update(logits_of(guess, 4), truth)
    scores = metric.compute()
    assert scores["pixel_accuracy"] == pytest.approx(3 / 5)
    assert scores["iou/a"] == pytest.approx(1 / 2)
    assert scores["iou/b"] == pytest.approx(2 / 4)
    assert scores["iou/c"] == 0
    assert "iou/d" not in scores
    assert scores["mean_iou"] == pytest.approx((1 / 2 + 2 / 4 + 0) / 3)


def test_the_matrix_against_a_plain_count():
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 5, (3, 7, 9), generator=random)
    guess = torch.randint(0, 5, (3, 7, 9), generator=random)
    matrix = confusion_matrix(guess, truth, 5, ignore_index=3)
    for t in range(5):
        for p in range(5):
            expected = 0 if t == 3 else int(((truth == t) & (guess == p)).sum())
            assert int(matrix[t, p]) == expected


def test_dataset_level_and_independent_of_the_batches():
    random = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 2, (6, 8, 8), generator=random)
    logits = torch.randn(6, 2, 8, 8, generator=random)
    whole, parts = Confusion(("a", "b"), None), Confusion(("a", "b"), None)
    whole.update(logits, truth)
    for i in (5, 2, 3, 0, 1, 4):
        parts.update(logits[i : i + 1], truth[i : i + 1])
    assert whole.compute() == parts.compute()


def test_an_alpha_counts_from_one_half_on():
    metric = Confusion(("a", "b"), None)
    metric.update(logits_of(torch.tensor([[[0, 1, 1]]]), 2), torch.tensor([[[0.49, 0.5, 1.0]]]))
    assert metric.compute()["mean_iou"] == 1


def test_matte_errors_by_hand():
    metric = MatteErrors()
    logits = torch.stack([torch.zeros(1, 1, 2), torch.tensor([[[0.0, torch.inf]]])], dim=1)
    logits[0, 1, 0, 1] = 50.0
    metric.update(logits, torch.tensor([[[0.25, 1.0]]]))
    assert metric.compute()["mad"] == pytest.approx(0.25 / 2)
    assert metric.compute()["mse"] == pytest.approx(0.0625 / 2)


def test_a_plugins_metric_joins_the_core_s(install):
    install(
        "acme",
        "from segzoo import MetricSpec\n"
        "def segzoo_metrics():\n"
        "    return [MetricSpec(name='share', summary='s', build='acme.m:build',"
        " higher_is_better=False)]\n",
        files={
            "m.py": "class Share:\n    total = 0.0\n"
            "    def update(self, logits, target): self.total += float(target.sum())\n"
            "    def compute(self): return self.total\n"
            "def build(*, classes, ignore_index, options): return Share()\n"
        },
    )
    metrics = MetricSet("share", classes=("a", "b"), ignore_index=None, target="labels")
    assert set(metrics.names(2, "labels")) >= {"share", "mean_iou", "iou/b"}
    metrics.start()
    metrics.update(torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, dtype=torch.int64))
    assert metrics.compute()["share"] == 4
    assert metrics.higher_is_better["share"] is False


def test_every_run_has_the_same_few_scores_and_others_by_name():
    how = {"classes": ("a", "b"), "ignore_index": None}
    always = ["pixel_accuracy", "mean_iou", "iou/a", "iou/b"]
    assert MetricSet("", **how, target="labels").names(2, "labels") == always
    assert MetricSet("", **how, target="alpha").names(2, "alpha") == [*always, "mad", "mse"]
    further = MetricSet("overlap, boundary(width=0.1)", **how, target="labels")
    names = further.names(2, "labels")
    assert names[:4] == always
    assert {"mean_dice", "dice/b", "fw_iou", "mean_boundary_iou", "boundary_f/a"} < set(names)
    assert further.higher_is_better["mean_boundary_f"] is True


def test_a_metric_of_every_run_may_be_named_too():
    metrics = MetricSet("confusion", classes=("a", "b"), ignore_index=None, target="labels")
    assert list(metrics.entries) == ["segzoo/confusion"]


def test_matting_is_for_mattes():
    with pytest.raises(SegzooError, match="takes alpha targets, the data set has labels"):
        MetricSet("matting", classes=("a", "b"), ignore_index=None, target="labels")
