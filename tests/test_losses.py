import pytest
import torch
from torch.nn import functional

from segzoo.errors import SegzooError
from segzoo.losses.weighted import make_loss

CLASSES = ("a", "b", "c")


def loss(expression, classes=CLASSES, ignore: int | None = 255, target="labels"):
    return make_loss(expression, classes=classes, ignore_index=ignore, target=target)


@pytest.fixture
def logits():
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    labels = torch.randint(0, 3, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    labels[0, 0] = 255
    return labels


def test_cross_entropy_is_torchs(logits, labels):
    expected = functional.cross_entropy(logits, labels, ignore_index=255)
    assert torch.allclose(loss("ce")(logits, labels), expected, atol=1e-6)
    smooth = functional.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.1)
    assert torch.allclose(loss("ce(label_smoothing=0.1)")(logits, labels), smooth, atol=1e-6)


def test_dice_by_hand():
    logits = torch.tensor([[[[20.0, -20.0]], [[-20.0, 20.0]]]])
    right = torch.tensor([[[0, 1]]])
    wrong = torch.tensor([[[1, 0]]])
    dice = loss("dice(smooth=0)", classes=("a", "b"))
    assert float(dice(logits, right)) == pytest.approx(0, abs=1e-6)
    assert float(dice(logits, wrong)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["ce", "dice", "ce + 0.5*dice"])
def test_ignored_pixels_change_nothing(name, logits, labels):
    changed = logits.clone()
    changed[0, :, 0] += torch.randn(3, 6) * 9
    assert torch.allclose(loss(name)(logits, labels), loss(name)(changed, labels), atol=1e-6)


@pytest.mark.parametrize("name", ["ce", "dice"])
def test_a_batch_of_ignored_pixels_gives_zero_not_nan(name, logits):
    everything = torch.full((2, 5, 6), 255)
    assert float(loss(name)(logits, everything)) == 0


@pytest.mark.parametrize("name", ["ce", "dice(smooth=0)", "ce + dice"])
def test_soft_targets_are_minimal_at_the_target(name):
    alpha = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(2))
    value = loss(name, classes=("a", "b"), ignore=None, target="alpha")

    def at(probability):
        odds = torch.logit(probability)
        return float(value(torch.stack([torch.zeros_like(odds), odds], dim=1), alpha))

    best = at(alpha)
    for shift in (-0.05, -0.01, 0.01, 0.05):
        assert at((alpha + shift).clamp(0.001, 0.999)) > best


def test_a_sum_is_the_sum(logits, labels):
    both = loss("2*ce + 0.5 * dice(smooth=0)")(logits, labels)
    parts = 2 * loss("ce")(logits, labels) + 0.5 * loss("dice(smooth=0)")(logits, labels)
    assert torch.allclose(both, parts)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cee", "unknown loss `cee`\n.*did you mean `ce`"),
        ("ce + ", "cannot read"),
        ("ce * 2", "cannot read"),
        ("dice(smoth=1)", "no option `smoth`\n.*`smooth`"),
        ("dice(1)", "name=value"),
    ],
)
def test_bad_expressions_are_explained(expression, message):
    with pytest.raises(SegzooError, match=message):
        loss(expression)


def test_a_loss_of_the_wrong_target_names_what_fits(install):
    install(
        "acme",
        "from segzoo import LossSpec\n"
        "def segzoo_losses():\n"
        "    return [LossSpec(name='odd', summary='s', build='acme.x:y', targets='alpha')]\n",
    )
    with pytest.raises(SegzooError, match="`acme/odd` takes alpha .* has labels\n.*ce, dice"):
        loss("odd")
