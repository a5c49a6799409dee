"""What segzoo-tiny provides; light, the network is in `segzoo_tiny.network`."""

from dataclasses import dataclass

from segzoo import ModelSpec, option


@dataclass(frozen=True, kw_only=True)
class TinyOptions:
    """Options of `tiny`."""

    width: int = option(16, "channels of the hidden layers", minimum=1)


def segzoo_models() -> list[ModelSpec]:
    """Return `tiny`."""
    return [
        ModelSpec(
            name="tiny",
            summary="three dilated convolutions",
            build="segzoo_tiny.network:build",
            options=TinyOptions,
            stride=1,
            licence="Apache-2.0",
        )
    ]
