import re
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch import encoders as smp_encoders

import segzoo
from segzoo import SegzooError
from segzoo.model.network import saved_options
from segzoo.model.pixels import normalization

LITTLE = "mobilenet_v2"  # the smallest of smp's own


def build(model="smp-linknet", in_channels=3, **options) -> Any:
    return segzoo.create_model(model, in_channels=in_channels, options=options).network


@pytest.fixture
def no_hub(monkeypatch):
    """Refuse every download, and return the list of what was asked for."""
    asked = []

    def refuse(*args, **named):
        asked.append(args[0] if args else named["repo_id"])
        raise OSError("the network is unreachable")

    monkeypatch.setattr(smp_encoders, "hf_hub_download", refuse)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", refuse)
    return asked


def pretrained(name=LITTLE, seed=5):
    """Return an encoder of smp for 3 channels that stands for a pretrained one."""
    torch.manual_seed(seed)
    return smp_encoders.get_encoder(name, weights=None)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("model", "encoder"),
    [
        ("smp-segformer", "mit_b0"),
        ("smp-unet", "tu-test_convnext"),
        ("smp-deeplabv3plus", "tu-mobilenetv3_small_050"),
        ("smp-fpn", "tu-swin_tiny_patch4_window7_224"),  # made for 224 x 224 unless told otherwise
        ("smp-upernet", "mobileone_s0"),
        ("smp-dpt", "tu-test_vit.r160_in1k"),  # the name's tag says which weights would be loaded
    ],
)
def test_encoders_of_every_family_work_at_any_size(model, encoder):
    network = segzoo.create_model(model, in_channels=4, num_classes=3, options={"encoder": encoder})
    assert network.eval()(torch.randn(1, 4, 45, 70)).shape == (1, 3, 45, 70)
    logits = network.train()(torch.randn(2, 4, 64, 64))
    logits.square().mean().backward()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("smp-unet", {"encoder": "resnet33"}, "did you mean `resnet34`"),
        ("smp-unet", {"encoder": "convnext_tiny"}, "did you mean `tu-convnext_tiny`"),
        ("smp-unet", {"encoder": "resnet18.a1_in1k"}, "did you mean `resnet18`"),
        ("smp-unet", {"encoder": "tu-hf-hub:timm/resnet18"}, "knows no encoder"),
        ("smp-unet", {"encoder": "tu-test_vit"}, "smp-unet cannot use encoder=tu-test_vit"),
        ("smp-linknet", {"encoder": "mit_b0"}, "smp-linknet cannot use encoder=mit_b0"),
        ("smp-unetplusplus", {"encoder": "mit_b0"}, "mit_b0 depth=5: .*\nresnet34, efficient"),
        ("smp-fpn", {"encoder": "mit_b0", "depth": 4}, "mit_b0 depth=4: .*only encoder_depth=5"),
        ("smp-deeplabv3", {"encoder": "densenet121"}, "DenseNet.*\nit dilates its encoder"),
        ("smp-pan", {"encoder": "tu-ghostnet_050"}, "tu-ghostnet_050.*\n.*output_stride=32"),
        ("smp-dpt", {"encoder": "resnet34"}, "resnet34.*\nit takes timm's vision transformers"),
        (
            "smp-dpt",
            {"encoder": "tu-test_vit_relpos", "readout": "ignore"},
            "doesn't match model \\(160\\)",
        ),
        ("smp-unet", {"encoder_weights": "imagnet"}, "did you mean `imagenet`\\? it has: imagenet"),
        (
            "smp-unet",
            {"encoder": "tu-resnet18", "encoder_weights": "a1_in22k"},
            "tu-resnet18 has no pretrained weights `a1_in22k`.*\n.*a1_in1k",
        ),
        ("smp-unet", {"encoder": "tu-resnet18.a1_in22k"}, "no pretrained weights `a1_in22k`"),
        (
            "smp-unet",
            {"encoder": "tu-test_vit_relpos", "encoder_weights": "imagnet"},
            "no pretrained weights `imagnet`",
        ),
        ("smp-unet", {"encoder_weights": "weights.pth"}, "weights.pth: no such file"),
        ("smp-unet", {"encoder_weights": "some/folder"}, "some/folder: no such file"),
    ],
)
def test_what_cannot_be_is_one_error_that_says_what_would(model, options, message):
    with pytest.raises(SegzooError) as caught:
        segzoo.create_model(model, options=options)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_pan_takes_an_encoder_that_cannot_be_dilated_at_stride_32():
    assert build("smp-pan", encoder="tu-ghostnet_050", output_stride=32).stride == 32


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        ("safetensors", 3),
        ("safetensors", 1),
        ("pth", 4),
        ("wrapped.pth", 3),
        ("model.safetensors", 4),
    ],
)
def test_a_local_file_gives_what_smp_makes_of_pretrained_weights(tmp_path, channels, kind):
    expected: Any = pretrained()
    file = tmp_path / f"encoder.{kind}"
    tensors = expected.state_dict()
    if kind == "safetensors":
        save_file({**tensors, "classifier.1.bias": torch.zeros(1000)}, file)
    elif kind == "model.safetensors":
        whole = smp.Linknet(LITTLE, encoder_weights=None)
        whole.encoder.load_state_dict(tensors)
        save_file(whole.state_dict(), file)
    else:
        torch.save({"state_dict": tensors} if kind == "wrapped.pth" else tensors, file)
    expected.set_in_channels(channels, pretrained=True)
    network = build(encoder=LITTLE, encoder_weights=str(file), in_channels=channels)
    assert same(network.encoder.state_dict(), expected.state_dict())
    assert network.pretrained == "encoder"
    assert build(encoder=LITTLE).pretrained == ""


def test_the_statistics_of_timms_weights_are_the_networks(tmp_path):
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / "lite0.pth")
    name = "tu-tf_efficientnet_lite0"
    network = build(encoder=name, encoder_weights=str(tmp_path / "lite0.pth"))
    assert normalization("auto", 3, network) == ((0.5,) * 3, (0.5,) * 3)
    assert normalization("auto", 3, build(encoder=name))[0][0] == 0.485


@pytest.mark.parametrize("prefix", ["timm-", "tu-"])
def test_an_installed_package_gives_the_weights(no_hub, prefix):
    pytest.importorskip("segzoo_encoder_lite0")
    from segzoo_encoder_lite0.weights import load

    network = build(encoder=f"{prefix}tf_efficientnet_lite0", encoder_weights="imagenet")
    own = {name.removeprefix("model."): v for name, v in network.encoder.state_dict().items()}
    carried = load()
    assert torch.equal(own["conv_stem.weight"], carried["conv_stem.weight"])
    assert torch.equal(own["blocks.6.0.bn3.running_var"], carried["blocks.6.0.bn3.running_var"])
    assert normalization("auto", 3, network) == ((0.5,) * 3, (0.5,) * 3)
    assert network.pretrained == "encoder"
    assert network.saved_options["encoder_weights"] is None


@pytest.mark.parametrize("model", ["smp-unet", "smp-dpt"])
def test_a_local_file_may_be_timms(tmp_path, model):
    name = "test_vit" if model == "smp-dpt" else "test_convnext"
    plain = timm.create_model(name)
    torch.save(plain.state_dict(), tmp_path / "timm.pth")
    network = build(
        model, encoder=f"tu-{name}", encoder_weights=str(tmp_path / "timm.pth"), in_channels=1
    ).eval()
    images = torch.randn(1, 3, 160, 160)
    # A grey picture of which the first convolution sums the channels: what was for three fits one.
    grey = images[:, :1].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        there: Any = plain.eval().forward_intermediates(grey, intermediates_only=True)[-1]  # pyright: ignore
        here = network.encoder(images[:, :1])
        here = here[0][-1] if model == "smp-dpt" else here[-1]
    torch.testing.assert_close(here, there)


def test_files_that_do_not_fit_are_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file(pretrained("mobileone_s0").state_dict(), other)
    with pytest.raises(SegzooError, match="other.safetensors does not fit the encoder.*missing"):
        build(encoder=LITTLE, encoder_weights=str(other))
    tensors = pretrained().state_dict()
    wider = {n: v.repeat(2, *[1] * (v.ndim - 1)) if v.ndim else v for n, v in tensors.items()}
    save_file(wider, other)
    with pytest.raises(SegzooError, match=r"is \(64, 3, 3, 3\), the encoder's is \(32, 3, 3, 3\)"):
        build(encoder=LITTLE, encoder_weights=str(other))


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors", "code.pth", "list.pth"])
def test_files_that_cannot_be_read_safely_are_refused(tmp_path, name):
    if name == "code.pth":
        torch.save({"weights": print}, tmp_path / name)
    elif name == "list.pth":
        torch.save([torch.zeros(1)], tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"no weights at all")
    expected = "does not fit" if name == "list.pth" else "cannot be read"
    with pytest.raises(SegzooError, match=f"{name} {expected}"):
        build(encoder=LITTLE, encoder_weights=str(tmp_path / name))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tag_is_downloaded_by_smp(tmp_path, monkeypatch, channels):
    asked = []
    save_file(pretrained().state_dict(), tmp_path / "model.safetensors")

    def download(repository, filename, revision):
        asked.append((repository, filename))
        return str(tmp_path / filename)

    monkeypatch.setattr(smp_encoders, "hf_hub_download", download)
    network = build(encoder=LITTLE, encoder_weights="imagenet", in_channels=channels)
    assert ("smp-hub/mobilenet_v2.imagenet", "model.safetensors") in asked
    expected: Any = pretrained()
    expected.set_in_channels(channels, pretrained=True)
    assert same(network.encoder.state_dict(), expected.state_dict())


@pytest.mark.parametrize(
    ("model", "encoder", "tag", "asked_for"),
    [
        ("smp-unet", "tu-test_resnet", "r160_in1k", "test_resnet.r160_in1k"),
        ("smp-unet", "tu-test_resnet", "default", "test_resnet"),
        ("smp-unet", "tu-test_resnet.r160_in1k", "imagenet", "test_resnet.r160_in1k"),
        ("smp-dpt", "tu-test_vit", "r160_in1k", "test_vit.r160_in1k"),
    ],
)
def test_a_tag_of_timm_is_asked_of_timm_by_its_full_name(
    monkeypatch, model, encoder, tag, asked_for
):
    asked, create_model = [], timm.create_model

    def create(name, pretrained=False, **further):
        asked.append((name, pretrained))
        return create_model(name, **further)

    monkeypatch.setattr(timm, "create_model", create)
    network = build(model, encoder=encoder, encoder_weights=tag)
    assert asked[-1] == (asked_for, True)
    # The network depends on the tag (its head, for one), and loading it asks for no weights.
    assert network.saved_options["encoder"] == f"tu-{asked_for}"
    assert network.saved_options["encoder_weights"] is None


@pytest.mark.parametrize(
    ("model", "encoder", "tag", "repository"),
    [
        ("smp-linknet", LITTLE, "imagenet", "smp-hub/mobilenet_v2.imagenet"),
        ("smp-unet", "tu-test_resnet", "default", "timm/test_resnet.r160_in1k"),
    ],
)
def test_without_a_network_the_error_names_the_tag_and_the_way_out(
    no_hub, model, encoder, tag, repository
):
    with pytest.raises(SegzooError) as caught:
        build(model, encoder=encoder, encoder_weights=tag)
    assert no_hub
    assert f"the weights `{tag}` of encoder={encoder} cannot be had" in caught.value.message
    assert "the network is unreachable" in caught.value.message
    assert f"https://huggingface.co/{repository}/resolve/main/model.safe" in caught.value.hint
    assert "encoder_weights=FILE" in caught.value.hint


def test_an_encoder_that_does_not_fit_is_not_blamed_on_its_weights(no_hub):
    with pytest.raises(SegzooError, match="cannot use encoder=densenet121.*dilated"):
        build("smp-deeplabv3", encoder="densenet121", encoder_weights="imagenet")


def test_weights_files_load_without_the_encoders_file_or_a_network(tmp_path, folder_root, no_hub):
    file = tmp_path / "encoder.safetensors"
    save_file(pretrained().state_dict(), file)
    result = segzoo.fit(
        model="smp-linknet",
        model_options={"encoder": LITTLE, "encoder_weights": str(file)},
        data="folder",
        root=str(folder_root),
        epochs=1,
        size=32,
        out=str(tmp_path / "run"),
        progress=False,
    )
    file.unlink()
    loaded = segzoo.load(result.weights)
    assert saved_options(loaded.model) == {
        "encoder": LITTLE,
        "encoder_weights": None,
        "depth": 5,
        "norm": "batchnorm",
    }
    assert loaded.predict(torch.zeros(3, 33, 47, dtype=torch.uint8)).mask.shape == (33, 47)
    assert no_hub == []
