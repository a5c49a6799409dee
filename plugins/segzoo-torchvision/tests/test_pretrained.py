"""Pretrained weights from local files, from torch.hub's cache, and where there is no network."""

import argparse
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv  # pyright: ignore[reportPrivateImportUsage]
from torchvision.models import get_model_weights, mobilenet_v3_large, resnet50, segmentation

import segzoo
from segzoo_torchvision.network import build_deeplabv3_mobilenet_v3_large as build_deeplab
from segzoo_torchvision.network import build_lraspp_mobilenet_v3_large as build_lraspp
from segzoo_torchvision.plugin import AuxNetworkOptions, NetworkOptions
from segzoo_torchvision.pretrained import adapt_input, load_backbone

NAME = "tv-lraspp-mobilenet-v3-large"
FIRST = "backbone.0.0.weight"
HEADS = tuple(f"classifier.{part}_classifier." for part in ("low", "high"))


@pytest.fixture(scope="module")
def lraspp():
    torch.manual_seed(7)
    return segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=21
    ).state_dict()


@pytest.fixture(params=[".pth", ".safetensors"])
def file(request, lraspp, tmp_path):
    path = tmp_path / f"lraspp{request.param}"
    save_file(lraspp, path) if path.suffix == ".safetensors" else torch.save(lraspp, path)
    return path


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub" / "hub" / "checkpoints"


def build(in_channels=3, num_classes=21, **options):
    return build_lraspp(
        in_channels=in_channels, num_classes=num_classes, options=NetworkOptions(**options)
    )


def differing(state, other):
    return [key for key in state if not torch.equal(state[key], other[key])]


def test_a_file_with_the_same_classes_is_loaded_whole(file, lraspp):
    assert not differing(build(weights=str(file)).state_dict(), lraspp)


def test_another_number_of_classes_leaves_the_last_layers_fresh(file, lraspp):
    state = build(num_classes=5, weights=str(file)).state_dict()
    assert state["classifier.low_classifier.weight"].shape == (5, 40, 1, 1)
    others = {key: value for key, value in state.items() if not key.startswith(HEADS)}
    assert len(others) == len(lraspp) - 4
    assert not differing(others, lraspp)


def test_a_grey_picture_gives_what_it_gave_as_rgb(file):
    grey, colour = build(1, weights=str(file)).eval(), build(weights=str(file)).eval()
    image_BCHW = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(grey(image_BCHW), colour(image_BCHW.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_first_filters_are_adapted_as_timm_does(channels):
    weight = torch.randn(8, 3, 3, 3)
    torch.testing.assert_close(
        adapt_input(weight, channels), adapt_input_conv(channels, weight.clone())
    )


def test_weights_for_four_channels_stay_as_they_are(tmp_path):
    torch.save(build(4, 3).state_dict(), tmp_path / "four.pth")
    stored = torch.load(tmp_path / "four.pth", weights_only=True)
    state = build(4, 3, weights=str(tmp_path / "four.pth")).state_dict()
    assert not differing(state, stored)
    first = build(3, 3, weights=str(tmp_path / "four.pth")).state_dict()[FIRST]
    torch.testing.assert_close(first, stored[FIRST][:, :3] * 4 / 3)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_the_auxiliary_head_may_be_in_one_of_both_alone(tmp_path, stored, wanted):
    def deeplab(**options):
        made = AuxNetworkOptions(**options)
        return build_deeplab(in_channels=3, num_classes=3, options=made).state_dict()

    there = deeplab(aux=stored)
    torch.save(there, tmp_path / "deeplab.pth")
    state = deeplab(aux=wanted, weights=str(tmp_path / "deeplab.pth"))
    assert any(key.startswith("aux_classifier.") for key in state) is wanted
    assert not differing({key: state[key] for key in state if key in there}, there)


def test_a_tag_is_read_from_the_cache_of_torch_hub(no_network, lraspp, capsys):
    tags = get_model_weights("lraspp_mobilenet_v3_large")
    no_network.mkdir(parents=True)
    torch.save(lraspp, no_network / tags["DEFAULT"].url.rpartition("/")[2])
    for tag in ("COCO_WITH_VOC_LABELS_V1", "default", "LRASPP_MobileNet_V3_Large_Weights.DEFAULT"):
        assert not differing(build(weights=tag).state_dict(), lraspp)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", ["weights", "backbone_weights"])
def test_without_a_network_the_error_says_the_way_around(no_network, option, capsys):
    with pytest.raises(segzoo.SegzooError) as caught:
        segzoo.create_model(NAME, options={option: "DEFAULT"})
    message, hint = caught.value.message, caught.value.hint
    assert f"{option}=DEFAULT" in message
    assert "https://download.pytorch.org/models/" in message
    assert "no route to host" in message
    assert f"-o {option}=FILE" in hint
    assert str(no_network) in hint
    assert capsys.readouterr().out == ""  # torch.hub announces downloads on stdout


def test_backbone_weights_fill_the_backbone_alone(tmp_path):
    torch.manual_seed(1)
    classifier = mobilenet_v3_large(weights=None).state_dict()
    torch.save(classifier, tmp_path / "mobilenet.pth")
    torch.manual_seed(2)
    state = build(backbone_weights=str(tmp_path / "mobilenet.pth")).state_dict()
    torch.manual_seed(2)
    fresh = build().state_dict()
    for key, value in state.items():
        if key.startswith("backbone."):
            assert torch.equal(value, classifier[key.replace("backbone", "features", 1)])
        else:
            assert torch.equal(value, fresh[key])


def test_a_resnets_state_dict_fits_its_backbone():
    with torch.device("meta"):
        state = resnet50(weights=None).state_dict()
    # As old files are: without the counters of the batch norms.
    state = {key: torch.zeros(v.shape) for key, v in state.items() if "num_batches" not in key}
    network = segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=2)
    load_backbone(network, state, "backbone.conv1", source="zeros")
    assert not any(bool(value.any()) for value in network.backbone.state_dict().values())
    assert bool(network.get_parameter("classifier.0.weight").any())


def test_mistyped_tags_and_files_are_named(tmp_path):
    with pytest.raises(
        segzoo.SegzooError, match=r"no weights `COCO_VOC_V1`.*\n.*did you mean `COCO_"
    ):
        build(weights="COCO_VOC_V1")
    with pytest.raises(segzoo.SegzooError, match=r"weights=gone/a\.pth: no such file"):
        build(weights="gone/a.pth")
    with pytest.raises(segzoo.SegzooError, match="is a folder"):
        build(weights=str(tmp_path))
    with pytest.raises(segzoo.SegzooError, match="give weights or backbone_weights"):
        segzoo.create_model(NAME, options={"weights": "a.pth", "backbone_weights": "b.pth"})


def test_what_is_no_state_dict_of_this_network_is_refused(tmp_path, file, lraspp):
    path = tmp_path / "other.pth"
    torch.save({"model": lraspp, "epoch": 3}, path)
    with pytest.raises(segzoo.SegzooError, match="not a state dict but a dict of epoch, model"):
        build(weights=str(path))
    torch.save(argparse.Namespace(lr=1), path)
    with pytest.raises(segzoo.SegzooError, match=r"other\.pth cannot be read"):
        build(weights=str(path))
    torch.save(mobilenet_v3_large(weights=None).state_dict(), path)
    with pytest.raises(segzoo.SegzooError, match=r"it has no `features\.0\.0\.weight`"):
        build(weights=str(path))
    with pytest.raises(segzoo.SegzooError, match=r"its backbone has no `backbone\.0\."):
        build(backbone_weights=str(file))
    torch.save({key: lraspp[key] for key in list(lraspp)[:-4]}, path)
    with pytest.raises(segzoo.SegzooError, match=r"they lack `classifier\.low_classifier\.weight`"):
        build(weights=str(path))
    torch.save({**lraspp, "classifier.cbr.0.weight": torch.zeros(64, 960, 1, 1)}, path)
    with pytest.raises(segzoo.SegzooError, match=r"size mismatch for classifier\.cbr\.0\.weight"):
        build(weights=str(path))


def test_a_trained_network_loads_without_the_file_it_began_with(file, tmp_path, no_network):
    result = segzoo.fit(
        model=NAME, model_options={"weights": str(file)}, data="sbd", sample=True, size=32,
        epochs=1, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    file.unlink()
    assert segzoo.load(result.weights).predict(torch.zeros(3, 40, 50, dtype=torch.uint8)).mask.shape
    assert 'weights = "' in (tmp_path / "run" / "config.toml").read_text()
