import torch

from segzoo import ModelSpec

HAS_GPU = torch.cuda.is_available()


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="torch-at-top",
            summary="one convolution",
            build="torch_at_top.network:build",
            stride=1,
        )
    ]
