from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="bolt",
            aliases=("twin",),
            summary="one convolution",
            build="clash_bolt.network:build",
            stride=1,
        )
    ]
