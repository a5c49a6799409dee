from segzoo import LossSpec, ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="twin", summary="one convolution", build="clash_acme.network:build", stride=1
        )
    ]


def segzoo_losses() -> list[LossSpec]:
    return [LossSpec(name="dice", summary="another Dice", build="clash_acme.network:build_loss")]
