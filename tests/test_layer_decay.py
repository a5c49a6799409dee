"""Learning rates that fall from the decoder to the encoder's stem."""

import math

import pytest
import timm
import torch
from helpers import saved_tensors
from safetensors.torch import save_file
from torch import nn

from segzoo.model.network import create_model
from segzoo.train.config import RunConfig
from segzoo.train.fit import fit
from segzoo.train.layers import layer_factors, numbered_layers
from segzoo.train.optim import hold_pretrained, make_optimizer, make_schedule

SMALL = "mobilenetv3_small_050"


def features(name, **how):
    with torch.device("meta"):
        return timm.create_model(name, features_only=True, **how)


def depths(encoder):
    """Return how often each parameter's rate is halved, by its name."""
    factors = layer_factors(encoder, 0.5)
    return {
        name: int(math.log2(1 / factors[id(p)]))
        for name, p in encoder.named_parameters()
        if p.requires_grad
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "resnet18",
            {
                "conv1.weight": 9, "bn1.bias": 9, "layer1.0.conv1.weight": 8,
                "layer1.1.bn2.weight": 7, "layer2.0.downsample.0.weight": 6,
                "layer4.0.conv1.weight": 2, "layer4.1.conv2.weight": 1,
            },
        ),
        (
            "tf_efficientnet_lite0",
            {
                "conv_stem.weight": 17, "bn1.weight": 17, "blocks.0.0.conv_dw.weight": 16,
                "blocks.1.1.bn1.weight": 14, "blocks.6.0.conv_pwl.weight": 1,
            },
        ),
        (
            "convnext_atto",
            {
                "stem_0.weight": 13, "stages_0.blocks.0.conv_dw.weight": 12,
                "stages_1.downsample.1.weight": 10, "stages_1.blocks.0.mlp.fc1.weight": 10,
                "stages_3.blocks.1.mlp.fc2.bias": 1,
            },
        ),
        (
            "vit_tiny_patch16_224",
            {
                "model.pos_embed": 13, "model.patch_embed.proj.weight": 13,
                "model.blocks.0.norm1.weight": 12, "model.blocks.11.mlp.fc2.weight": 1,
            },
        ),
    ],
)  # fmt: skip
def test_each_block_of_a_network_of_timm_is_a_layer(name, expected):
    found = depths(features(name))
    assert {key: found[key] for key in expected} == expected
    assert set(found.values()) == set(range(1, max(found.values()) + 1))


def test_an_encoder_cut_off_begins_to_count_at_its_own_last_block():
    found = depths(features("resnet18", out_indices=(1, 2)))
    assert found["layer2.1.conv2.weight"] == 1
    assert found["conv1.weight"] == 5


def test_frozen_blocks_are_no_layers():
    encoder = features("resnet18")
    encoder.layer4.requires_grad_(False)
    found = depths(encoder)
    assert found["layer3.1.conv2.weight"] == 1
    assert not any(name.startswith("layer4") for name in found)


def test_a_network_of_timm_inside_another_module_is_found():
    wrapper = nn.Module()
    wrapper.inner = features("convnext_atto")
    assert depths(wrapper)["inner.stem_0.weight"] == 13


class Own(nn.Module):
    """Blocks that timm does not know: a stem, two stages of two and one block, a norm."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.stage1 = nn.Sequential(*[nn.Sequential(nn.Conv2d(4, 4, 1)) for _ in range(2)])
        self.stage2 = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
        self.norm = nn.BatchNorm2d(4)


def test_other_encoders_go_by_the_order_of_their_blocks():
    names = [
        "conv1.weight", "bn1.bias", "layer1.0.scale1.gamma", "layer1.0.down.0.weight",
        "layer1.1.conv1.weight", "blocks.3.gamma", "blocks.3.norm.weight", "norm.bias",
    ]  # fmt: skip
    assert list(numbered_layers(names).values()) == [0, 0, 1, 1, 2, 3, 3, 3]
    encoder = features("resnet18")
    by_timm = depths(encoder)
    own = numbered_layers(by_timm)
    assert {name: 9 - layer for name, layer in own.items()} == by_timm
    found = depths(Own())
    assert found["conv1.weight"] == found["bn1.bias"] == max(found.values())
    assert found["norm.weight"] == 1
    assert list(found.values()) == sorted(found.values(), reverse=True)


class Network(nn.Module):
    pretrained = "encoder"

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 2, 1)
        self.encoder = timm.create_model("resnet10t", features_only=True)


def test_groups_multiply_the_rates_and_keep_the_weight_decay():
    network = Network()
    config = RunConfig(lr=0.1, encoder_lr=0.5, layer_decay=0.8, weight_decay=0.02)
    optimizer = make_optimizer(network, config)
    names = {id(p): name for name, p in network.named_parameters()}
    of = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    assert of.keys() == dict(network.named_parameters()).keys()
    assert of["head.weight"]["lr"] == 0.1
    assert not of["head.weight"]["pretrained"]
    for name, power in (("layer4.0", 1), ("layer3.0", 2), ("layer2.0", 3), ("layer1.0", 4)):
        group = of[f"encoder.{name}.conv1.weight"]
        assert group["lr"] == pytest.approx(0.05 * 0.8**power)
        assert group["pretrained"]
    assert of["encoder.conv1.0.weight"]["lr"] == pytest.approx(0.05 * 0.8**5)
    for name, parameter in network.named_parameters():
        assert of[name]["weight_decay"] == (0.02 if parameter.ndim > 1 else 0.0)


def test_the_schedule_and_holding_reach_every_group():
    network = Network()
    config = RunConfig(layer_decay=0.5, epochs=10, warmup_epochs=0.0, schedule="poly")
    optimizer = make_optimizer(network, config)
    schedule = make_schedule(optimizer, config, 1)
    first = [group["lr"] for group in optimizer.param_groups]
    for _ in range(5):
        optimizer.step()
        schedule.step()
    after = [group["lr"] for group in optimizer.param_groups]
    assert after == pytest.approx([rate * 0.5**0.9 for rate in first])
    hold_pretrained(network, optimizer, held=True)
    assert not any(p.requires_grad for p in network.encoder.parameters())
    hold_pretrained(network, optimizer, held=False)
    assert all(p.requires_grad for p in network.encoder.parameters())


def test_without_decay_the_groups_are_as_before():
    groups = make_optimizer(Network(), RunConfig(encoder_lr=0.1)).param_groups
    assert [(g["pretrained"], g["weight_decay"] > 0) for g in groups] == [
        (False, True), (False, False), (True, True), (True, False),
    ]  # fmt: skip


def test_a_network_without_a_pretrained_part_says_that_it_has_no_effect(caplog):
    plain = create_model("unet", options={"width": 4, "depth": 2})
    config = RunConfig(model="unet", layer_decay=0.75)
    rates = {group["lr"] for group in make_optimizer(plain, config).param_groups}
    assert rates == {config.lr}
    assert "--layer-decay 0.75 has no effect: unet has no pretrained encoder" in caplog.text
    caplog.clear()
    make_optimizer(plain, RunConfig(model="unet"))
    assert not caplog.text


def test_a_run_with_layers_resumes_to_the_same_weights(hk_root, tmp_path):
    class Stop:
        def segzoo_epoch_end(self, run, epoch):
            if epoch == 2:
                raise KeyboardInterrupt

    torch.manual_seed(5)
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), file)
    settings = {
        "model": "unet", "data": "hk", "root": hk_root, "size": 64, "epochs": 3,
        "batch_size": 4, "precision": "fp32", "workers": 0, "progress": False,
        "layer_decay": 0.6, "freeze_epochs": 1,
        "model_options": {"encoder": SMALL, "width": 2, "encoder_weights": str(file)},
    }  # fmt: skip
    whole = fit(out=tmp_path / "a", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(out=tmp_path / "b", observers=[Stop()], **settings)
    assert fit(resume=tmp_path / "b", progress=False).scores == whole.scores
    states = [saved_tensors(tmp_path / run) for run in "ab"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
