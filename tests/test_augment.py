import math

import pytest
import torch

from segzoo.train.augment import Draws, augmented, strong, warped


def batch(count=4, size=(48, 64)):
    """Return pictures whose first channel is 2 where the label is 1, and -2 elsewhere."""
    labels_BHW = torch.zeros(count, *size, dtype=torch.int64)
    labels_BHW[:, 14:30, 10:34] = 1
    images_BCHW = (4.0 * labels_BHW - 2)[:, None].repeat(1, 3, 1, 1)
    return images_BCHW, labels_BHW


def still(count):
    one, zero = torch.ones(count), torch.zeros(count)
    return {"scale_x_B": one, "scale_y_B": one, "angle_B": zero, "shift_B2": torch.zeros(count, 2)}


def draws(seed=0, first=0, total=0):
    return Draws(torch.Generator().manual_seed(seed), first, total)


@pytest.mark.parametrize("preset", ["none", "light", "strong"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_types_and_labels_are_kept(preset, channels):
    images = torch.randn(5, channels, 40, 56)
    labels = torch.randint(0, 3, (5, 40, 56))
    labels[:, :4] = 255
    changed, target = augmented(preset, images, labels, draws())
    assert changed.shape == images.shape
    assert (target.shape, target.dtype) == (labels.shape, torch.int64)
    assert set(target.unique().tolist()) <= {0, 1, 2, 255}
    assert torch.isfinite(changed).all()
    assert torch.equal(changed, images) == (preset == "none")


def test_the_seed_decides_and_pictures_differ():
    images, labels = batch()
    one, two, other = (strong(images, labels, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[1][0], one[1][1])


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_a_share_of_a_batch_gets_what_it_gets_in_the_whole(preset):
    images, labels = batch(7)
    images = images + torch.rand_like(images)
    whole = augmented(preset, images, labels, draws())
    for own in (slice(0, 4), slice(4, 7)):
        part = augmented(preset, images[own], labels[own], draws(0, own.start, 7))
        assert torch.equal(part[1], whole[1][own])
        torch.testing.assert_close(part[0], whole[0][own])
    assert (whole[0] - images).abs().amax((1, 2, 3)).gt(0).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_target_goes_where_its_picture_goes(seed):
    images, labels = batch(8)
    changed, target = strong(images, labels, draws(seed))
    # Colours are changed without moving anything: the bright box is where the label is 1.
    middle = (changed.amax((1, 2, 3)) + changed.amin((1, 2, 3))) / 2
    seen = changed.mean(1) > middle[:, None, None]
    sound = target.float().mean((1, 2)) > 0.02
    agree = (seen == target.bool()).float().mean((1, 2))[sound]
    assert len(agree) >= 6
    assert agree.min() > 0.93


def test_an_alpha_is_warped_without_steps():
    images, labels = batch()
    _, alpha = strong(images, labels.float() * 0.5, draws(3))
    assert alpha.is_floating_point()
    assert alpha.min() >= 0 and alpha.max() <= 0.5
    assert len(alpha.unique()) > 10


def test_nothing_asked_changes_nothing():
    images, labels = torch.randn(2, 3, 20, 30), torch.randint(0, 5, (2, 20, 30))
    changed, target = warped(images, labels, **still(2))
    assert torch.allclose(changed, images, atol=1e-4)
    assert torch.equal(target, labels)


def test_a_shift_by_whole_pixels_moves_them_and_mirrors_the_edge():
    images, labels = torch.randn(1, 1, 16, 16), torch.randint(0, 5, (1, 16, 16))
    how = still(1) | {"shift_B2": torch.tensor([[2 * 3 / 16, 0.0]])}
    changed, target = warped(images, labels, **how)
    assert torch.equal(target[..., :13], labels[..., 3:])
    assert torch.equal(target[..., 13:], labels[..., -3:].flip(-1))
    assert torch.allclose(changed[..., :13], images[..., 3:], atol=1e-4)


def test_a_quarter_turn_keeps_shapes_square_in_oblong_pictures():
    labels = torch.zeros(1, 20, 40, dtype=torch.int64)
    labels[:, 6:14, 16:24] = 1
    how = still(1) | {"angle_B": torch.tensor([math.pi / 2])}
    _, target = warped(torch.zeros(1, 1, 20, 40), labels, **how)
    # Only the middle stays inside when the picture is turned; beside it is what is mirrored in.
    assert torch.equal(target[..., 10:30], labels[..., 10:30])


def test_a_scale_of_a_half_doubles_what_is_in_the_middle():
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    labels[:, 12:20, 12:20] = 1
    how = still(1) | {"scale_x_B": torch.tensor([0.5]), "scale_y_B": torch.tensor([0.5])}
    _, target = warped(torch.zeros(1, 1, 32, 32), labels, **how)
    assert int(target.sum()) == 16 * 16
