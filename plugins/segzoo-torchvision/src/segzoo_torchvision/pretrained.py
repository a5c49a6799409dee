"""Pretrained weights, by torchvision's tag (downloaded) or from a local file, into a network.

Nothing is unpickled: .pth files are read with ``weights_only=True``.
"""

import contextlib
import http.client
import logging
import pickle
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights

from segzoo.errors import SegzooError, listed, nearest
from segzoo.model.pickled import load_pickled

log = logging.getLogger("segzoo")

State = dict[str, Tensor]

CLASS_LAYERS = (
    *("classifier.4.", "aux_classifier.4."),  # FCN and DeepLabV3
    *("classifier.low_classifier.", "classifier.high_classifier."),  # LR-ASPP
)
AUX = "aux_classifier."
UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)


def read_weights(value: str, architecture: str, option: str) -> State:
    """Read the state dict that an option names: a tag of torchvision's `architecture`, or a file.

    Raises SegzooError for an unknown tag (with the nearest), a download that fails (with the way
    around it), and a file that is missing or is no state dict.
    """
    tags: type[WeightsEnum] = get_model_weights(architecture)
    tag = value.removeprefix(f"{tags.__name__}.").upper()
    if tag in tags.__members__:
        return _download(tags[tag], tag, option)
    path = Path(value).expanduser()
    if path.is_file():
        return _read_file(path)
    if path.suffix in (".pth", ".pt", ".safetensors") or len(path.parts) > 1:
        what = "is a folder" if path.is_dir() else "no such file"
        raise SegzooError(f"{option}={value}: {what}", "give a .safetensors or .pth state dict")
    raise SegzooError(
        f"torchvision has no weights `{value}` for {architecture}",
        f"{nearest(tag, tags.__members__)}there is: {listed(tags.__members__)}; or a local file, "
        f"-o {option}=FILE.safetensors",
    )


def _download(weights: WeightsEnum, tag: str, option: str) -> State:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub says there what it downloads
            return dict(
                weights.get_state_dict(
                    progress=sys.stderr.isatty(),
                    check_hash=True,
                    map_location="cpu",
                    weights_only=True,
                )
            )
    except (*UNREADABLE, http.client.HTTPException) as error:
        raise SegzooError(
            f"{option}={tag} could not be downloaded from {weights.url}: {error}",
            f"fetch that file by other means and give it as -o {option}=FILE, or put it into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}",
        ) from error


def _read_file(path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = load_pickled(path)
    except (*UNREADABLE, SafetensorError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise SegzooError(
            f"weights {path} cannot be read: {' '.join(reason)}",
            "give a .safetensors file, or a .pth file that holds a state dict and nothing else",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        shown = (
            f"a dict of {listed(map(str, state), 5)}" if isinstance(state, dict) else type(state)
        )
        raise SegzooError(f"weights {path}: not a state dict but {shown}", "save the state dict")
    return dict(state)


def load_network(network: nn.Module, state: State, first: str, *, source: str) -> None:
    """Load a whole network's state dict; the classes and the auxiliary head may differ.

    Layers that give the classes stay fresh where the state dict has another number of them, the
    auxiliary head where it has none. `first` names the first convolution, which is adapted.
    Raises SegzooError naming the `source` and a key for another network's weights.
    """
    own = network.state_dict()
    fresh = [
        name
        for name, value in state.items()
        if name.startswith(CLASS_LAYERS) and name in own and value.shape[:1] != own[name].shape[:1]
    ]
    kept = {
        name: value
        for name, value in state.items()
        if name not in fresh and (name in own or not name.startswith(AUX))
    }
    missing, unexpected = _load(network, kept, first, source)
    if unexpected:
        raise _foreign(source, f"it has no `{unexpected[0]}`")
    wrong = [name for name in missing if name not in fresh and not name.startswith(AUX)]
    if wrong:
        raise _foreign(source, f"they lack `{wrong[0]}`")
    if missing:
        log.info("%s: made anew: %s", source, ", ".join(missing))


def load_backbone(network: nn.Module, state: State, first: str, *, source: str) -> None:
    """Load a classifier's state dict (torchvision's keys) into the backbone, without its last part.

    Raises SegzooError naming the `source` and a key for another network's weights.
    """
    mobile = any(name.startswith("features.") for name in state)
    kept = {
        f"backbone.{name.removeprefix('features.')}": value
        for name, value in state.items()
        if not name.startswith("classifier." if mobile else "fc.")
    }
    missing, unexpected = _load(network, kept, first, source)
    if unexpected:
        raise _foreign(source, f"its backbone has no `{unexpected[0].removeprefix('backbone.')}`")
    wrong = [name for name in missing if name.startswith("backbone.")]
    if wrong:
        raise _foreign(source, f"they lack `{wrong[0].removeprefix('backbone.')}`")


def _load(network: nn.Module, state: State, first: str, source: str) -> tuple[list[str], list[str]]:
    """Load what is there; return missing and unexpected keys. Raises SegzooError for a shape."""
    weight = f"{first}.weight"
    if weight in state and state[weight].ndim == 4:
        in_channels = network.get_parameter(weight).shape[1]
        state = {**state, weight: adapt_input(state[weight], in_channels)}
    try:
        return network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise _foreign(source, reason.rstrip(".")) from error


def adapt_input(weight_OIhw: Tensor, in_channels: int) -> Tensor:
    """Adapt a first convolution's weight to other channels, as timm's adapt_input_conv does.

    One channel gets the sum of the filters, so that a grey picture gives what it gave as RGB;
    several get them in turn, scaled so that the response keeps its size.
    """
    channels = weight_OIhw.shape[1]
    if in_channels == channels:
        return weight_OIhw
    if in_channels == 1:
        return weight_OIhw.sum(1, keepdim=True)
    repeated = weight_OIhw.repeat(1, -(-in_channels // channels), 1, 1)[:, :in_channels]
    return repeated * (channels / in_channels)


def _foreign(source: str, reason: str) -> SegzooError:
    return SegzooError(
        f"{source} are not the weights of this network: {reason}",
        "weights are the state dict of the same torchvision network; for those of a classifier "
        "use backbone_weights",
    )
