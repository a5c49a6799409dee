from segzoo import ModelSpec


def segzoo_models() -> list[ModelSpec]:
    raise RuntimeError("cannot read [/etc/models]")
