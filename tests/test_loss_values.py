"""The losses' values: those of other implementations, or of the published formula by hand.

B batch, K classes, H height, W width.
"""

import math

import pytest
import torch
from torch.nn import functional

from segzoo.errors import SegzooError
from segzoo.losses.weighted import make_loss

ODDS = torch.tensor([[[[0.0, 0.0]], [[math.log(3), -math.log(4)]]]])  # p = 0.75 and 0.2


def loss(expression, classes=3, ignore: int | None = 255, target="labels"):
    names = tuple(f"class_{index}" for index in range(classes))
    return make_loss(expression, classes=names, ignore_index=ignore, target=target)


def alpha_loss(expression):
    return loss(expression, classes=2, ignore=None, target="alpha")


def close(value, expected):
    return float(value) == pytest.approx(float(expected), abs=1e-6, rel=1e-6)


@pytest.fixture
def logits_BKHW():
    return 2 * torch.randn(2, 3, 9, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels_BHW():
    labels_BHW = torch.randint(0, 3, (2, 9, 10), generator=torch.Generator().manual_seed(1))
    labels_BHW[0, 0] = 255
    return labels_BHW


@pytest.fixture
def alpha_BHW():
    alpha_BHW = torch.rand(2, 9, 10, generator=torch.Generator().manual_seed(2))
    alpha_BHW[:, :3], alpha_BHW[:, 6:] = 0.0, 1.0
    return alpha_BHW


def difference_of(logits_BKHW, alpha_BHW):
    return logits_BKHW.softmax(1)[:, 1] - alpha_BHW


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torchs(smoothing, logits_BKHW, labels_BHW):
    expected = functional.cross_entropy(
        logits_BKHW,
        labels_BHW,
        weight=torch.tensor([1.0, 0.25, 3.0]),
        ignore_index=255,
        label_smoothing=smoothing,
    )
    value = loss(f"ce(weight=1:0.25:3,label_smoothing={smoothing})")(logits_BKHW, labels_BHW)
    assert close(value, expected)


def test_weights_of_an_alpha_weigh_pixels():
    alpha_BHW = torch.tensor([[[1.0, 0.5]]])
    first, second = -math.log(0.75), -0.5 * math.log(0.2) - 0.5 * math.log(0.8)
    value = alpha_loss("ce(weight=1:3)")(ODDS, alpha_BHW)
    assert close(value, (3 * first + 2 * second) / (3 + 2))


def test_a_batch_of_classes_of_weight_0_gives_zero():
    logits_BKHW = torch.randn(1, 2, 4, 4, requires_grad=True)
    value = loss("ce(weight=0:1,label_smoothing=0.1)", 2)(
        logits_BKHW, torch.zeros(1, 4, 4, dtype=torch.long)
    )
    value.backward()
    assert float(value.detach()) == 0
    assert logits_BKHW.grad is not None and not logits_BKHW.grad.any()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("1:2", r"2 weights in weight=1:2, and 3 classes\n.*`ce\(weight=1:1:2.5\)`"),
        ("1:two:3", "cannot read weight=1:two:3"),
        ("1:-2:3", "cannot weigh classes"),
        ("1:inf:3", "cannot weigh classes"),
        ("1:nan:3", "cannot weigh classes"),
        ("0:0:0", "cannot weigh classes"),
    ],
)
def test_bad_weights_are_explained(weight, message):
    with pytest.raises(SegzooError, match=message):
        loss(f"ce(weight={weight})")


def test_a_sum_with_weights(logits_BKHW, labels_BHW):
    logits_BKHW, labels_BHW = logits_BKHW[:, :2], labels_BHW.where(labels_BHW == 255, 1)
    labels_BHW[:, 4:] = 0
    value = loss("ce(weight=1:3) + 0.5*lovasz", 2)(logits_BKHW, labels_BHW)
    entropy = functional.cross_entropy(
        logits_BKHW, labels_BHW, weight=torch.tensor([1.0, 3.0]), ignore_index=255
    )
    assert close(value, entropy + 0.5 * loss("lovasz", 2)(logits_BKHW, labels_BHW))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("keep=1", 4),
        ("keep=0.5", 2),
        ("keep=0.3", 2),  # rounded up
        ("keep=0.25", 1),
        ("keep=0.25,threshold=0.65", 3),
        ("keep=0,threshold=0.65", 3),
        ("keep=0,threshold=0.01", 0),
    ],
)
def test_the_hardest_pixels_are_kept(options, kept):
    right = torch.tensor([0.6, 0.1, 0.9, 0.3])
    logits_BKHW = torch.stack([(1 - right).log(), right.log()])[None, :, None]
    logits_BKHW = torch.cat([logits_BKHW, -50 * torch.eye(2)[None, :, None]], dim=3)
    labels_BHW = torch.tensor([[[1, 1, 1, 1, 255, 255]]])
    hardest = [-math.log(p) for p in (0.1, 0.3, 0.6, 0.9)][:kept]
    value = loss(f"ohem({options})", 2)(logits_BKHW, labels_BHW)
    assert close(value, sum(hardest) / max(kept, 1))


def test_the_hardest_soft_pixels_are_those_farthest_from_their_alpha():
    # The second pixel is matched, though its cross-entropy is the larger of the two.
    alpha_BHW = torch.tensor([[[0.9, 0.2]]])
    expected = 0.9 * math.log(0.9 / 0.75) + 0.1 * math.log(0.1 / 0.25)
    assert close(alpha_loss("ohem(keep=0.5)")(ODDS, alpha_BHW), expected)
    assert close(alpha_loss("ohem(keep=1)")(ODDS, alpha_BHW), expected / 2)


def test_focal_of_two_classes_is_that_of_smp(logits_BKHW, labels_BHW):
    smp = pytest.importorskip("segmentation_models_pytorch.losses")
    logits_BKHW, labels_BHW = logits_BKHW[:, :2], labels_BHW.clone()
    labels_BHW[labels_BHW == 2] = 0
    expected = smp.FocalLoss("binary", gamma=1.5, ignore_index=255)(
        (logits_BKHW[:, 1] - logits_BKHW[:, 0]).contiguous(), labels_BHW
    )
    assert close(loss("focal(gamma=1.5)", 2)(logits_BKHW, labels_BHW), expected)


def test_focal_by_hand(logits_BKHW, labels_BHW):
    entropy_BHW = functional.cross_entropy(
        logits_BKHW, labels_BHW, ignore_index=255, reduction="none"
    )
    cost_BHW = (1 - (-entropy_BHW).exp()) ** 2 * entropy_BHW
    assert close(loss("focal")(logits_BKHW, labels_BHW), cost_BHW.sum() / (labels_BHW != 255).sum())
    cross_entropy = functional.cross_entropy(logits_BKHW, labels_BHW, ignore_index=255)
    assert close(loss("focal(gamma=0)")(logits_BKHW, labels_BHW), cross_entropy)
    alpha_BHW = torch.tensor([[[0.5, 0.2]]])
    first = 0.25**2 * (-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert close(alpha_loss("focal")(ODDS, alpha_BHW), first / 2)


@pytest.mark.parametrize(
    ("name", "options", "expression"),
    [
        ("JaccardLoss", {}, "jaccard"),
        ("JaccardLoss", {"smooth": 2.0}, "jaccard(smooth=2)"),
        ("TverskyLoss", {"alpha": 0.3, "beta": 0.7}, "tversky"),
        ("TverskyLoss", {"alpha": 1.5, "beta": 0.2}, "tversky(alpha=1.5,beta=0.2)"),
        ("DiceLoss", {}, "tversky(alpha=0.5,beta=0.5)"),
        ("LovaszLoss", {}, "lovasz"),
    ],
)
def test_overlaps_are_those_of_smp(name, options, expression, logits_BKHW, labels_BHW):
    smp = pytest.importorskip("segmentation_models_pytorch.losses")
    expected = getattr(smp, name)("multiclass", ignore_index=255, **options)
    value = loss(expression)(logits_BKHW, labels_BHW)
    assert close(value, expected(logits_BKHW, labels_BHW))


def test_overlaps_of_alphas_by_hand():
    # p = 0.75, 0.2 of the foreground and 0.25, 0.8 of the background against these.
    alpha_BHW = torch.tensor([[[0.5, 0.4]]])
    foreground = 0.45 / (0.95 + 0.9 + 0.45) * 2  # 1 - (P + T - D) / (P + T + D)
    background = 0.45 / (1.05 + 1.1 + 0.45) * 2
    assert close(alpha_loss("jaccard")(ODDS, alpha_BHW), (foreground + background) / 2)
    # Foreground: TP 0.5 + 0.2, FP 0.25, FN 0.2; background: TP 0.25 + 0.6, FP 0.2, FN 0.25.
    foreground = 1 - 0.7 / (0.7 + 0.3 * 0.25 + 0.7 * 0.2)
    background = 1 - 0.85 / (0.85 + 0.3 * 0.2 + 0.7 * 0.25)
    assert close(alpha_loss("tversky")(ODDS, alpha_BHW), (foreground + background) / 2)


def test_absent_classes_are_not_averaged(logits_BKHW):
    labels_BHW = torch.zeros(2, 9, 10, dtype=torch.long)
    p_BHW = logits_BKHW.softmax(1)[:, 0]
    assert close(loss("jaccard")(logits_BKHW, labels_BHW), 1 - p_BHW.mean())
    # Every class 0: the IoU of class 0 falls by 1/n with each pixel, so 1 - IoU is the mean error.
    assert close(loss("lovasz")(logits_BKHW, labels_BHW), 1 - p_BHW.mean())


def brute_phi(labels_HW, index, reach):
    """Kervadec's phi of one class from all pairs of pixels."""
    places_N2 = torch.cartesian_prod(*(torch.arange(float(n)) for n in labels_HW.shape))
    apart_NN = torch.cdist(places_N2, places_N2)
    labels_N = labels_HW.flatten()
    inside_N, other_N = labels_N == index, (labels_N != index) & (labels_N != 255)

    def nearest_N(chosen_N):
        far_NN = apart_NN.masked_fill(~chosen_N, float("inf"))
        return far_NN.amin(1).clamp(max=reach)

    return torch.where(inside_N, 1 - nearest_N(other_N), nearest_N(inside_N))


@pytest.mark.parametrize("reach", [1, 3, 20])
def test_boundary_from_all_pairs_of_pixels(reach, logits_BKHW, labels_BHW):
    labels_BHW[:, 2:7, 1:8] = 1
    labels_BHW[1, 4:] = 0  # and no class 2 nearby
    cost = torch.zeros(())
    for logits_KHW, labels_HW in zip(logits_BKHW, labels_BHW, strict=True):
        for index, p_HW in enumerate(logits_KHW.softmax(0)):
            cost_N = brute_phi(labels_HW, index, reach) * p_HW.flatten()
            cost += cost_N[labels_HW.flatten() != 255].sum()
    value = loss(f"boundary(reach={reach})")(logits_BKHW, labels_BHW)
    assert float(value) == pytest.approx(float(cost / (labels_BHW != 255).sum()), abs=1e-5)


def test_l1_and_bce_of_alphas(logits_BKHW, alpha_BHW):
    logits_BKHW = logits_BKHW[:, :2]
    probability_BHW = logits_BKHW.softmax(1)[:, 1]
    expected = functional.l1_loss(probability_BHW, alpha_BHW)
    assert close(alpha_loss("l1")(logits_BKHW, alpha_BHW), expected)
    expected = functional.binary_cross_entropy(probability_BHW, alpha_BHW)
    assert close(alpha_loss("bce")(logits_BKHW, alpha_BHW), expected)
    assert close(alpha_loss("ce")(logits_BKHW, alpha_BHW), expected)


def test_gradients_of_alphas(logits_BKHW, alpha_BHW):
    difference_BHW = difference_of(logits_BKHW[:, :2], alpha_BHW)
    down = (difference_BHW[:, 1:] - difference_BHW[:, :-1]).abs().sum()
    right = (difference_BHW[:, :, 1:] - difference_BHW[:, :, :-1]).abs().sum()
    value = alpha_loss("gradient")(logits_BKHW[:, :2], alpha_BHW)
    assert close(value, (down + right) / difference_BHW.numel())
    one = torch.zeros(1, 2, 1, 1)
    assert float(alpha_loss("gradient")(one, torch.ones(1, 1, 1))) == 0


def smoothing(size):
    """Burt and Adelson's 5 taps as a matrix."""
    taps = {0: 6 / 16, 1: 4 / 16, 2: 1 / 16}
    rows = [[taps.get(abs(i - j), 0.0) for j in range(size)] for i in range(size)]
    return torch.tensor(rows, dtype=torch.float64)


def weighted_rows(matrix):
    return matrix / matrix.sum(1, keepdim=True)


def reduce_matrix(size):
    return weighted_rows(smoothing(size))[::2]


def expand_matrix(size):
    return weighted_rows(smoothing(size)[:, ::2])


@pytest.mark.parametrize("levels", [1, 3, 5])
def test_laplacian_pyramid_from_matrices(levels, logits_BKHW, alpha_BHW):
    def pyramid(image_BHW):
        bands = []
        for _ in range(levels - 1):
            height, width = image_BHW.shape[1:]
            small_BHW = reduce_matrix(height) @ image_BHW @ reduce_matrix(width).T
            bands.append(image_BHW - expand_matrix(height) @ small_BHW @ expand_matrix(width).T)
            image_BHW = small_BHW
        return [*bands, image_BHW]

    logits_BKHW = logits_BKHW[:, :2]
    pairs = zip(
        pyramid(logits_BKHW.softmax(1)[:, 1].double()), pyramid(alpha_BHW.double()), strict=True
    )
    expected = sum(2**i * (one - two).abs().sum() for i, (one, two) in enumerate(pairs))
    value = alpha_loss(f"laplacian(levels={levels})")(logits_BKHW, alpha_BHW)
    assert close(value, expected / alpha_BHW.numel())


def test_a_constant_survives_the_pyramid_and_only_its_last_level_sees_it():
    alpha_BHW = torch.full((1, 32, 32), 0.3)
    value = alpha_loss("laplacian")(torch.zeros(1, 2, 32, 32), alpha_BHW)
    assert close(value, 0.2 * 2**4 * (2 * 2) / (32 * 32))


@pytest.mark.parametrize("name", ["ohem", "jaccard", "tversky", "lovasz", "boundary"])
def test_gradients_for_labels_agree_with_small_steps(name, logits_BKHW, labels_BHW):
    check_gradient(loss(name), logits_BKHW, labels_BHW)


@pytest.mark.parametrize("name", ["ohem(keep=1)", "jaccard", "tversky", "l1"])
def test_gradients_for_alphas_agree_away_from_the_target(name, logits_BKHW):
    """The kit's steps cross the kink of |p - t| at p = t; here no pixel is near it."""
    logits_BKHW = logits_BKHW[:, :2]
    foreground_BHW = logits_BKHW.softmax(1)[:, 1]
    alpha_BHW = (foreground_BHW + 0.5) % 1
    check_gradient(alpha_loss(name), logits_BKHW, alpha_BHW)


def check_gradient(value, logits_BKHW, target_BHW):
    logits_BKHW = logits_BKHW.clone().requires_grad_()
    value(logits_BKHW, target_BHW).backward()
    assert logits_BKHW.grad is not None
    way = torch.randn(logits_BKHW.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        up, down = (float(value(logits_BKHW + s * way, target_BHW)) for s in (1e-3, -1e-3))
    slope = float((logits_BKHW.grad * way).sum())
    assert slope == pytest.approx((up - down) / 2e-3, abs=0.02 * float(logits_BKHW.grad.norm()))


@pytest.mark.parametrize("name", ["ohem", "focal", "jaccard", "tversky", "l1", "bce", "laplacian"])
def test_an_alpha_is_matched_at_the_smallest_loss(name, alpha_BHW):
    alpha_BHW = alpha_BHW.clamp(0.01, 0.99)

    def at(probability_BHW):
        odds_BHW = probability_BHW.logit()
        logits_BKHW = torch.stack([torch.zeros_like(odds_BHW), odds_BHW], dim=1)
        return float(alpha_loss(name)(logits_BKHW, alpha_BHW))

    best = at(alpha_BHW)
    for shift in (-0.05, -0.005, 0.005, 0.05):
        assert at((alpha_BHW + shift).clamp(0.001, 0.999)) > best


@pytest.mark.parametrize("expression", ["dice(smooth=0)", "jaccard(smooth=0)", "tversky(smooth=0)"])
def test_without_smoothing_nothing_to_compare_is_no_loss(expression):
    logits_BKHW = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(expression)(logits_BKHW, torch.full((2, 4, 4), 255))
    value.backward()
    assert float(value.detach()) == 0
    assert logits_BKHW.grad is not None
    assert not logits_BKHW.grad.any()
    # A matte of one pixel, of which the network is so sure that p of the other class is 0.
    sure_BKHW = torch.tensor([[[[200.0]], [[-200.0]]]], requires_grad=True)
    value = alpha_loss(expression)(sure_BKHW, torch.zeros(1, 1, 1))
    value.backward()
    assert float(value.detach()) == 0
    assert sure_BKHW.grad is not None
    assert not sure_BKHW.grad.any()
