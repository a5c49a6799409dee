"""Sizes that a weights file names and no memory holds: said before, and in one error."""

import pytest
import torch

import segzoo
from segzoo.compute.device import InPieces
from segzoo.errors import SegzooError
from segzoo.host import memory
from segzoo.host.memory import check_memory, free_memory
from segzoo.inference.segmenter import Segmenter
from segzoo.model.description import WeightsInfo


def segmenter(size, classes=("a", "b")):
    options = {"width": 2, "depth": 2}
    model = segzoo.create_model("unet", num_classes=len(classes), options=options)
    info = WeightsInfo(
        model={
            "identity": "segzoo-unet/unet", "version": "", "options": options,
            "in_channels": 3,
        },
        classes=classes, palette=tuple((i, i, i) for i in range(len(classes))),
        target="labels", ignore_index=255,
        threshold=None, value_range=(0, 255), mean=(0.5,) * 3, std=(0.5,) * 3, size=size,
        data={"identity": "imported", "version": "", "options": {}, "fingerprint": ""},
    )  # fmt: skip
    return Segmenter(model, info, device="cpu")


PICTURE = torch.zeros(3, 32, 32, dtype=torch.uint8)


def test_what_a_large_size_takes_is_refused_where_it_is_not_free(monkeypatch, caplog):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    with pytest.raises(SegzooError, match=r"8192x8192 .* takes 1\.9 GB of memory at least, 1\.0"):
        segmenter((8192, 8192)).predict(PICTURE)
    assert "shown to the network at 8192 x 8192, 67 million pixels" in caplog.text
    caplog.clear()
    segmenter((8192, 8192)).predict(PICTURE, size=32)
    segmenter((32, 32)).predict(PICTURE)
    assert "million pixels" not in caplog.text


def test_evaluate_refuses_such_a_size_too(monkeypatch, caplog):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    large = segmenter((8192, 8192), ("class_0", "class_1", "class_2"))
    with pytest.raises(SegzooError, match=r"8192x8192 .* takes 2\.4 GB of memory at least, 1\.0"):
        segzoo.evaluate(large, data="folder", sample=True)
    assert "shown to the network at 8192 x 8192, 67 million pixels" in caplog.text


@pytest.mark.parametrize("size", [(16, 16), (1024, 1024)])
def test_usual_sizes_pass(size):
    check_memory(size, 3, 2)
    assert (free_memory() or 1) > 0


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), MemoryError()]
)
def test_a_full_cpu_is_said_and_its_batches_go_through_in_pieces(error):
    def forward(images_BCHW):
        if len(images_BCHW) > most:
            raise error
        return images_BCHW

    images_BCHW, most = torch.zeros(4, 1, 2, 2), 1
    assert InPieces(torch.device("cpu"))(forward, images_BCHW).shape == images_BCHW.shape
    most = 0
    with pytest.raises(SegzooError, match="cpu is out of memory with one picture of 2x2"):
        InPieces(torch.device("cpu"))(forward, images_BCHW)


def test_other_errors_of_torch_stay_what_they_are():
    def forward(images_BCHW):
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="^shapes$"):
        InPieces(torch.device("cpu"))(forward, torch.zeros(4, 1, 2, 2))
