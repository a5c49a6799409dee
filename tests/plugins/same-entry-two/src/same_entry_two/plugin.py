from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="same-two",
            summary="one convolution",
            build="same_entry_two.network:build",
            stride=1,
        )
    ]
