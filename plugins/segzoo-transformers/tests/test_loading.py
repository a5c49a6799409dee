"""Where networks come from: `config`, `pretrained`, and the options that weights files keep."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

import segzoo
from segzoo.model.network import saved_options
from segzoo_transformers.architectures import ARCHITECTURES
from segzoo_transformers.configs import config_text, make_config
from segzoo_transformers.plugin import segzoo_models
from segzoo_transformers.presets import PRESETS

TINY = json.loads(Path(__file__).with_name("tiny.json").read_text())
SEGFORMER = TINY["segformer"]
FIRST_CONV = "stages.0.patch_embeddings"


def segformer(in_channels=3, num_classes=2, **options) -> Any:
    torch.manual_seed(0)
    return segzoo.create_model(
        "hf-segformer", in_channels=in_channels, num_classes=num_classes, options=options
    )


def first_conv(weights):
    (name,) = [n for n in weights if FIRST_CONV in n and weights[n].ndim == 4]
    return weights[name]


def mobilevit(**options) -> Any:
    return segzoo.create_model("hf-mobilevit", options=options).network.model


@pytest.fixture
def folder(tmp_path):
    """Write a model of 5 classes as transformers saves it."""
    from transformers.models.segformer import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(7)
    config = SegformerConfig(**{**SEGFORMER, "num_labels": 5})
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def plain(folder):
    from transformers.models.segformer import SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation.from_pretrained(folder).state_dict()


def test_a_configuration_is_taken_from_a_file_a_folder_or_a_text(folder):
    for config in (folder, folder / "config.json", (folder / "config.json").read_text()):
        network = segformer(config=str(config)).network
        assert network.model.config.hidden_sizes == SEGFORMER["hidden_sizes"]
        assert network.model.config.num_labels == 2


def test_fields_without_a_model_type_go_over_the_preset():
    config = segformer(size="b1", config='{"depths": [1, 1, 1, 1]}').network.model.config
    assert config.depths == [1, 1, 1, 1]
    assert config.hidden_sizes == [64, 128, 320, 512]
    config = segformer(
        size="b1", config='{"model_type": "segformer", "depths": [1, 1, 1, 1]}'
    ).network.model.config
    assert tuple(config.hidden_sizes) == (32, 64, 160, 256)


def test_pretrained_weights_are_loaded_as_they_are(folder, plain):
    network = segformer(num_classes=5, pretrained=str(folder)).network
    assert network.training
    mine = network.model.state_dict()
    assert mine.keys() == plain.keys()
    assert all(torch.equal(mine[name], plain[name]) for name in plain)


def test_pretrained_weights_keep_all_but_the_classifier_for_other_classes(folder, plain):
    mine = segformer(num_classes=3, pretrained=str(folder)).network.model.state_dict()
    differing = [n for n in plain if not torch.equal(mine[n], plain[n])]
    assert differing == ["decode_head.classifier.weight", "decode_head.classifier.bias"]
    assert mine[differing[0]].shape[0] == 3


def test_the_first_convolution_is_adapted_to_other_channels(folder, plain):
    grey = segformer(1, 5, pretrained=str(folder)).network.model
    torch.testing.assert_close(
        first_conv(grey.state_dict()), first_conv(plain).sum(1, keepdim=True)
    )
    assert grey.config.num_channels == 1
    four = segformer(4, 5, pretrained=str(folder)).network.model.state_dict()
    torch.testing.assert_close(first_conv(four)[:, :3], 0.75 * first_conv(plain))
    rest = [n for n in plain if plain[n] is not first_conv(plain)]
    assert all(torch.equal(four[name], plain[name]) for name in rest)


def test_weights_for_other_than_three_channels_are_used_as_they_are_or_refused(tmp_path):
    from transformers.models.segformer import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(**{**SEGFORMER, "num_labels": 2, "num_channels": 1})
    model = SegformerForSemanticSegmentation(config)
    model.save_pretrained(tmp_path)
    mine = segformer(1, pretrained=str(tmp_path)).network.model.state_dict()
    assert torch.equal(first_conv(mine), first_conv(model.state_dict()))
    with pytest.raises(segzoo.SegzooError, match="takes 1 channels, the pictures have 3"):
        segformer(3, pretrained=str(tmp_path))


def test_fields_of_config_go_over_those_of_pretrained(folder, plain):
    network = segformer(num_classes=5, pretrained=str(folder), config='{"drop_path_rate": 0.3}')
    assert network.network.model.config.drop_path_rate == 0.3
    assert torch.equal(first_conv(network.network.model.state_dict()), first_conv(plain))


def test_an_encoder_alone_is_pretrained_and_the_rest_drawn_anew(tmp_path, plain):
    from transformers.models.segformer import SegformerConfig, SegformerModel

    encoder = SegformerModel(SegformerConfig(**SEGFORMER))
    encoder.save_pretrained(tmp_path)
    mine = segformer(pretrained=str(tmp_path)).network.model
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, mine.segformer.state_dict()[name])
    assert mine.decode_head.classifier.weight.std() > 0


def test_batch_norms_of_mobilevit_scale_by_one_unless_they_are_loaded(tmp_path):
    fresh = mobilevit(config=json.dumps(TINY["mobilevit"]))
    norms = [m for m in fresh.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(bool((norm.weight == 1).all()) for norm in norms)
    torch.nn.init.constant_(norms[0].weight, 0.25)
    fresh.mobilevit.save_pretrained(tmp_path)
    options = json.dumps({"aspp_out_channels": 24})
    loaded = mobilevit(pretrained=str(tmp_path), config=options)
    norms = [m for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert bool((norms[0].weight == 0.25).all())
    assert all(bool((norm.weight == 1).all()) for norm in norms[1:])


def test_saved_options_rebuild_pretrained_networks_without_their_folder(folder, tmp_path):
    model = segformer(4, 3, pretrained=str(folder)).eval()
    options = saved_options(model)
    assert options["pretrained"] is None
    assert str(tmp_path) not in options["config"]
    again = segformer(4, 3, **options).eval()
    again.network.load_state_dict(model.network.state_dict())
    images_BCHW = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images_BCHW), again(images_BCHW))


@pytest.mark.parametrize("spec", segzoo_models(), ids=lambda spec: spec.name)
def test_every_configuration_survives_its_text(spec):
    name = spec.options.architecture
    for size in PRESETS[name]:
        first = make_config("it", spec.options(size=size))
        text = config_text(first)
        again = make_config("it", spec.options(config=text))
        assert config_text(again) == text
        assert again.to_dict() == first.to_dict()
        assert len(text) < 1500


def test_building_is_silent_and_leaves_settings_alone(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    disabled = huggingface_hub.utils.are_progress_bars_disabled()
    segformer(num_classes=3, pretrained=str(folder))
    segzoo.create_model("hf-maskformer", options={"config": json.dumps(TINY["maskformer"])})
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert huggingface_hub.utils.are_progress_bars_disabled() == disabled


def refused(**options):
    with pytest.raises(segzoo.SegzooError) as caught:
        segformer(**options)
    return str(caught.value)


def test_a_config_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.json").write_text("{not json")
    (tmp_path / "list.json").write_text("[1]")
    assert "cannot read nowhere.json" in refused(config="nowhere.json")
    assert f"cannot read {tmp_path / 'config.json'}" in refused(config=str(tmp_path))
    assert "broken.json is not valid JSON" in refused(config=str(tmp_path / "broken.json"))
    assert "list.json holds no JSON object" in refused(config=str(tmp_path / "list.json"))
    assert '{"depths": is not valid JSON' in refused(config='{"depths":')


def test_a_config_of_another_architecture_says_which_model_takes_it():
    assert "use --model hf-beit" in refused(config='{"model_type": "beit"}')
    assert "is of model type `bert`" in refused(config='{"model_type": "bert"}')


def test_a_config_that_transformers_cannot_use_is_an_error_of_the_user():
    assert "did you mean `hidden_sizes`?" in refused(config='{"hiden_sizes": [8, 8, 8, 8]}')
    assert "refuses the configuration" in refused(config='{"depths": "two"}')
    assert "cannot build a network" in refused(config='{"hidden_sizes": [8, 16]}')
    with pytest.raises(segzoo.SegzooError, match="hybrid"):
        segzoo.create_model("hf-dpt", options={"config": '{"is_hybrid": true}'})


def test_a_pretrained_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    missing = str(tmp_path / "missing")
    assert f"there is no folder {missing}" in refused(pretrained=missing)
    assert "cannot load pretrained=some/model from the Hugging Face hub" in refused(
        pretrained="some/model"
    )
    assert f"cannot load pretrained={tmp_path} from the folder" in refused(pretrained=str(tmp_path))


def test_weights_that_are_no_safetensors_are_not_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    assert f"cannot load pretrained={folder} from the folder" in refused(pretrained=str(folder))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert f"cannot load pretrained={folder} from the folder" in refused(pretrained=str(folder))


def test_a_pretrained_of_another_architecture_says_which_model_takes_it(tmp_path):
    config_class, model_class = ARCHITECTURES["beit"].classes()
    model_class(config_class(**TINY["beit"])).save_pretrained(tmp_path)
    text = refused(pretrained=str(tmp_path))
    assert "is of model type `beit`" in text
    assert "use --model hf-beit" in text


def test_a_pretrained_without_a_fitting_weight_is_refused(folder):
    from safetensors.torch import save_file

    save_file({"other.weight": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    assert "no weight of pretrained" in refused(pretrained=str(folder))


def test_a_classifier_of_beit_becomes_an_encoder_with_indices_of_its_blocks(tmp_path):
    from transformers.models.beit import BeitConfig, BeitForImageClassification

    config = BeitConfig(**{n: v for n, v in TINY["beit"].items() if n != "out_indices"})
    BeitForImageClassification(config).save_pretrained(tmp_path)
    options = {"pretrained": str(tmp_path)}
    with pytest.raises(segzoo.SegzooError, match="out_indices to be a list of 4 integers"):
        segzoo.create_model("hf-beit", options=options)
    options["config"] = '{"out_indices": [1, 2, 3, 4]}'
    assert segzoo.create_model("hf-beit", options=options).stride == 32
