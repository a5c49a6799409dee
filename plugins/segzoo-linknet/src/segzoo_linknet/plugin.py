"""What segzoo-linknet provides; light, the network is in `segzoo_linknet.network`."""

from dataclasses import dataclass

from segzoo import ModelSpec, option


@dataclass(frozen=True, kw_only=True)
class LinkNetOptions:
    """Options of `linknet`."""

    encoder: str | None = option(
        None, "network of timm in the place of LinkNet's own encoder; resnet18 is the paper's"
    )
    encoder_weights: str | None = option(
        "imagenet",
        "pretrained weights of `encoder`: imagenet, a tag of timm's, a file, or none",
        external=True,
    )
    width: int = option(
        64, "channels of the first encoder block; the others have 2, 4 and 8 times as many; an "
        "encoder has its own",
        minimum=4,
    )  # fmt: skip


def segzoo_models() -> list[ModelSpec]:
    """Return `linknet`."""
    return [
        ModelSpec(
            name="linknet",
            summary="LinkNet: added skips, its own residual encoder or one of timm's",
            build="segzoo_linknet.network:build_linknet",
            options=LinkNetOptions,
            aliases=("link-net",),
            stride=64,
            paper="https://arxiv.org/abs/1707.03718",
            licence="Apache-2.0",
        )
    ]
