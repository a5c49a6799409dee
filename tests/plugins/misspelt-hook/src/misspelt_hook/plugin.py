from segzoo import ModelSpec


def segzoo_modles() -> list[ModelSpec]:
    return []
