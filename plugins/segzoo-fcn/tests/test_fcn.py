"""The three FCNs: size, names, shapes, upsampling, and that they can be trained from scratch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segzoo.testing import ModelConformance
from segzoo_fcn.network import FCN, Upsample, build_fcn8s, build_fcn16s, build_fcn32s
from segzoo_fcn.plugin import FCNOptions, segzoo_models

BUILDERS = {32: build_fcn32s, 16: build_fcn16s, 8: build_fcn8s}
SMALL = FCNOptions(width=4, fc_channels=16, dropout=0.0)
SMALL_BATCH = FCNOptions(width=4, fc_channels=16, dropout=0.0, norm="batch")


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("stride", "norm", "classes", "count"),
    [
        (32, "none", 2, 134_268_738),
        (16, "none", 2, 134_269_828),
        (8, "none", 2, 134_270_406),
        (8, "none", 21, 134_376_863),
        (8, "batch", 2, 134_274_630),
    ],
)
def test_parameter_count_of_the_papers_size(stride, norm, classes, count):
    with torch.device("meta"):
        net = BUILDERS[stride](in_channels=3, num_classes=classes, options=FCNOptions(norm=norm))
    assert parameters(net) == count


def test_the_vgg16_layers_have_the_size_of_vgg16():
    with torch.device("meta"):
        net = FCN(in_channels=3, num_classes=2, output_stride=32, options=FCNOptions())
    blocks = [net.block1, net.block2, net.block3, net.block4, net.block5]
    assert sum(map(parameters, blocks)) == 14_714_688  # the features of torchvision's vgg16
    assert parameters(net.fc6) == 102_764_544  # its first and second Linear
    assert parameters(net.fc7) == 16_781_312


def test_state_dict_keys_of_fcn8s():
    net = build_fcn8s(in_channels=3, num_classes=2, options=SMALL)
    convolutions = {1: (0, 2), 2: (0, 2), 3: (0, 2, 4), 4: (0, 2, 4), 5: (0, 2, 4)}
    layers = [f"block{block}.{i}" for block, indices in convolutions.items() for i in indices]
    layers += ["fc6", "fc7", "score"]
    expected = [f"{layer}.{what}" for layer in layers for what in ("weight", "bias")]
    for skip in ("skip4", "skip3"):
        expected += [f"{skip}.score.weight", f"{skip}.score.bias", f"{skip}.upsample.weight"]
    assert list(net.state_dict()) == [*expected, "upsample.weight"]


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize(
    ("channels", "classes", "size"), [(1, 2, (32, 32)), (3, 21, (64, 96)), (4, 2, (96, 64))]
)
@pytest.mark.parametrize("options", [SMALL, SMALL_BATCH], ids=["none", "batch"])
def test_logits_have_the_size_of_the_images(stride, channels, classes, size, options):
    net = BUILDERS[stride](in_channels=channels, num_classes=classes, options=options).eval()
    assert net(torch.randn(2, channels, *size)).shape == (2, classes, *size)


def test_other_sizes_and_strides_are_refused():
    net = build_fcn32s(in_channels=3, num_classes=2, options=SMALL)
    with pytest.raises(ValueError, match="multiples of 32, not 64x100"):
        net(torch.zeros(1, 3, 64, 100))
    with pytest.raises(ValueError, match="32, 16 or 8, not 4"):
        FCN(in_channels=3, num_classes=2, output_stride=4, options=SMALL)  # type: ignore


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_upsampling_starts_as_bilinear_interpolation(stride, learned):
    scores = torch.randn(2, 3, 4, 5)
    upsampled = Upsample(3, stride, learned=learned)(scores)
    expected = F.interpolate(scores, scale_factor=stride, mode="bilinear")
    assert torch.allclose(upsampled, expected, atol=1e-5)  # up to the border


def test_the_last_upsampling_is_fixed_and_saved():
    net = build_fcn8s(in_channels=3, num_classes=2, options=SMALL)
    assert "upsample.weight" not in dict(net.named_parameters())
    assert "upsample.weight" in net.state_dict()


def test_fcn8s_starts_from_the_scores_of_fc7_alone():
    torch.manual_seed(0)
    fine = build_fcn8s(in_channels=3, num_classes=3, options=SMALL).eval()
    coarse = build_fcn32s(in_channels=3, num_classes=3, options=SMALL).eval()
    shared = coarse.state_dict().keys() - {"upsample.weight"}
    coarse.load_state_dict({key: fine.state_dict()[key] for key in shared}, strict=False)
    coarse.upsample = nn.Identity()
    images = torch.randn(2, 3, 64, 96)
    expected = coarse(images)
    for factor in (2, 2, 8):
        expected = F.interpolate(expected, scale_factor=factor, mode="bilinear")
    assert torch.allclose(fine(images), expected, atol=1e-5)


@pytest.mark.parametrize("options", [SMALL, SMALL_BATCH], ids=["none", "batch"])
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_gradients_reach_every_parameter_at_the_first_step(stride, options):
    torch.manual_seed(0)
    net = BUILDERS[stride](in_channels=3, num_classes=2, options=options)
    labels = torch.randint(0, 2, (2, 64, 96))
    F.cross_entropy(net(torch.randn(2, 3, 64, 96)), labels).backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []  # the skips' zero scores pass nothing down, but learn; the score of fc7 does


def test_activations_keep_their_scale_through_the_network():
    torch.manual_seed(0)
    options = FCNOptions(width=16, fc_channels=128)
    net = FCN(in_channels=3, num_classes=2, output_stride=8, options=options).eval()
    features = torch.randn(2, 3, 128, 128)
    for block in (net.block1, net.block2, net.block3, net.block4, net.block5):
        features = block(features)
        assert 0.3 < features.square().mean().sqrt() < 10
    assert 0.1 < net.score(F.relu(net.fc7(F.relu(net.fc6(features))))).std() < 10


def test_fcn32s_learns_from_scratch_with_adam():
    torch.manual_seed(0)
    options = FCNOptions(width=8, fc_channels=32, dropout=0.0)
    net = build_fcn32s(in_channels=3, num_classes=2, options=options)
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    labels[0, :, :32] = labels[1, :32] = 1
    images = 0.5 * torch.randn(2, 3, 64, 64) + labels[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    assert (net.eval()(images).argmax(1) == labels).float().mean() > 0.9


def test_models_name_their_builders():
    assert [model.name for model in segzoo_models()] == ["fcn32s", "fcn16s", "fcn8s"]
    assert {model.stride for model in segzoo_models()} == {32}
    assert [model.fault() for model in segzoo_models()] == ["", "", ""]
    assert [model.build for model in segzoo_models()] == [
        f"segzoo_fcn.network:{build.__name__}" for build in BUILDERS.values()
    ]


SMALL_FCN = {"width": 8, "fc_channels": 64, "norm": "batch"}


class TestFCN32s(ModelConformance):
    model = "segzoo-fcn/fcn32s"
    options = SMALL_FCN


class TestFCN16s(ModelConformance):
    model = "segzoo-fcn/fcn16s"
    options = SMALL_FCN


class TestFCN8s(ModelConformance):
    model = "segzoo-fcn/fcn8s"
    options = SMALL_FCN


class TestFCN8sOverEncoder(ModelConformance):
    model = "segzoo-fcn/fcn8s"
    options = {"encoder": "mobilenetv3_small_050", "encoder_weights": "none", "fc_channels": 32}
