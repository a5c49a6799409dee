import json

import segzoo
from segzoo.inference.evaluation import evaluate_weights

PLUGIN = """
from segzoo import DatasetSpec
def segzoo_datasets():
    return [DatasetSpec(name="flow", summary="s", build="acme.d:Flow", classes=("a", "b"))]
"""
STREAM = """
import torch
from segzoo import Sample
class Flow:
    def __init__(self, *, root, split, options):
        self.first = {"train": 0, "val": 10, "test": 20}[split]
    def __iter__(self):
        for index in range(self.first, self.first + 5):
            image = torch.full((3, 16, 16), 40 * (index % 5), dtype=torch.uint8)
            yield Sample(image, (image[0] > 99).to(torch.uint8), str(index))
"""


def test_a_data_set_that_can_only_be_iterated_trains_and_is_scored(install, tmp_path):
    install("acme", PLUGIN, files={"d.py": STREAM})
    result = segzoo.fit(
        model="unet", data="flow", size=16, epochs=4, batch_size=2, recipe="tutorial", lr=1e-2,
        schedule="cosine", model_options={"width": 4, "depth": 2}, workers=0, progress=False,
        out=tmp_path / "run",
    )  # fmt: skip
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] > 0.001
    assert set(result.scores) == {"train", "test"}
    for full_size in (False, True):
        scored = evaluate_weights(result.weights, full_size=full_size, precision="fp32")
        assert scored["scores"]["pixel_accuracy"] > 0
