"""Convolutionalized classifiers against their crops; shift-and-stitch against both."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo_fcn.dense import convolutionalize, convolutionalize_head, shift_and_stitch
from segzoo_fcn.network import vgg_block


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def vgg_head(channels: int) -> nn.Sequential:
    """Build the head of VGG16, narrower."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * 7 * 7, 24),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(24, 24),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(24, 5),
    ).eval()


def crops(images: Tensor, size: int, stride: int) -> Tensor:
    """Cut all crops of size x size at the stride: B x rows x columns x C x size x size."""
    return images.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5)


def scores_of_crops(net: nn.Module, images: Tensor, size: int, stride: int) -> Tensor:
    """Run net on every crop by itself; B x K x rows x columns."""
    cut = crops(images, size, stride)
    scores = net(cut.flatten(0, 2)).flatten(1)
    return scores.unflatten(0, cut.shape[:3]).permute(0, 3, 1, 2)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "height", "width"), [(1, 1, 1), (3, 3, 3), ((2, 5), 2, 5)])
def test_convolution_equals_the_fully_connected_layer(kernel, height, width, bias):
    linear = nn.Linear(6 * height * width, 4, bias=bias)
    convolution = convolutionalize(linear, 6, kernel)
    features = torch.randn(3, 6, height, width)
    scores = convolution(features)
    assert scores.shape == (3, 4, 1, 1)
    assert torch.allclose(scores.flatten(1), linear(features.flatten(1)), rtol=0, atol=1e-12)


def test_convolution_keeps_dtype_mode_and_frozen_weights_but_shares_nothing():
    linear = nn.Linear(12, 4, dtype=torch.bfloat16).requires_grad_(False).eval()
    convolution = convolutionalize(linear, 3, 2)
    assert convolution.weight.dtype == torch.bfloat16
    assert not convolution.training
    assert not any(parameter.requires_grad for parameter in convolution.parameters())
    linear.weight.zero_()
    assert convolution.weight.any()


def test_convolutionalize_says_what_came_and_what_would_fit():
    message = "takes 25088 features, but 256 channels of 7x7 are 12544; what fits: in_channels=512"
    with pytest.raises(ValueError, match=message):
        convolutionalize(nn.Linear(25088, 2), 256, 7)
    with pytest.raises(ValueError, match="a kernel of 7x7 with these channels"):
        convolutionalize(nn.Linear(512 * 49, 2), 512)
    with pytest.raises(ValueError, match="neither 5 channels nor a 2x2 kernel divides that"):
        convolutionalize(nn.Linear(7, 2), 5, 2)
    with pytest.raises(ValueError, match="each must be >= 1"):
        convolutionalize(nn.Linear(7, 2), 7, 0)


def test_a_224_classifier_scores_384_as_its_36_crops():
    # Overlapping convolutions without padding, stride 32 in all. Each position sees 30 pixels,
    # no more than the stride, which is what makes 224 give 7x7 (and 384 give 12x12).
    features = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 2, stride=4), nn.ReLU()),
        *(nn.Conv2d(8, 10, 2, stride=2), nn.ReLU()),
    )
    head = vgg_head(10)
    images = torch.randn(1, 3, 384, 384)
    assert features(images[..., :224, :224]).shape[-2:] == (7, 7)
    assert features(images).shape[-2:] == (12, 12)
    with torch.no_grad():
        dense = convolutionalize_head(head, 10, 7)(features(images))
        expected = scores_of_crops(nn.Sequential(features, head), images, 224, 32)
    assert dense.shape == expected.shape == (1, 5, 6, 6)
    assert torch.allclose(dense, expected, rtol=0, atol=1e-10)
    assert dense.std() > 1e-3  # not equal for want of anything to differ


def test_padding_makes_the_crops_differ_all_but_their_centre():
    features = nn.Sequential(
        vgg_block(3, 8, convolutions=2, norm="none"),
        vgg_block(8, 16, convolutions=2, norm="none"),
        vgg_block(16, 32, convolutions=3, norm="none"),
        vgg_block(32, 64, convolutions=3, norm="none"),
        vgg_block(64, 64, convolutions=3, norm="none"),
    )
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    head = vgg_head(64)
    images = torch.randn(1, 3, 288, 288)
    with torch.no_grad():
        whole = features(images)
        crop = features(images[..., 32:256, 32:256])
        dense = convolutionalize_head(head, 64, 7)(whole)
        expected = scores_of_crops(nn.Sequential(features, head), images, 224, 32)
    # Of the crop's 7x7 features only the centre's 212 pixels lie within the crop's 224.
    differs = (whole[..., 1:8, 1:8] - crop).abs().amax((0, 1)) > 1e-10
    assert not differs[3, 3]
    assert differs.sum() == 48
    assert dense.shape == expected.shape == (1, 5, 3, 3)
    difference = (dense - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0.02 < difference < 0.5


def test_a_head_keeps_elementwise_layers_and_refuses_others():
    head = convolutionalize_head(vgg_head(3), 3, 7)
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Conv2d", "ReLU", "Dropout", "Conv2d", "ReLU", "Dropout", "Conv2d"]
    assert not head.training
    with pytest.raises(TypeError, match="layer 1 of the head is BatchNorm1d"):
        convolutionalize_head(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), 3)
    with pytest.raises(ValueError, match="no Linear"):
        convolutionalize_head(nn.Sequential(nn.Flatten()), 3)


def small_net() -> nn.Sequential:
    """Build a network without padding, of stride 4, that sees 10 x 10 pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.MaxPool2d(2)
    )


def dilated(net: nn.Sequential) -> nn.Sequential:
    """Take the strides out of `small_net` and dilate what follows them, sharing the weights."""
    second = nn.Conv2d(6, 5, 3, dilation=2)
    second.load_state_dict(net[3].state_dict())
    return nn.Sequential(
        net[0], net[1], nn.MaxPool2d(2, 1), second, nn.MaxPool2d(2, stride=1, dilation=2)
    )


def test_shift_and_stitch_equals_all_crops_and_the_dilated_network():
    net, images = small_net(), torch.randn(2, 3, 26, 34)  # 10 + 4 * 4, 10 + 4 * 6
    with torch.no_grad():
        fine = shift_and_stitch(net, images, 4)
        assert fine.shape == (2, 5, 20, 28)
        inner = scores_of_crops(net, images, 10, 1)
        assert torch.allclose(fine[..., 3:, 3:], inner, rtol=0, atol=1e-10)
        a_trous = dilated(net)(F.pad(images, (3, 0, 3, 0)))
        assert torch.allclose(fine, a_trous, rtol=0, atol=1e-10)


def test_shift_and_stitch_contains_the_coarse_scores_and_passes_gradients():
    net, images = small_net(), torch.randn(1, 3, 18, 19)
    fine = shift_and_stitch(net, images, 4)
    assert torch.equal(fine[..., 3::4, 3::4], net(images))
    fine.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_shift_and_stitch_at_stride_1_is_the_network():
    net, images = nn.Conv2d(3, 2, 3), torch.randn(1, 3, 8, 9)
    assert torch.equal(shift_and_stitch(net, images, 1), net(images))


@pytest.mark.parametrize("stride", [2, 3, 8, 16])
def test_shift_and_stitch_refuses_a_stride_that_is_not_the_networks(stride):
    with pytest.raises(ValueError, match=f"stride {stride} is not this network's"):
        shift_and_stitch(small_net(), torch.randn(1, 3, 26, 26), stride)


def test_shift_and_stitch_refuses_what_it_cannot_stitch():
    images = torch.randn(1, 3, 26, 26)
    for stride in (0, -4, 4.0, True):
        with pytest.raises(ValueError, match="whole number >= 1"):
            shift_and_stitch(small_net(), images, stride)  # type: ignore
    with pytest.raises(ValueError, match="images are B x C x H x W"):
        shift_and_stitch(small_net(), images[0], 4)
    with pytest.raises(ValueError, match="must return B x K x h x w, not \\(1, 2880\\)"):
        shift_and_stitch(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten()), images, 4)
