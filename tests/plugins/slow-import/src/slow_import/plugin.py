import time

from segzoo import ModelSpec

time.sleep(2)


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="slow", summary="one convolution", build="slow_import.network:build", stride=1
        )
    ]
