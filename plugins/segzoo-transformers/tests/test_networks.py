"""Presets, equality with transformers' own models, and what the wrappers add to them.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import json
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

import segzoo
from segzoo_transformers.architectures import ARCHITECTURES
from segzoo_transformers.network import build
from segzoo_transformers.plugin import segzoo_models
from segzoo_transformers.presets import PRESETS

TINY = json.loads(Path(__file__).with_name("tiny.json").read_text())
SPECS: dict[str, Any] = {spec.name.removeprefix("hf-"): spec for spec in segzoo_models()}
PUBLISHED = {
    # Millions of parameters as the papers or the hub's model cards have them.
    ("segformer", "b0"): (3_752_694, 3.8),
    ("segformer", "b5"): (84_708_694, 84.7),
    ("upernet", "convnext-tiny"): (60_242_636, 60),
    ("upernet", "swin-base"): (121_415_076, 121),
    ("dpt", "large"): (343_109_420, 343),
    ("mobilevit", "small"): (6_391_094, 6.4),
    ("mobilevit-v2", "1.0"): (13_384_831, 13.3),
    ("maskformer", "swin-tiny"): (41_757_009, 42),
    ("mask2former", "swin-tiny"): (47_439_633, 47),
    ("eomt", "large"): (316_020_887, 316),
}
BEIT_NAMES = {
    "data2vec_vision.encoder.layer": "beit.layers",
    "data2vec_vision": "beit",
    "attention.attention.relative": "relative",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "fpn1.0": "fpn.fpn1.conv_transpose1",
    "fpn1.1": "fpn.fpn1.normalization",
    "fpn1.3": "fpn.fpn1.conv_transpose2",
    "fpn2.0": "fpn.fpn2",
}
OBLONG = ("segformer", "upernet-convnext", "upernet-swin", "beit", "mobilevit", "mobilenet-v2")


def kind_of(name):
    return name.removesuffix("-convnext").removesuffix("-swin")


def network(name, in_channels=3, num_classes=5, **options) -> Any:
    options = options or {"config": json.dumps(TINY[name])}
    made = SPECS[kind_of(name)].options(**options)
    torch.manual_seed(0)
    return build(in_channels=in_channels, num_classes=num_classes, options=made)


def twins(name) -> tuple[Any, Any]:
    """Return our network and transformers' own model of the same configuration and weights.

    The weights are large enough for signals to reach the end of an untrained network.
    """
    ours = network(name)
    config_class, model_class = ARCHITECTURES[kind_of(name)].classes()
    values = json.loads(ours.saved_options["config"])
    torch.manual_seed(1)
    plain = model_class(config_class(**values, num_labels=5))
    for parameter in plain.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    weights = {
        key.replace("criterion.", "criterion.loss."): value
        for key, value in plain.state_dict().items()
    }
    report = ours.model.load_state_dict(weights, strict=False)
    assert not report.missing_keys
    return ours, plain


def pictures(height=64, width=64, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def labels(count=2):
    labels_BHW = torch.zeros(count, 64, 64, dtype=torch.int64)
    labels_BHW[:, 16:48, 8:40] = 3
    return labels_BHW


def enlarged(logits_BKhw, images_BCHW):
    return functional.interpolate(
        logits_BKhw, images_BCHW.shape[-2:], mode="bilinear", align_corners=False
    )


def names(queries):
    return [name for name in TINY if ARCHITECTURES[kind_of(name)].queries is queries]


@pytest.mark.parametrize("name", SPECS)
def test_every_size_builds_and_has_the_stride_of_its_spec(name):
    options = SPECS[name].options
    sizes = typing.get_args(typing.get_type_hints(options)["size"])
    assert list(sizes) == list(PRESETS[name])
    for size in sizes:
        with torch.device("meta"):
            model = network(name, num_classes=150, size=size)
        assert model.stride == SPECS[name].stride
        count = sum(parameter.numel() for parameter in model.parameters())
        if (name, size) in PUBLISHED:
            exact, millions = PUBLISHED[name, size]
            assert count == exact
            assert count / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_default_has_its_number_of_parameters_for_two_classes():
    with torch.device("meta"):
        model = segzoo.create_model("hf-segformer")
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_714_658


@pytest.mark.parametrize("name", names(queries=False))
def test_logits_are_those_of_transformers(name):
    ours, plain = (model.eval() for model in twins(name))
    images_BCHW = pictures(64, 128 if name in OBLONG else 64)
    with torch.no_grad():
        expected_BKHW = enlarged(plain(images_BCHW).logits, images_BCHW)
        torch.testing.assert_close(ours(images_BCHW), expected_BKHW)
    assert expected_BKHW.std() > 1e-4


def test_dpt_lays_oblong_pictures_out_as_its_own_neck_can():
    ours, plain = (model.eval() for model in twins("dpt"))
    images_BCHW = pictures(64, 128)
    plain.neck.register_forward_pre_hook(
        lambda neck, args, kwargs: (args, {**kwargs, "patch_height": 4, "patch_width": 8}),
        with_kwargs=True,
    )
    with torch.no_grad():
        expected_BKHW = enlarged(plain(images_BCHW).logits, images_BCHW)
        torch.testing.assert_close(ours(images_BCHW), expected_BKHW)


def test_data2vec_lays_oblong_pictures_out_as_beit():
    # They are the same network, and BEiT's own forward takes any size.
    (data2vec, _), (beit, _) = twins("data2vec"), twins("beit")
    weights = data2vec.model.state_dict()
    for mine, other in BEIT_NAMES.items():
        weights = {name.replace(mine, other): value for name, value in weights.items()}
    beit.model.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(
            data2vec.eval()(pictures(64, 128)), beit.eval()(pictures(64, 128))
        )


@pytest.mark.parametrize("name", ["upernet-convnext", "upernet-swin", "beit", "data2vec", "dpt"])
def test_auxiliary_logits_are_those_of_transformers(name):
    ours, plain = (model.train() for model in twins(name))
    images_BCHW, heard = pictures(), []
    plain.auxiliary_head.register_forward_hook(lambda *call: heard.append(call[2]))
    torch.manual_seed(5)
    expected_BKHW = enlarged(plain(images_BCHW).logits, images_BCHW)
    torch.manual_seed(5)
    output = ours(images_BCHW)
    torch.testing.assert_close(output["out"], expected_BKHW)
    torch.testing.assert_close(output["aux"], enlarged(heard[0], images_BCHW))


@pytest.mark.parametrize("name", ["beit", "data2vec", "mask2former"])
def test_training_goes_on_at_a_size_first_seen_in_inference_mode(name):
    # Without care, transformers' tables of positions would be inference tensors from then on.
    model = network(name).eval()
    with torch.inference_mode():
        model(pictures(32, 96))
    logits_BKHW = model.train()(pictures(32, 96))
    logits_BKHW = logits_BKHW["out"] if isinstance(logits_BKHW, dict) else logits_BKHW
    logits_BKHW.square().mean().backward()


@pytest.mark.parametrize("name", names(queries=True))
def test_scores_are_those_of_the_image_processors(name):
    side = 384 if name == "mask2former" else 64  # what its processor enlarges masks to
    generator = torch.Generator().manual_seed(3)
    outputs = SimpleNamespace(
        class_queries_logits=2 * torch.randn(1, 8, 6, generator=generator),
        masks_queries_logits=3 * torch.randn(1, 8, side // 4, side // 4, generator=generator),
        patch_offsets=None,
    )
    logits_BKHW = network(name).logits(outputs, pictures(side, side, 1))
    found = post_processed(name, outputs, side)
    torch.testing.assert_close(logits_BKHW[0].exp(), found["segmentation_scores"])
    same = logits_BKHW[0].argmax(0) == found["segmentation"]
    assert same.float().mean() > 0.999
    assert len(found["segmentation"].unique()) > 2


def post_processed(name, outputs, side) -> Any:
    import transformers

    more = {"size": {"shortest_edge": side, "longest_edge": side}} if name == "eomt" else {}
    prefix = {"maskformer": "MaskFormer", "mask2former": "Mask2Former", "eomt": "Eomt"}[name]
    return getattr(transformers, f"{prefix}ImageProcessor")().post_process_semantic_segmentation(
        outputs, target_sizes=[(side, side)], return_segmentation_scores=True, **more
    )[0]


@pytest.mark.parametrize("name", names(queries=True))
def test_the_loss_is_that_of_transformers(name):
    ours, plain = (model.train() for model in twins(name))
    images_BCHW, labels_BHW = pictures(), labels()
    masks = [torch.stack([(one == 0).float(), (one == 3).float()]) for one in labels_BHW]
    more = {"output_hidden_states": True} if name == "maskformer" else {}
    torch.manual_seed(5)
    expected = plain(
        images_BCHW, mask_labels=masks, class_labels=[torch.tensor([0, 3])] * 2, **more
    )
    torch.manual_seed(5)
    output = ours(images_BCHW, labels_BHW)
    torch.testing.assert_close(output["loss"], expected.loss)
    assert output["out"].shape == (2, 5, 64, 64)


@pytest.mark.parametrize("name", names(queries=True))
def test_labels_that_are_no_class_belong_to_no_mask(name):
    model, losses = network(name).train(), []
    for ignored in (255, 5, -1):
        labels_BHW = labels()
        labels_BHW[:, :16] = ignored
        torch.manual_seed(5)
        losses.append(model(pictures(), labels_BHW)["loss"].detach())
    assert losses[0] == losses[1] == losses[2]
    labels_BHW = labels()
    labels_BHW[0] = 255  # one picture with nothing labelled, then none with anything
    for nothing_BHW in (labels_BHW, torch.full_like(labels_BHW, 255)):
        loss = model(pictures(), nothing_BHW)["loss"]
        loss.backward()
        assert loss.isfinite() and loss > 0


@pytest.mark.parametrize("name", names(queries=True))
def test_without_labels_training_gives_logits_and_an_alpha_is_refused(name):
    model = network(name).train()
    assert model(pictures()).shape == (2, 5, 64, 64)
    with pytest.raises(segzoo.SegzooError, match=f"hf-{name} is trained by a loss of its own"):
        model(pictures(), torch.rand(2, 64, 64))


@pytest.mark.parametrize("name", ["mask2former", "eomt"])
def test_the_set_loss_teaches_where_a_class_is(name):
    model = network(name, num_classes=4).train()
    labels_BHW = labels()
    images_BCHW = 0.3 * pictures() + (labels_BHW == 3)[:, None]
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-2), []
    for _ in range(30):
        loss = model(images_BCHW, labels_BHW)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        logits_BKHW = model.eval()(images_BCHW)
    assert (logits_BKHW.argmax(1) == labels_BHW).float().mean() > 0.95
    assert functional.cross_entropy(logits_BKHW, labels_BHW) < 0.3


def test_a_training_with_a_set_loss_saves_weights_that_load(tmp_path):
    result = segzoo.fit(
        model="hf-maskformer",
        model_options={"config": json.dumps(TINY["maskformer"])},
        data="portraits",
        sample=True,
        epochs=1,
        size=64,
        out=str(tmp_path / "run"),
        progress=False,
    )
    prediction = segzoo.load(result.weights).predict(torch.zeros(3, 50, 70, dtype=torch.uint8))
    assert prediction.mask.shape == (50, 70)
