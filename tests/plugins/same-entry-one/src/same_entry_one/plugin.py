from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="same-one",
            summary="one convolution",
            build="same_entry_one.network:build",
            stride=1,
        )
    ]
