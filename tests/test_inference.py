import dataclasses
import itertools

import pytest
import torch
from torch import nn

from segzoo.errors import SegzooError
from segzoo.inference.averaging import Averager
from segzoo.inference.settings import Inference, saved_kinds
from segzoo.inference.windows import blend, shares, starts

TRAINED = (32, 48)


def pixels(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def found(network, picture, **settings):
    """Return the probability that an averager finds, at the picture's own size."""
    averager = Averager(
        network=network, how=Inference(**settings), classes=3, trained=TRAINED, stride=16
    )
    (view,) = averager.views([picture], [picture.shape[-2:]])
    return view.probability()


@pytest.fixture
def pointwise():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 3, 1)
    return lambda images_BCHW: convolution(images_BCHW.float() / 64)


@pytest.fixture
def looking_around():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 3, 5, padding=2)
    return lambda images_BCHW: convolution(images_BCHW.float() / 64)


@pytest.mark.parametrize(
    ("length", "window", "overlap"),
    [(7, 7, 0.5), (100, 16, 0.5), (97, 32, 0.0), (65, 64, 0.25), (1000, 33, 0.9), (17, 16, 0.9)],
)
def test_windows_cover_every_pixel_and_end_at_the_border(length, window, overlap):
    places = starts(length, window, overlap)
    assert places[0] == 0
    assert places[-1] + window == length
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert all(0 < step <= max(1, -(-window * (1 - overlap) // 1)) for step in steps)
    total = torch.zeros(length, dtype=torch.float64)
    for place, share in zip(places, shares(places, window, length), strict=True):
        assert (share > 0).all()
        total[place : place + window] += share
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12)


def test_windows_lie_as_nnu_net_lays_them():
    # Its compute_steps_for_sliding_window for (30, 224), patches (30, 128) and steps of a half.
    assert starts(30, 30, 0.5) == [0]
    assert starts(224, 128, 0.5) == [0, 48, 96]


def test_the_share_is_a_gaussian_with_an_eighth_of_the_window_as_sigma():
    (first, last) = shares([0, 8], 16, 24)
    x = torch.arange(16, dtype=torch.float64) - 7.5
    bell = torch.exp(-(x**2) / (2 * 2.0**2))
    assert torch.allclose(first[:8], torch.ones(8, dtype=torch.float64))
    assert torch.allclose(first[8:] / last[:8], bell[8:] / bell[:8])


@pytest.mark.parametrize("size", [(16, 16), (5, 90), (100, 77), (1, 1)])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_what_is_constant_stays_exactly_so(size, batch_size):
    said = torch.tensor([0.1, 0.2, 0.7])[:, None, None]
    blended_KHW = blend(
        lambda images_BCHW: said.expand(len(images_BCHW), 3, *images_BCHW.shape[-2:]),
        pixels(*size),
        classes=3,
        window=(16, 24),
        overlap=0.6,
        batch_size=batch_size,
    )
    assert torch.equal(blended_KHW, said.expand(3, *size))


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("size", [(16, 16), (40, 61), (5, 90)])
def test_windows_of_a_pointwise_network_make_the_whole(pointwise, size, overlap):
    picture = pixels(*size)
    whole = found(pointwise, picture, size="full")
    windows = found(pointwise, picture, window=(16, 24), overlap=overlap)
    assert torch.allclose(windows, whole, atol=1e-5)
    assert windows.shape == (3, *size)


def test_windows_of_a_resized_picture_make_the_whole(pointwise):
    picture = pixels(64, 90)
    whole = found(pointwise, picture, size=(48, 50))
    windows = found(pointwise, picture, size=(48, 50), window=16)
    assert torch.allclose(windows, whole, atol=1e-5)


def test_blending_hides_the_borders_of_windows(looking_around):
    picture = pixels(80, 80)
    whole = found(looking_around, picture, size="full")
    blended = found(looking_around, picture, window=32)
    side_by_side = found(looking_around, picture, window=40, overlap=0)
    assert (blended - whole).abs().max() < 0.005
    assert (side_by_side - whole).abs().max() > 0.1


def test_the_network_sees_windows_and_batches_of_the_size_asked_for(pointwise):
    seen = []

    def network(images_BCHW):
        seen.append(tuple(images_BCHW.shape))
        return pointwise(images_BCHW)

    found(network, pixels(64, 64), window=32, batch_size=4)
    assert seen == [(4, 3, 32, 32), (4, 3, 32, 32), (1, 3, 32, 32)]
    seen.clear()
    found(network, pixels(20, 200), window="auto", overlap=0)
    assert seen == [(5, 3, 20, 48)]
    seen.clear()
    found(network, pixels(20, 30), scales=(0.5, 1, 1.6), flip=True)
    assert seen == [(1, 3, 16, 32)] * 2 + [(1, 3, 32, 48)] * 2 + [(1, 3, 48, 80)] * 2
    seen.clear()
    found(network, pixels(21, 31), size="full")
    assert seen == [(1, 3, 21, 31)]


@pytest.mark.parametrize("settings", [{}, {"window": 16}, {"scales": "0.5,1"}, {"size": "full"}])
def test_mirroring_changes_nothing_where_the_network_does_not_mind(pointwise, settings):
    picture = pixels(32, 48)
    plain = found(pointwise, picture, **settings)
    assert torch.allclose(found(pointwise, picture, flip=True, **settings), plain, atol=1e-6)


def test_flip_is_the_mean_of_both_probabilities(looking_around):
    picture = pixels(*TRAINED)
    plain = found(looking_around, picture)
    mirrored = found(looking_around, picture.flip(-1)).flip(-1)
    assert not torch.allclose(plain, mirrored, atol=1e-3)
    both = found(looking_around, picture, flip=True)
    assert torch.allclose(both, (plain + mirrored) / 2, atol=1e-6)


def test_scales_are_the_mean_of_their_probabilities(looking_around):
    picture = pixels(70, 50)
    parts = [found(looking_around, picture, size=size) for size in ((16, 32), (32, 48), (64, 96))]
    mean = found(looking_around, picture, scales="0.5,1,2")
    assert torch.allclose(mean, torch.stack(parts).mean(0), atol=1e-6)


def test_one_scale_of_1_is_the_same_to_the_bit(looking_around):
    picture = pixels(70, 50)
    assert torch.equal(found(looking_around, picture, scales=(1,)), found(looking_around, picture))


def test_many_pictures_give_what_each_gives_alone(looking_around):
    pictures = [pixels(40 + 9 * n, 60 - 7 * n, seed=n) for n in range(5)]
    sizes = [(picture.shape[1], picture.shape[2]) for picture in pictures]
    ways = ({}, {"flip": True, "scales": "1,2"}, {"size": "full"}, {"window": 16})
    for settings in ways:
        how = dataclasses.replace(Inference(batch_size=2), **settings)
        averager = Averager(network=looking_around, how=how, classes=3, trained=TRAINED, stride=16)
        with torch.no_grad():
            together = list(averager.views(pictures, sizes))
        for picture, view in zip(pictures, together, strict=True):
            alone = found(looking_around, picture, **settings)
            assert torch.allclose(view.probability(), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"size": "big"}, "--size big"),
        ({"size": 0}, "--size 0"),
        ({"window": "wide"}, "--window wide"),
        ({"window": 15}, "--window 15"),
        ({"window": "512x8"}, "--window 512x8"),
        ({"scales": "1,two"}, "--scales 1,two"),
        ({"scales": "0.5,0"}, "--scales 0.5,0"),
        ({"scales": (1, 4.5)}, "--scales 1,4.5"),
        ({"scales": "nan"}, "--scales nan"),
        ({"scales": ()}, "--scales "),
        ({"overlap": 0.95}, "--overlap 0.95"),
        ({"overlap": -0.1}, "--overlap -0.1"),
        ({"overlap": float("nan")}, "--overlap nan"),
        ({"batch_size": 0}, "--batch-size 0"),
    ],
)
def test_an_error_names_the_flag_and_what_came(settings, flag):
    with pytest.raises(SegzooError) as caught:
        Inference(**settings)
    assert caught.value.message == flag
    assert caught.value.hint


def test_settings_are_held_typed_and_can_be_replaced():
    how = Inference(size="192x256", scales="0.75,1", window="64")
    assert (how.size, how.scales, how.window) == ((192, 256), (0.75, 1.0), (64, 64))
    assert dataclasses.replace(how, flip=True) == Inference(
        size=(192, 256), scales=[0.75, 1], window=64, flip=True
    )


def test_what_is_saved_by_default_and_by_name():
    assert saved_kinds(None) == ("mask", "overlay", "cutout")
    assert saved_kinds(None, alpha=True) == ("mask", "overlay", "cutout", "alpha")
    assert saved_kinds(None, background=False) == ("mask", "overlay")
    assert saved_kinds("alpha, mask,alpha") == ("alpha", "mask")
    for words in ("alfa", "mask,alfa", "", ","):
        with pytest.raises(SegzooError, match="--save") as caught:
            saved_kinds(words)
        assert "alpha, cutout, mask" in caught.value.hint
