"""Models: building one by name, and the wrapper that lets it take pictures of any size."""

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from segzoo.compute.contracts import check_logits, check_loss, described
from segzoo.compute.process_state import unchanged_process
from segzoo.errors import SegzooError
from segzoo.host.memory import memory_told
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options, options_dict, shown
from segzoo.plugins.registry import Entry


class SegmentationModel(nn.Module):
    """A plugin's network that takes any H x W: padded to the stride's multiple, then cropped.

    forward(images_BCHW) gives logits_BKHW at the input's size, or in training the dict of the
    network. Padding repeats the border on the right and at the bottom. The plugin's own module,
    whose state dict is what weights files hold, is `network`.
    """

    def __init__(
        self, network: nn.Module, entry: Entry, in_channels: int, num_classes: int, options: Any
    ) -> None:
        super().__init__()
        self.network = network
        self.entry = entry
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.options = options
        # Only a number counts: a bare nn.Conv2d has a `stride` too, a tuple of another meaning.
        own = getattr(network, "stride", None)
        self.stride: int = own if isinstance(own, int) else entry.spec.stride

    def __repr__(self) -> str:
        """Say what it is in one line; the layers are those of `network`."""
        return (
            f"SegmentationModel({self.entry.identity}, {count_parameters(self):,} parameters, "
            f"{self.in_channels} channels to {self.num_classes} classes, stride {self.stride}; "
            "layers: .network)"
        )

    def forward(self, images_BCHW: Tensor, target_BHW: Tensor | None = None) -> Any:
        """Return logits_BKHW, or in training possibly a dict with `out` (and `aux`, `loss`)."""
        if images_BCHW.shape[1] != self.in_channels:
            raise SegzooError(
                f"{self.entry.owner} was made for {self.in_channels} channels, the picture has "
                f"{images_BCHW.shape[1]}"
            )
        height, width = images_BCHW.shape[-2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            images_BCHW = functional.pad(images_BCHW, (0, right, 0, down), mode="replicate")
        if self.entry.spec.computes_loss and self.training and target_BHW is not None:
            output = self.network(images_BCHW, _repeat_border(target_BHW, down, right))
        else:
            output = self.network(images_BCHW)
        if isinstance(output, Mapping):
            self._check_dict(output)
            return {
                name: self._crop(value, height, width) if name in ("out", "aux") else value
                for name, value in output.items()
            }
        return self._crop(output, height, width)

    def _check_dict(self, output: Mapping[str, Any]) -> None:
        if "out" not in output:
            raise SegzooError(
                f"{self.entry.owner} returned {described(output)}; its contract is logits, or a "
                "dict with the logits as `out`"
            )
        if "loss" in output:
            check_loss(output["loss"], self.entry.owner)

    def _crop(self, logits_BKHW: Tensor, height: int, width: int) -> Tensor:
        padded = (height + -height % self.stride, width + -width % self.stride)
        check_logits(logits_BKHW, self.entry.owner, self.num_classes, padded)
        return logits_BKHW[..., :height, :width]


def _repeat_border(target_BHW: Tensor, down: int, right: int) -> Tensor:
    """Pad a target as the images are padded; torch's own padding does not take integers."""
    height, width = target_BHW.shape[-2:]
    rows = torch.arange(height + down, device=target_BHW.device).clamp(max=height - 1)
    columns = torch.arange(width + right, device=target_BHW.device).clamp(max=width - 1)
    return target_BHW[:, rows][:, :, columns]


def create_model(
    name: str,
    *,
    in_channels: int = 3,
    num_classes: int = 2,
    options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> SegmentationModel:
    """Build a registered model with fresh weights.

    `name` is a short name or ``distribution/name``; `model_options` are the model's own, as typed
    values or strings, and `options` is another name for them. The module takes float images
    B x in_channels x H x W of any size and gives logits B x num_classes x H x W. Raises
    SegzooError for an unknown name or option.
    """
    if options is not None and model_options is not None:
        raise SegzooError(
            "create_model got `options` and `model_options`, which are the same", "give one of them"
        )
    options = model_options if options is None else options
    _check_count("in_channels", in_channels, "3 for colour, 1 for grey")
    _check_count("num_classes", num_classes, "2 for foreground and background")
    entry = get_registry().get("models", name)
    made = make_options(entry.spec.options, options, entry.owner)
    build = entry.resolve("build")
    given = ", ".join(f"{name}={value}" for name, value in (options or {}).items())
    size = f"{in_channels} channels, {num_classes} classes{', ' + given if given else ''}"
    try:
        hint = "give smaller options: `segzoo show` lists them"
        with memory_told(f"{entry.owner} ({size})", hint), unchanged_process():
            network = build(in_channels=in_channels, num_classes=num_classes, options=made)
    except (ValueError, OverflowError) as error:
        raise SegzooError(f"{entry.owner} cannot be built: {error}") from error
    if not isinstance(network, nn.Module):
        raise SegzooError(f"{entry.owner}: build returned {type(network).__name__}, no nn.Module")
    return SegmentationModel(network, entry, in_channels, num_classes, made)


def _check_count(name: str, value: object, usual: str) -> None:
    """Refuse a number of channels or classes that no network has; numpy's integers are numbers."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise SegzooError(
            f"create_model: {name} is {shown(value)}", f"give a whole number from 1 on: {usual}"
        )


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def saved_options(model: SegmentationModel) -> dict[str, Any]:
    """Return the options that build the same network again, downloading and reading nothing.

    They are those that were given, unless the network answers by an attribute `saved_options`.
    Raises SegzooError where that is no dict of options of this model.
    """
    own = getattr(model.network, "saved_options", None)
    if own is None:
        return options_dict(model.options)
    if not isinstance(own, Mapping):
        raise SegzooError(f"{model.entry.owner}: saved_options is {own!r}, not a dict of options")
    made = make_options(model.entry.spec.options, own, f"saved_options of {model.entry.owner}")
    return options_dict(made)


def model_record(model: SegmentationModel) -> dict[str, Any]:
    """Return what a weights file says of its model."""
    return {
        "identity": model.entry.identity,
        "version": model.entry.version,
        "options": saved_options(model),
        "in_channels": model.in_channels,
    }


def numbers_of(model: nn.Module) -> Iterator[tuple[str, bool]]:
    """Yield the names, in the state dict, of what has to be finite numbers for a model to work.

    With each comes whether it is a variance, which has to be none below 0.

    They are the parameters, and what norms have measured. Other buffers may hold anything.
    """
    yield from ((name, False) for name, _ in model.named_parameters(remove_duplicate=False))
    for prefix, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _NormBase) or type(module).__name__ == "FrozenBatchNorm2d":
            yield from (
                (f"{prefix}.{name}" if prefix else name, name == "running_var")
                for name, _ in module.named_buffers(recurse=False)
            )
