"""The contract of models, for every architecture in a tiny configuration."""

import json
from pathlib import Path

from segzoo.testing import ModelConformance

TINY = json.loads(Path(__file__).with_name("tiny.json").read_text())


class TestSegformer(ModelConformance):
    model = "segzoo-transformers/hf-segformer"
    options = {"config": json.dumps(TINY["segformer"])}


class TestUperNetOnConvNext(ModelConformance):
    model = "segzoo-transformers/hf-upernet"
    options = {"config": json.dumps(TINY["upernet-convnext"])}


class TestUperNetOnSwin(ModelConformance):
    model = "segzoo-transformers/hf-upernet"
    options = {"config": json.dumps(TINY["upernet-swin"])}


class TestBeit(ModelConformance):
    model = "segzoo-transformers/hf-beit"
    options = {"config": json.dumps(TINY["beit"])}


class TestData2Vec(ModelConformance):
    model = "segzoo-transformers/hf-data2vec"
    options = {"config": json.dumps(TINY["data2vec"])}


class TestDPT(ModelConformance):
    model = "segzoo-transformers/hf-dpt"
    options = {"config": json.dumps(TINY["dpt"])}


class TestMobileViT(ModelConformance):
    model = "segzoo-transformers/hf-mobilevit"
    options = {"config": json.dumps(TINY["mobilevit"])}


class TestMobileViTV2(ModelConformance):
    model = "segzoo-transformers/hf-mobilevit-v2"
    options = {"config": json.dumps(TINY["mobilevit-v2"])}


class TestMobileNetV2(ModelConformance):
    model = "segzoo-transformers/hf-mobilenet-v2"
    options = {"config": json.dumps(TINY["mobilenet-v2"])}


class TestMaskFormer(ModelConformance):
    model = "segzoo-transformers/hf-maskformer"
    options = {"config": json.dumps(TINY["maskformer"])}


class TestMask2Former(ModelConformance):
    model = "segzoo-transformers/hf-mask2former"
    options = {"config": json.dumps(TINY["mask2former"])}


class TestEomt(ModelConformance):
    model = "segzoo-transformers/hf-eomt"
    options = {"config": json.dumps(TINY["eomt"])}
