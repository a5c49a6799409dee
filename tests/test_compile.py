"""First-party networks are one graph each, so that --compile leaves no step in Python."""

import pytest
import torch

from segzoo import create_model

LITE0 = {"encoder": "tf_efficientnet_lite0", "encoder_weights": "none"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("linknet", {}), ("fcn8s", {}), ("unet", LITE0)],
)
def test_a_network_is_one_graph(name, options):
    graphs = []

    def counting(graph, _):
        graphs.append(graph)
        return graph.forward

    model = create_model(name, in_channels=3, num_classes=2, options=options).train()
    images, labels = torch.rand(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.long)
    torch.compile(model, backend=counting, fullgraph=True)(images, labels)
    assert len(graphs) == 1
    torch._dynamo.reset()
