from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from segzoo_portraits.generate import portrait

Picture = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

BINS = 16


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [portrait(index) for index in range(36)]


def colour_bins(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    r, g, b = np.moveaxis(image.astype(np.int64) * BINS // 256, -1, 0)
    return (r * BINS + g) * BINS + b


def windows(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """True where the whole window of size x size pixels around a pixel is set."""
    view = np.lib.stride_tricks.sliding_window_view(mask, (size, size))
    inner = np.zeros_like(mask)
    half = size // 2
    inner[half : half + view.shape[0], half : half + view.shape[1]] = view.all(axis=(2, 3))
    return inner


def test_same_call_gives_the_same_picture_in_any_order(pictures: list[Picture]) -> None:
    for index in (7, 3):
        image, matte = portrait(index)
        assert np.array_equal(image, pictures[index][0])
        assert np.array_equal(matte, pictures[index][1])


def test_index_and_seed_change_the_picture(pictures: list[Picture]) -> None:
    assert not np.array_equal(pictures[0][0], pictures[1][0])
    assert not np.array_equal(pictures[0][1], pictures[1][1])
    assert not np.array_equal(pictures[0][0], portrait(0, seed=1)[0])


def test_global_random_state_is_neither_read_nor_moved(pictures: list[Picture]) -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert np.array_equal(portrait(2)[0], pictures[2][0])
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


@pytest.mark.parametrize(("width", "height"), [(240, 320), (256, 256), (96, 128), (61, 47)])
def test_shapes_and_types(width: int, height: int) -> None:
    image, matte = portrait(4, width=width, height=height)
    assert image.shape == (height, width, 3)
    assert matte.shape == (height, width)
    assert image.dtype == matte.dtype == np.uint8
    assert image.flags.writeable
    assert matte.flags.writeable
    assert matte.min() == 0
    assert matte.max() == 255


def test_every_scene_can_be_drawn_small() -> None:
    for index in range(25):
        image, matte = portrait(index, width=64, height=48)
        assert image.shape == (*matte.shape, 3) == (48, 64, 3)


def test_matte_is_soft_only_in_a_narrow_share_of_the_picture(pictures: list[Picture]) -> None:
    for _, matte in pictures:
        soft = (matte > 0) & (matte < 255)
        assert 0.01 < soft.mean() < 0.15
        assert len(np.unique(matte[soft])) > 50


def test_matte_is_exact_away_from_edges(pictures: list[Picture]) -> None:
    for _, matte in pictures[::6]:
        # Seen from the middle of a 15 x 15 window without edges: nothing but 0 or 255.
        assert (matte[windows(matte < 128, 15)] == 0).mean() > 0.98
        assert (matte[windows(matte >= 128, 15)] == 255).all()
        assert (matte == 0).mean() > 0.2


def test_foreground_covers_a_fifth_to_two_thirds(pictures: list[Picture]) -> None:
    cover = [float((matte > 0).mean()) for _, matte in pictures[:24]]
    assert min(cover) > 0.2
    assert max(cover) < 0.7
    assert max(cover) - min(cover) > 0.1


def test_colour_alone_does_not_find_the_person(pictures: list[Picture]) -> None:
    person, total = np.zeros(BINS**3), np.zeros(BINS**3)
    for image, matte in pictures[:24]:
        bins = colour_bins(image)
        total += np.bincount(bins.ravel(), minlength=BINS**3)
        person += np.bincount(bins[matte > 0], minlength=BINS**3)
    share = (person + person.sum() / total.sum()) / (total + 1)
    for threshold in (0.3, 0.4, 0.5):
        both = either = 0
        for image, matte in pictures[24:]:
            found, truth = share[colour_bins(image)] > threshold, matte > 0
            both += int((found & truth).sum())
            either += int((found | truth).sum())
        assert both / either < 0.65
