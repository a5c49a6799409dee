from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    return [ModelSpec(name="markup", summary="red[/red]", build="bad_markup.network:build")]
