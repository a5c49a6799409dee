"""The core's metrics against plain loops written straight from the papers' formulas."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch

from segzoo import SegzooError
from segzoo.metrics.boundary import Boundary, band, build_boundary, dilate, outline
from segzoo.metrics.confusion import Overlap, build_overlap
from segzoo.metrics.matte import build_matting
from segzoo.metrics.plugin import BoundaryOptions, MattingOptions
from segzoo.metrics.selection import MetricSet

CLASSES = ("a", "b", "c", "d")


def logits_of(labels, count):
    return torch.nn.functional.one_hot(labels, count).movedim(-1, 1).float()


def logits_of_alpha(alpha):
    return torch.stack([torch.zeros_like(alpha), alpha.logit()], dim=1)


def blobs(seed, pictures=3, height=21, width=26, count=3):
    """Labels with coherent regions, unlike noise, in which every pixel is a boundary."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(pictures, count, 4, 5, generator=random)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").argmax(1)


def mattes(seed, pictures=3, height=17, width=23):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(pictures, 1, 6, 6, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[:, 0]
    return (2 * smooth - 0.5).clamp(0.001, 0.999)


def pixels(height, width):
    return list(itertools.product(range(height), range(width)))


def test_overlap_from_counted_pixels():
    truth, guess = blobs(0), blobs(1)
    truth[:, :3] = 255
    metric = Overlap(CLASSES, 255)
    metric.update(logits_of(guess, 4), truth)
    scores = metric.compute()
    labelled = truth != 255
    dices, recalls, weighted = [], [], 0.0
    for index, name in enumerate(CLASSES[:3]):
        t, p = (truth == index) & labelled, (guess == index) & labelled
        tp, fp, fn = (int(x.sum()) for x in (t & p, p & ~t, t & ~p))
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        dices.append(2 * precision * recall / (precision + recall))
        recalls.append(recall)
        weighted += int(t.sum()) / int(labelled.sum()) * tp / (tp + fp + fn)
        assert scores[f"precision/{name}"] == pytest.approx(precision)
        assert scores[f"recall/{name}"] == pytest.approx(recall)
        assert scores[f"dice/{name}"] == pytest.approx(dices[-1])
    assert scores["mean_dice"] == pytest.approx(sum(dices) / 3)
    assert scores["mean_accuracy"] == pytest.approx(sum(recalls) / 3)
    assert scores["fw_iou"] == pytest.approx(weighted)
    assert not any(name.endswith("/d") for name in scores)


def plain_band(mask, width):
    """Mask minus its erosion (width times 3 x 3), where the outside of the picture is 0."""
    eroded = np.pad(mask, 1)
    for _ in range(width):
        before = eroded.copy()
        for y, x in pixels(*mask.shape):
            eroded[y + 1, x + 1] = before[y : y + 3, x : x + 3].all()
    return mask & ~eroded[1:-1, 1:-1]


def plain_outline(mask):
    height, width = mask.shape
    marks = np.zeros_like(mask)
    for y, x in pixels(height, width):
        near = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
        marks[y, x] = any(
            mask[min(v, height - 1), min(u, width - 1)] != mask[y, x] for v, u in near
        )
    return marks


def plain_share_met(marks, others, reach):
    """The share of marks with a mark of the other side at a distance of at most `reach`."""
    if not marks.any() or not others.any():
        return 0.0
    at, there = np.argwhere(marks), np.argwhere(others)
    squared = ((at[:, None] - there[None]) ** 2).sum(-1).min(1)
    return float((squared <= reach**2).mean())


def plain_f(guess, truth, reach):
    precision = plain_share_met(guess, truth, reach)
    recall = plain_share_met(truth, guess, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("width", [1, 2, 4])
def test_bands_are_masks_minus_their_erosion(width):
    labels = blobs(3)
    labels[0, 5:8, 5:9] = -1
    found = band(labels, width)
    for b, index in itertools.product(range(3), range(3)):
        mask = (labels[b] == index).numpy()
        assert (found[b].numpy() & mask == plain_band(mask, width)).all()
    assert not found[labels == -1].any()


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_outlines_and_disks(reach):
    masks = blobs(4) == 1
    marks = outline(masks)
    grown = dilate(marks[None].float(), reach)[0]
    for b in range(len(masks)):
        there = plain_outline(masks[b].numpy())
        assert (marks[b].numpy() == there).all()
        squared = [((np.argwhere(there) - at) ** 2).sum(1).min() for at in pixels(21, 26)]
        assert (grown[b].numpy().ravel() == (np.array(squared) <= reach**2)).all()


def test_boundary_scores_from_plain_masks():
    truth, guess = blobs(5), blobs(6)
    guess[1] = truth[1].roll(2, dims=1)
    truth[2] = 0
    truth[:, :4, :6] = 255
    diagonal = math.hypot(21, 26)  # 33.4 pixels: a band of 2, a reach of ceil(1.67) = 2
    metric = Boundary(CLASSES, 255, BoundaryOptions(width=0.06, tolerance=0.05))
    metric.update(logits_of(guess[:1], 4), truth[:1])
    metric.update(logits_of(guess[1:], 4), truth[1:])
    scores = metric.compute()
    width, reach = round(0.06 * diagonal), math.ceil(0.05 * diagonal)
    ious, means = [], []
    for index, name in enumerate(CLASSES[:3]):
        both = either = 0
        fs = []
        for g, t in zip(guess, truth, strict=True):
            masks = [((x == index) & (t != 255)).numpy() for x in (g, t)]
            g_band, t_band = (plain_band(mask, width) for mask in masks)
            both, either = both + (g_band & t_band).sum(), either + (g_band | t_band).sum()
            g_line, t_line = (plain_outline(mask) for mask in masks)
            if g_line.any() or t_line.any():
                fs.append(plain_f(g_line, t_line, reach))
        ious.append(both / either)
        means.append(sum(fs) / len(fs))
        assert 0 < ious[-1] < 1 and 0 < means[-1] < 1
        assert scores[f"boundary_iou/{name}"] == pytest.approx(ious[-1])
        assert scores[f"boundary_f/{name}"] == pytest.approx(means[-1])
    assert scores["mean_boundary_iou"] == pytest.approx(sum(ious) / 3)
    assert scores["mean_boundary_f"] == pytest.approx(sum(means) / 3)
    assert "boundary_iou/d" not in scores and "boundary_f/d" not in scores


def test_a_class_that_fills_the_picture_has_a_band_and_no_outline():
    metric = Boundary(("a", "b"), None, BoundaryOptions())
    picture = torch.zeros(1, 8, 8, dtype=torch.int64)
    metric.update(logits_of(picture, 2), picture)
    assert metric.compute() == {
        "mean_boundary_iou": 1.0,
        "boundary_iou/a": 1.0,
        "mean_boundary_f": 0.0,
    }


@pytest.mark.parametrize("build", [build_overlap, build_boundary])
def test_an_ignored_id_that_is_also_a_class_is_left_out(build):
    truth, guess, scores = blobs(7), blobs(8), []
    for ignored in (1, 255):
        metric = build(classes=CLASSES, ignore_index=ignored, options=BoundaryOptions())
        metric.update(logits_of(guess, 4), truth.masked_fill(truth == 1, ignored))
        scores.append(metric.compute())
    assert scores[0] == scores[1]


def gauss(x):
    return math.exp(-(x**2) / (2 * 1.4**2)) / (1.4 * math.sqrt(2 * math.pi))


def plain_gradient(alpha):
    """The magnitude of the picture under g(y) g'(x) and its transpose, edge pixels repeated."""
    reach = math.ceil(1.4 * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * 1.4 * 0.01)))
    assert reach == 4
    steps = range(-reach, reach + 1)
    kernel = np.array([[gauss(y) * -x * gauss(x) / 1.4**2 for x in steps] for y in steps])
    kernel /= math.sqrt((kernel**2).sum())
    padded, size = np.pad(alpha, reach, mode="edge"), 2 * reach + 1
    result = np.zeros_like(alpha)
    for y, x in pixels(*alpha.shape):
        patch = padded[y : y + size, x : x + size]
        result[y, x] = math.hypot((patch * kernel).sum(), (patch * kernel.T).sum())
    return result


def plain_regions(mask):
    """List the 4-connected regions of a mask as sets of pixels, in reading order."""
    left, regions = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        region, edge = set(), [min(left)]
        while edge:
            y, x = edge.pop()
            if (y, x) in left:
                left.remove((y, x))
                region.add((y, x))
                edge += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        regions.append(region)
    return regions


def plain_connectivity(alpha, truth):
    level = np.full(alpha.shape, -1.0)
    for step in range(1, 11):
        regions = plain_regions((alpha >= step / 10) & (truth >= step / 10))
        largest = max(regions, key=len, default=set())
        for at in pixels(*alpha.shape):
            if at not in largest and level[at] == -1:
                level[at] = (step - 1) / 10
    level[level == -1] = 1
    phis = [1 - np.where(x - level >= 0.15, x - level, 0) for x in (alpha, truth)]
    return np.abs(phis[0] - phis[1]).sum()


def test_matting_errors_from_plain_loops():
    pytest.importorskip("scipy")
    alpha, truth = mattes(0), mattes(1)
    alpha[1] = (truth[1] + 0.1 * mattes(2)[1]).clamp(0.001, 0.999)
    metric = build_matting(
        classes=("a", "b"), ignore_index=None, options=MattingOptions(connectivity=True)
    )
    metric.update(logits_of_alpha(alpha[:2]), truth[:2])
    metric.update(logits_of_alpha(alpha[2:]), truth[2:])
    # The very numbers that the metric thresholds: a logit and back may end on the other side.
    seen = logits_of_alpha(alpha).softmax(1)[:, 1].double().numpy()
    pairs = list(zip(seen, truth.double().numpy(), strict=True))
    sad = sum(np.abs(a - t).sum() for a, t in pairs) / 3 / 1000
    gradient = (
        sum(((plain_gradient(a) - plain_gradient(t)) ** 2).sum() for a, t in pairs) / 3 / 1000
    )
    connectivity = sum(plain_connectivity(a, t) for a, t in pairs) / 3 / 1000
    assert min(sad, gradient, connectivity) > 1e-3
    expected = {"sad": sad, "gradient_error": gradient, "connectivity_error": connectivity}
    assert metric.compute() == pytest.approx(expected, rel=1e-4)


def test_a_part_cut_off_counts_as_disconnected():
    pytest.importorskip("scipy")
    truth = torch.zeros(1, 8, 8)
    truth[0, 1:7, 2] = 1.0
    guess = truth.clone()
    guess[0, 4, 2] = 0.0  # Rows 1-3 stay the largest region; rows 5-6 are cut off on both sides.
    metric = build_matting(
        classes=("a", "b"), ignore_index=None, options=MattingOptions(connectivity=True)
    )
    metric.update(torch.stack([torch.zeros(1, 8, 8), 200 * guess - 100], dim=1), truth)
    scores = metric.compute()
    # Rows 5 and 6 are at distance 1 from the level 0 in both; the gap only in the truth.
    assert scores["connectivity_error"] == pytest.approx(1 / 1000)
    assert scores["sad"] == pytest.approx(1 / 1000)


def test_connectivity_without_scipy_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    names = MetricSet("matting", classes=("a", "b"), ignore_index=None, target="alpha")
    assert {"sad", "gradient_error"} <= set(names.names(2, "alpha"))
    asked = MetricSet(
        "matting(connectivity=true)", classes=("a", "b"), ignore_index=None, target="alpha"
    )
    with pytest.raises(SegzooError, match="needs scipy.*\n.*pip install scipy"):
        asked.start()
