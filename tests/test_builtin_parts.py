"""The core's own parts pass the checks that plugins pass."""

from segzoo.testing import DatasetConformance, LossConformance, MetricConformance


class TestFolder(DatasetConformance):
    data = "segzoo/folder"


class TestCrossEntropy(LossConformance):
    loss = "segzoo/ce"


class TestDice(LossConformance):
    loss = "segzoo/dice"


class TestConfusion(MetricConformance):
    metric = "segzoo/confusion"
    cases = [
        # class 0: 1 hit, 1 missed; class 1: 2 hits, 1 false; class 2 is nowhere.
        (
            [[0, 1], [1, 1]],
            [[0, 0], [1, 1]],
            {"pixel_accuracy": 0.75, "iou/class_0": 0.5, "iou/class_1": 2 / 3, "mean_iou": 7 / 12},
        ),
        ([[0, 1], [2, 2]], [[255, 1], [255, 0]], {"pixel_accuracy": 0.5, "iou/class_1": 1.0}),
        ([[0.2, 0.9]], [[0.0, 0.4]], {"pixel_accuracy": 0.5, "mean_iou": 0.25}),
    ]


class TestMatte(MetricConformance):
    metric = "segzoo/matte"
    cases = [([[0.5, 1.0]], [[0.0, 1.0]], {"mad": 0.25, "mse": 0.125})]
