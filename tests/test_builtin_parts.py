"""The core's own parts pass the checks that plugins pass."""

from importlib.util import find_spec

import pytest

from segzoo.testing import DatasetConformance, LossConformance, MetricConformance


class TestFolder(DatasetConformance):
    data = "segzoo/folder"


class TestCrossEntropy(LossConformance):
    loss = "segzoo/ce"


class TestDice(LossConformance):
    loss = "segzoo/dice"


class TestOhem(LossConformance):
    loss = "segzoo/ohem"


class TestFocal(LossConformance):
    loss = "segzoo/focal"


class TestJaccard(LossConformance):
    loss = "segzoo/jaccard"


class TestTversky(LossConformance):
    loss = "segzoo/tversky"


class TestLovasz(LossConformance):
    loss = "segzoo/lovasz"


class TestBoundaryLoss(LossConformance):
    loss = "segzoo/boundary"


class TestL1(LossConformance):
    loss = "segzoo/l1"


class TestBinaryCrossEntropy(LossConformance):
    loss = "segzoo/bce"


class TestLaplacian(LossConformance):
    loss = "segzoo/laplacian"


class TestGradientLoss(LossConformance):
    loss = "segzoo/gradient"


class TestWeightedCrossEntropy(LossConformance):
    loss = "segzoo/ce"
    classes = 2  # so that the weights fit alphas too
    options = {"weight": "1:3"}


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


class TestOverlap(MetricConformance):
    metric = "segzoo/overlap"
    cases = [
        # class 0: 1 hit, 1 missed; class 1: 2 hits, 1 false; class 2 is nowhere.
        (
            [[0, 1], [1, 1]],
            [[0, 0], [1, 1]],
            {"dice/class_0": 2 / 3, "dice/class_1": 4 / 5, "mean_dice": 11 / 15}
            | {"precision/class_0": 1.0, "precision/class_1": 2 / 3}
            | {"recall/class_0": 1 / 2, "recall/class_1": 1.0}
            | {"mean_accuracy": 3 / 4, "fw_iou": 1 / 2 * 1 / 2 + 1 / 2 * 2 / 3},
        ),
        # Class 2 is only predicted: 0 in its own scores, no part of mean accuracy.
        (
            [[0, 2], [2, 1]],
            [[0, 0], [255, 255]],
            {"dice/class_0": 2 / 3, "dice/class_2": 0.0, "recall/class_2": 0.0}
            | {"mean_dice": 1 / 3, "mean_accuracy": 1 / 2, "fw_iou": 1 / 2},
        ),
        ([[0.2, 0.9]], [[0.0, 0.4]], {"precision/class_1": 0.0, "mean_dice": 1 / 3}),
    ]


class TestBoundary(MetricConformance):
    metric = "segzoo/boundary"
    cases = [
        # In one row every pixel touches the edge: boundary IoU is IoU. The outline is the last
        # pixel of the left class, and moves by 1 pixel, which is within reach,
        (
            [[0, 0, 1, 1, 1, 1]],
            [[0, 0, 0, 1, 1, 1]],
            {"boundary_iou/class_0": 2 / 3, "boundary_iou/class_1": 3 / 4}
            | {"mean_boundary_iou": 17 / 24, "boundary_f/class_0": 1.0, "mean_boundary_f": 1.0},
        ),
        # or by 2, which is not.
        (
            [[0, 1, 1, 1, 1, 1]],
            [[0, 0, 0, 1, 1, 1]],
            {"mean_boundary_iou": (1 / 3 + 3 / 5) / 2, "mean_boundary_f": 0.0},
        ),
        # Truth: a rim of 16 pixels. Prediction: the rim and the 8 around a hole in the middle.
        (
            [[int((y, x) == (2, 2)) for x in range(5)] for y in range(5)],
            [[0] * 5] * 5,
            {"boundary_iou/class_0": 16 / 24, "boundary_iou/class_1": 0.0}
            | {"mean_boundary_iou": 1 / 3, "mean_boundary_f": 0.0},
        ),
    ]


class TestBoundaryWide(MetricConformance):
    metric = "segzoo/boundary"
    options = {"width": 0.2, "tolerance": 0.3}
    # A diagonal of 6.1 pixels and a reach of 2.
    cases = [([[0, 1, 1, 1, 1, 1]], [[0, 0, 0, 1, 1, 1]], {"mean_boundary_f": 1.0})]


class TestMatting(MetricConformance):
    metric = "segzoo/matting"
    # 2000 pixels off by a half; a constant error has no gradient.
    cases = [([[0.5] * 50] * 40, [[1.0] * 50] * 40, {"sad": 1.0, "gradient_error": 0.0})]


@pytest.mark.skipif(find_spec("scipy") is None, reason="needs scipy")
class TestMattingConnectivity(MetricConformance):
    metric = "segzoo/matting"
    options = {"connectivity": True}
    cases = [
        # 20 columns that both hold, a gap, 10 columns that only the truth holds, 1000 pixels.
        (
            [[1.0] * 20 + [0.0] * 12] * 100,
            [[1.0] * 20 + [0.0] * 2 + [1.0] * 10] * 100,
            {"sad": 1.0, "connectivity_error": 1.0},
        ),
        # Both reach 0.5, the truth 0.6 beyond: from the level 0.5 it is 0.1, below 0.15.
        ([[0.5] * 50] * 40, [[0.6] * 50] * 40, {"sad": 0.2, "connectivity_error": 0.0}),
    ]
