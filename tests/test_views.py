"""Masks and alphas out of small logits are those of the probabilities at the picture's size."""

import pytest
import torch
from torch.nn import functional

from segzoo.inference import views
from segzoo.inference.views import SmallView, WholeView

SIZES = [((8, 8), (64, 96)), ((7, 5), (100, 33)), ((32, 48), (9, 50)), ((1, 1), (3, 1000))]


def logits(classes, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn((classes, *size), generator=generator)


@pytest.mark.parametrize("band_values", [1, views.BAND_VALUES])
@pytest.mark.parametrize("classes", [2, 3, 11])
@pytest.mark.parametrize(("small", "size"), SIZES)
def test_a_small_view_says_what_the_enlarged_probabilities_say(
    small, size, classes, band_values, monkeypatch
):
    monkeypatch.setattr(views, "BAND_VALUES", band_values)
    view = SmallView(logits(classes, small), size)
    probability_KHW = view.probability()
    whole = WholeView(probability_KHW)
    assert torch.allclose(view.foreground(), whole.foreground(), atol=1e-6)
    differ = view.classes() != whole.classes()
    likeliest, second = probability_KHW.topk(2, dim=0).values
    assert not (differ & (likeliest - second > 1e-5)).any()
    assert view.classes().dtype == whole.classes().dtype == torch.uint8


def test_equal_logits_are_of_the_first_class():
    view = SmallView(torch.zeros(2, 4, 4), (16, 16))
    assert not view.classes().any()
    assert not WholeView(view.probability()).classes().any()


def test_more_classes_than_a_byte_holds():
    values = logits(300, (2, 2))
    values[299] = 50
    assert (SmallView(values, (5, 5)).classes() == 299).all()


def test_a_mask_takes_no_memory_for_every_class(monkeypatch):
    most = 0
    enlarge = functional.interpolate

    def watched(values, *given, **named):
        nonlocal most
        result = enlarge(values, *given, **named)
        most = max(most, result.numel())
        return result

    monkeypatch.setattr(functional, "interpolate", watched)
    SmallView(logits(64, (16, 16)), (1024, 1024)).classes()
    assert 0 < most < 64 * 1024 * 1024 / 10
