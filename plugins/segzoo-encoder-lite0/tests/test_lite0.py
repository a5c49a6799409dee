import pytest
import timm
import torch
from helpers import SHARED_DATA
from timm.data import ImageNetInfo  # pyright: ignore[reportPrivateImportUsage]

import segzoo
from segzoo.data.images import read_image
from segzoo.testing import EncoderWeightsConformance
from segzoo_encoder_lite0.weights import load, timm_name

STREET = {"streetcar", "trolleybus", "passenger car", "minibus", "cab", "traffic light", "unicycle"}


class TestLite0(EncoderWeightsConformance):
    weights = "segzoo-encoder-lite0/tf_efficientnet_lite0.imagenet"


def classify(path) -> set[str]:
    """Return the five likeliest classes of a photograph."""
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(load())
    image_CHW = read_image(path).float()[None] / 127.5 - 1
    image_CHW = torch.nn.functional.interpolate(
        image_CHW, (224, 224), mode="bicubic", antialias=True
    )
    with torch.inference_mode():
        likeliest = network(image_CHW)[0].topk(5).indices
    names = ImageNetInfo()
    return {names.index_to_description(int(index)).partition(",")[0] for index in likeliest}


def test_streets_are_taken_for_streets():
    folder = SHARED_DATA / "camvid" / "val"
    if not folder.is_dir():
        pytest.skip("the photographs of CamVid are not here")
    paths = sorted(folder.glob("*.jpg"))[::12]
    right = [path for path in paths if classify(path) & STREET]
    # Chance is about 5 * 7 / 1000 for each.
    assert len(right) >= 0.8 * len(paths)


def test_names_are_mapped_one_to_one():
    names = list(timm.create_model("tf_efficientnet_lite0").state_dict())
    assert list(load()) == names
    assert timm_name("_blocks.0._bn2.bias") == "blocks.0.0.bn2.bias"
    assert timm_name("_blocks.15._project_conv.weight") == "blocks.6.0.conv_pwl.weight"
    with pytest.raises(KeyError):
        timm_name("_blocks.16._bn0.weight")


def test_a_model_gets_them_and_their_statistics_and_says_so_in_its_file(tmp_path):
    result = segzoo.fit(
        model="unet", data="folder", sample=True, size=32, epochs=1, workers=0, precision="fp32",
        model_options={"encoder": "tf_efficientnet_lite0", "width": 4}, lr=0.0, ema=0.0,
        out=tmp_path / "run", progress=False,
    )  # fmt: skip
    segmenter = segzoo.load(result.weights)
    assert segmenter.info.mean == segmenter.info.std == (0.5, 0.5, 0.5)
    assert segmenter.info.model["options"]["encoder_weights"] is None
    stem = segmenter.model.network.get_submodule("encoder").state_dict()["conv_stem.weight"]
    assert torch.equal(stem, load()["conv_stem.weight"])
