import torch

from segzoo_tiny.network import build
from segzoo_tiny.plugin import TinyOptions


def test_logits_have_the_input_size():
    model = build(in_channels=1, num_classes=5, options=TinyOptions(width=4))
    assert model(torch.zeros(2, 1, 7, 11)).shape == (2, 5, 7, 11)
