"""Encoders by name, and their pretrained weights by tag or file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import timm
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from segzoo import SegzooError
from segzoo.errors import listed, nearest
from segzoo.model.encoders import packaged_weights
from segzoo.plugins.registry import Entry
from segzoo_smp.options import EncoderOptions

PREFIX = "tu-"  # smp's for encoders of timm
OWN_COPY = "timm-"  # smp's for those that it has copied from timm
ANY_WEIGHTS = ("default", "imagenet")  # for timm: those of the name's tag, or timm's first
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder that exists: what smp is asked for.

    `weights` is what smp takes (a tag, True for those that timm's name says, or None), `tag` what
    the user gave, `source` where they come from. `file` is a local file to load instead, `packaged`
    the weights of an installed package; `depth` is the option's. `mean` and `std` are those of the
    pictures that the weights know, in 0..1; they are empty without weights, and for smp's own
    encoders, which do not say them. `fixed_size` is the side of the only pictures that timm makes
    the encoder for, or 0 for any.
    """

    name: str
    weights: str | Literal[True] | None = None
    tag: str = ""
    source: str = ""
    file: Path | None = None
    packaged: Entry | None = None
    depth: int = 5
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fixed_size: int = 0


def find_encoder(owner: str, options: EncoderOptions) -> Encoder:
    """Return the encoder that the options name, with the weights that they ask for.

    Raises SegzooError with the nearest name or tag for one that does not exist, and for a file
    that is not there. Nothing is read or downloaded.
    """
    name, weights = options.encoder, options.encoder_weights
    file = _as_file(owner, weights)
    tag = "" if file or weights is None else weights
    packaged = packaged_weights(_timm_name(name), tag, owner) if tag else None
    tag = "" if packaged else tag
    if name in smp_encoders:
        known = smp_encoders[name]["pretrained_settings"]
        if tag and tag not in known:
            raise _unknown_tag(owner, name, tag, list(known))
        encoder = Encoder(
            name=name,
            weights=tag or None,
            source=_hub_file(known[tag]["repo_id"]) if tag else "",
        )
    else:
        encoder = _find_timm(owner, name, tag)
    if weights is None:
        encoder = replace(encoder, mean=(), std=())
    if packaged:
        spec = packaged.spec
        encoder = replace(encoder, packaged=packaged, mean=tuple(spec.mean), std=tuple(spec.std))
    return replace(encoder, tag=tag, file=file, depth=options.depth)


def _timm_name(name: str) -> str:
    return name.removeprefix(PREFIX).removeprefix(OWN_COPY)


def _find_timm(owner: str, name: str, tag: str) -> Encoder:
    network, _, own_tag = name.removeprefix(PREFIX).partition(".")
    if not name.startswith(PREFIX) or not timm.is_model(network):
        raise _unknown_encoder(owner, name)
    parts = (full.partition(".") for full in timm.list_pretrained(f"{network}*"))
    known = [known_tag for other, _, known_tag in parts if other == network]
    if own_tag and own_tag not in known:
        raise _unknown_tag(owner, PREFIX + network, own_tag, known, option="encoder")
    if tag and not (known and tag in (*known, *ANY_WEIGHTS)):
        raise _unknown_tag(owner, PREFIX + network, tag, known)
    # The tag decides over details of the network too (a transformer's head): the name keeps it.
    own_tag = tag if tag in known else own_tag
    full = f"{network}.{own_tag}" if own_tag else network
    settings = timm.get_pretrained_cfg(full)
    assert settings is not None, f"timm has no settings for {full}"
    return Encoder(
        name=PREFIX + full,
        weights=True if tag else None,
        source=_hub_file(settings.hf_hub_id) if settings.hf_hub_id else str(settings.url),
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        fixed_size=settings.input_size[-1] if settings.fixed_input_size else 0,
    )


def _hub_file(repository: str) -> str:
    return f"https://huggingface.co/{repository}/resolve/main/model.safetensors"


def _as_file(owner: str, weights: str | None) -> Path | None:
    """Return a file that `encoder_weights` names; what looks like one and is none is an error."""
    if weights is None:
        return None
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise SegzooError(
            f"{owner}: encoder_weights={weights}: no such file",
            "give a .safetensors or .pth file, a tag such as imagenet, or none",
        )
    return None


def _unknown_encoder(owner: str, name: str) -> SegzooError:
    known = [*smp_encoders, *(PREFIX + network for network in timm.list_models())]
    near = nearest(name.partition(".")[0], known)
    own = "" if near else f": {listed(smp_encoders, 100)};"  # A hundred names would hide the guess.
    return SegzooError(
        f"{owner} knows no encoder `{name}` (option encoder)",
        f"{near}it takes smp's own{own} and those of timm as tu-NAME, such as tu-convnext_tiny",
    )


def _unknown_tag(
    owner: str, name: str, tag: str, known: list[str], option: str = "encoder_weights"
) -> SegzooError:
    return SegzooError(
        f"{owner}: the encoder {name} has no pretrained weights `{tag}` (option {option})",
        f"{nearest(tag, known)}it has: {listed(known)}; or give encoder_weights=FILE",
    )
