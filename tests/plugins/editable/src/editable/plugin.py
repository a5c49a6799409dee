from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="editable", summary="one convolution", build="editable.network:build", stride=1
        )
    ]
