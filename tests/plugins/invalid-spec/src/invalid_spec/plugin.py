from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [ModelSpec(name="Big Name", summary="a model", build="invalid_spec.network:build")]
