"""Encoders of timm for the networks of plugins: features at several strides, pretrained or not.

Shapes: B batch, C channels, H height, W width; a reduction r is a feature map of H/r x W/r.
"""

import contextlib
import dataclasses
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from segzoo.errors import SegzooError, listed, nearest
from segzoo.model.pickled import load_pickled
from segzoo.model.tensors import load_tensors
from segzoo.plugins.isolation import one_line
from segzoo.plugins.manager import get_registry
from segzoo.plugins.packages import FIRST_PARTY, install_command
from segzoo.plugins.registry import Entry

EXAMPLES = ("tf_efficientnet_lite0", "resnet18", "resnet34", "mobilenetv3_large_100")
FILES = (".safetensors", ".pth", ".pt", ".bin")
Statistics = tuple[float, ...]


class Encoder(NamedTuple):
    """A timm network and its features, finest first; mean and std are those of its weights.

    `network(images_BCHW)` returns a list of feature maps with these `channels` and `reductions`.
    `mean` and `std` have a number a channel of the picture, in 0..1; None without weights.
    """

    network: nn.Module
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    mean: Statistics | None
    std: Statistics | None


class _Weights(NamedTuple):
    """Tensors by timm's names (None: timm downloads them), and the statistics of their pictures."""

    tensors: dict[str, Tensor] | None
    mean: Statistics
    std: Statistics


def make_encoder(
    name: str,
    weights: str | None,
    *,
    in_channels: int,
    owner: str,
    finest: int = 2,
    coarsest: int = 32,
) -> Encoder:
    """Build timm's network `name` up to its features at the reductions `finest` to `coarsest`.

    `weights` is None, a tag (``imagenet``, or one of timm's) that an installed package carries or
    that timm downloads, or a file of tensors (safetensors, or a .pth read with weights_only) by
    timm's names, of the whole network or under ``encoder.``. The first convolution is adapted to
    other than 3 channels as timm does it. Raises SegzooError naming `owner` for an unknown
    network, for one without a pyramid of features, and for weights that cannot be had.
    """
    indices = _levels(name, finest, coarsest, owner)
    how: dict[str, Any] = {"in_chans": in_channels, "out_indices": indices}
    if weights is None:
        return _checked(_create(name, owner, **how), name, owner, in_channels)
    found = _find_weights(name, weights, owner)
    if found.tensors is None:
        try:
            network = _create(_tagged(name, weights), owner, pretrained=True, **how)
        except SegzooError:
            raise
        except Exception as error:
            raise SegzooError(
                f"{owner}: the weights `{weights}` of encoder={name} cannot be downloaded: "
                f"{' '.join(str(error).split())[:200]}",
                f"give a file, encoder_weights=FILE, or encoder_weights=none; {_packaged(name)}",
            ) from error
    else:
        _check_fit(found.tensors, name, indices, owner, weights)
        overlay = {"state_dict": found.tensors, "url": "", "hf_hub_id": None}
        with _quiet_timm():
            network = _create(name, owner, pretrained=True, pretrained_cfg_overlay=overlay, **how)
    encoder = _checked(network, name, owner, in_channels)
    statistics = (_per_channel(values, in_channels) for values in (found.mean, found.std))
    return encoder._replace(**dict(zip(("mean", "std"), statistics, strict=True)))


class OverEncoder(nn.Module):
    """Base of a network over an encoder of timm: `encoder`, and what the core reads of it.

    `options` is a dataclass with `encoder` and `encoder_weights`. `channels` and `reductions` are
    those of the encoder's features, finest first; `mean` and `std` those of the pictures that its
    weights were trained on. Raises what `make_encoder` raises.
    """

    def __init__(
        self, options: Any, *, in_channels: int, owner: str, finest: int = 2, coarsest: int = 32
    ) -> None:
        super().__init__()
        made = make_encoder(
            options.encoder,
            options.encoder_weights,
            in_channels=in_channels,
            owner=owner,
            finest=finest,
            coarsest=coarsest,
        )
        self.encoder = made.network
        self.channels, self.reductions = made.channels, made.reductions
        self.stride = made.reductions[-1]
        self.mean, self.std = made.mean, made.std
        self.pretrained = "encoder" if made.mean else ""
        self.saved_options = dataclasses.asdict(options) | {"encoder_weights": None}


def logit_gain(weights: int, num_classes: int) -> float:
    """Return what to multiply logits by that are sums of so few `weights` times a feature.

    Adam moves a weight by about the learning rate a step, whatever its gradient, so the number of
    weights behind a logit says how fast it can grow. More classes need larger logits to be told
    apart. So this brings it to that of 144 weights for two classes, and of 144 more for every
    doubling of the classes: more than it needs makes a network less exact. With the 144 weights
    that `unet` has over EfficientNet-Lite0, a gain of 4 instead of none brought the mean IoU on the
    11 classes of CamVid at 120 x 160 from 0.56 to 0.61 in 12 epochs; on portraits at 256 x 256, of
    2 classes, it took the IoU from 0.941 to 0.936, and the boundary IoU from 0.69 to 0.68.
    """
    return max(1.0, 144 * math.log2(max(num_classes, 2)) / weights)


def _levels(name: str, finest: int, coarsest: int, owner: str) -> tuple[int, ...]:
    """Return the indices of timm's features at these reductions, where they exist."""
    with torch.device("meta"):  # which allocates nothing
        reductions = list(_create(name, owner).feature_info.reduction())
    if sorted(set(reductions)) != reductions or any(r & (r - 1) for r in reductions):
        raise _unsuitable(name, owner, f"its features have reductions {reductions}")
    kept = tuple(index for index, r in enumerate(reductions) if finest <= r <= coarsest)
    if not kept:
        raise _unsuitable(name, owner, f"its features have reductions {reductions}")
    return kept


def _create(name: str, owner: str, *, pretrained: bool = False, **how: Any) -> Any:
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise SegzooError(
            f"{owner}: timm has no network `{name}` for encoder={name}",
            f"{nearest(name, known)}for example: {listed(EXAMPLES)}; `timm.list_models()` has all",
        )
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, **how)
    except (RuntimeError, AttributeError, NotImplementedError, AssertionError) as error:
        if pretrained:
            raise
        raise _unsuitable(name, owner, f"{type(error).__name__}: {error}") from error


def _checked(network: Any, name: str, owner: str, in_channels: int) -> Encoder:
    """Run the network on a small oblong picture, and describe what it gives."""
    info = network.feature_info
    channels, reductions = tuple(info.channels()), tuple(info.reduction())
    height, width = 2 * reductions[-1], 3 * reductions[-1]
    try:
        with torch.enable_grad():
            maps = network.eval()(torch.zeros(1, in_channels, height, width))
    except Exception as error:
        raise _unsuitable(name, owner, f"{type(error).__name__}: {error}") from error
    for map_BCHW, count, r in zip(maps, channels, reductions, strict=True):
        if map_BCHW.shape != (1, count, height // r, width // r):
            raise _unsuitable(name, owner, f"it gives features {tuple(map_BCHW.shape)}")
    _freeze_idle(network, maps)
    return Encoder(network.train(), channels, reductions, None, None)


def _freeze_idle(network: nn.Module, maps: list[Tensor]) -> None:
    """Let blocks below the coarsest features, which timm keeps, require no gradient."""
    parameters = dict(network.named_parameters())
    total = torch.stack([map_BCHW.sum() for map_BCHW in maps]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


def _check_fit(
    tensors: dict[str, Tensor], name: str, indices: tuple[int, ...], owner: str, where: str
) -> None:
    """Refuse tensors that would leave a part of the encoder at random, naming the first one.

    timm writes `stages_0` for `stages.0` where it flattens a network into its features. Weights
    are those for RGB; timm adapts the first convolution to other channels.
    """
    given = {re.sub("[._]", "", key): value for key, value in tensors.items()}
    with torch.device("meta"):
        network = _create(name, owner, out_indices=indices)
    for key, value in network.state_dict().items():
        there = given.get(re.sub("[._]", "", key))
        if key.endswith("num_batches_tracked") or (
            there is not None and there.shape == value.shape
        ):
            continue
        came = "nothing" if there is None else f"a tensor {tuple(there.shape)}"
        raise SegzooError(
            f"{owner}: encoder_weights={where} do not fit encoder={name}: for `{key}` "
            f"{tuple(value.shape)} there is {came}",
            "the names must be those of timm's network, for RGB",
        )


@contextlib.contextmanager
def _quiet_timm() -> Iterator[None]:
    """Leave out timm's notice that the classifier's tensors are not used."""
    log = logging.getLogger("timm")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def packaged_weights(name: str, weights: str, owner: str) -> Entry | None:
    """Return the weights that an installed package carries for timm's network, or None.

    `weights` is a tag or the full name. Raises SegzooError where several packages have them.
    """
    entries = [
        entry
        for entry in get_registry().all("encoder_weights")
        if entry.spec.encoder == name
        and weights in (entry.spec.tag, entry.spec.name, entry.identity)
    ]
    if len(entries) > 1:
        raise SegzooError(
            f"{owner}: encoder_weights={weights} of encoder={name} come with several packages",
            f"say which: {listed(entry.identity for entry in entries)}",
        )
    return entries[0] if entries else None


def _find_weights(name: str, weights: str, owner: str) -> _Weights:
    """Return the weights of a file or an installed package, or say that timm has this tag."""
    if weights.endswith(FILES) or Path(weights).is_file():
        return _Weights(_read(Path(weights), owner), *_statistics(name))
    if packaged := packaged_weights(name, weights, owner):
        spec = packaged.spec
        return _Weights(dict(packaged.resolve("load")()), tuple(spec.mean), tuple(spec.std))
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if weights != "imagenet" and weights not in tags:
        raise SegzooError(
            f"{owner}: encoder={name} has no weights `{weights}`",
            f"{nearest(weights, tags)}give imagenet, none, a file, or one of: {listed(tags)}; "
            f"{_packaged(name)}",
        )
    return _Weights(None, *_statistics(_tagged(name, weights)))


def _statistics(name: str) -> tuple[Statistics, Statistics]:
    """Return timm's mean and std for a network's weights, in 0..1."""
    config = timm.get_pretrained_cfg(name)
    return (tuple(config.mean), tuple(config.std)) if config else ((0.5,) * 3, (0.5,) * 3)


def _tagged(name: str, weights: str) -> str:
    """Return timm's name with the tag; `imagenet` is what timm itself would choose."""
    return name if weights == "imagenet" or "." in name else f"{name}.{weights}"


def _read(path: Path, owner: str) -> dict[str, Tensor]:
    """Read tensors from a file without running any code in it."""
    if not path.is_file():
        raise SegzooError(
            f"{owner}: encoder_weights={path}: no such file", "give a path, a tag, or none"
        )
    try:
        if path.suffix == ".safetensors":
            values = load_tensors(path)
        else:
            values = load_pickled(path)
    except Exception as error:
        raise SegzooError(
            f"{owner}: encoder_weights={path} cannot be read: {one_line(error)[:300]}",
            "give safetensors, or a state dict saved by torch.save",
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(values, dict) and isinstance(values.get(wrapper), dict):
            values = values[wrapper]
    if not isinstance(values, dict) or not all(isinstance(v, Tensor) for v in values.values()):
        raise SegzooError(f"{owner}: encoder_weights={path} holds no state dict")
    for prefix in ("encoder.",):
        inside = {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
        if inside:
            return inside
    return values


def _per_channel(values: Statistics | None, channels: int) -> Statistics | None:
    """Return a number a channel: the three of RGB, else their mean for each."""
    if values is None or len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def _packaged(name: str) -> str:
    """Say which package carries the weights, or for which encoders there are any installed."""
    if name in FIRST_PARTY:
        return f"{install_command(FIRST_PARTY[name])} brings imagenet"
    entries = get_registry().all("encoder_weights")
    there = [f"{e.spec.encoder} ({e.distribution})" for e in entries]
    return f"packages with weights are installed for: {listed(there)}"


def _unsuitable(name: str, owner: str, why: str) -> SegzooError:
    return SegzooError(
        f"{owner} cannot use encoder={name}: {' '.join(why.split())[:200]}",
        "it needs features at halved sizes of pictures of any size, as "
        f"{listed(EXAMPLES)} have; vision transformers fit the models of segzoo-smp and "
        "segzoo-transformers",
    )
