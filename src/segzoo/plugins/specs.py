"""What a plugin declares: frozen specs that name their heavy code by reference ("module:attr").

Nothing here imports torch, torchvision, timm or numpy, so that listing plugins stays instant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from segzoo.plugins.options import options_fault

TargetKind = Literal["labels", "alpha"]
"""`labels`: class ids (255 = ignore unless said otherwise); `alpha`: soft foreground 0..255."""

RGB = tuple[int, int, int]

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What all kinds have in common: a short name, one line about it, its code by reference.

    `exceptions` declares the checks of `segzoo.testing` that this part cannot pass, each with its
    reason: ``{"export": "the matcher runs on the host"}``. They are printed, not hidden.
    """

    kind: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ("build",)

    name: str
    summary: str
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def fault(self) -> str:
        """Say what is wrong with this spec, in one line; ``""`` when it conforms."""
        who = f"{type(self).__name__} {self.name!r}"
        for entry in fields(self):
            if entry.type in (str, "str") and not isinstance(getattr(self, entry.name), str):
                return f"{who}: {entry.name} must be a string"
        if not NAME.fullmatch(self.name):
            return f"{who}: a name is lower-case letters, digits, `-`, `_` and `.`"
        if not self.summary.strip():
            return f"{who}: the summary is empty"
        if not _is_text_mapping(self.exceptions):
            return f'{who}: exceptions must map checks to reasons, as in {{"export": "why"}}'
        for reference in self.references:
            value = getattr(self, reference)
            if value and not REFERENCE.fullmatch(value):
                return f'{who}: {reference} must be a reference "module:attr", not {value!r}'
        return options_fault(getattr(self, "options", None))


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """An architecture: ``build(*, in_channels, num_classes, options) -> nn.Module``.

    The module's forward takes images_BCHW (float, normalised) with H and W multiples of `stride`
    and returns logits_BKHW at the same size, or in training ``{"out": ..., "aux": ...}``. With
    `computes_loss`, forward takes (images, target) in training and returns
    ``{"out": ..., "loss": ...}``. A `stride` attribute on the module overrides the spec's, for
    a stride that depends on options. A `saved_options` attribute, a dict, replaces the given
    options in weights files: what builds the same network again without any other file, where
    the given ones name pretrained weights or a configuration to read.
    """

    kind: ClassVar[str] = "models"

    build: str
    options: type | None = None
    aliases: tuple[str, ...] = ()
    stride: int = 32
    paper: str = ""
    licence: str = ""
    computes_loss: bool = False

    def fault(self) -> str:
        """Say what is wrong with this spec, in one line; ``""`` when it conforms."""
        if not isinstance(self.stride, int) or self.stride < 1:
            return f"ModelSpec {self.name!r}: stride must be a whole number >= 1"
        # They are looked through for every name that a user gives, also another plugin's.
        if not isinstance(self.aliases, (tuple, list)) or not all(
            isinstance(alias, str) and NAME.fullmatch(alias) for alias in self.aliases
        ):
            return f"ModelSpec {self.name!r}: aliases must be a tuple of names"
        return super().fault()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set: ``build(*, root, split, options)`` -> a map-style dataset of `Sample`.

    `root` is a pathlib.Path or None, `split` one of train, val, test. `sample` names a function
    ``sample(root)`` that writes a tiny tree in the real format. What depends on options or on
    the disk the built data set answers by attributes of the same names (`classes`, `palette`,
    `target`, `ignore_index`), and beside them `threshold` and `value_range` (see DataInfo).
    `target` is one kind, or a tuple of the possible kinds with the default first.
    """

    kind: ClassVar[str] = "datasets"
    references: ClassVar[tuple[str, ...]] = ("build", "sample")

    build: str
    classes: tuple[str, ...] = ()
    palette: tuple[RGB, ...] = ()
    target: TargetKind | tuple[TargetKind, ...] = "labels"
    ignore_index: int | None = 255
    sample: str = ""
    options: type | None = None
    homepage: str = ""
    licence: str = ""

    def fault(self) -> str:
        """Say what is wrong with this spec, in one line; ``""`` when it conforms."""
        if self.palette and self.classes and len(self.palette) != len(self.classes):
            return (
                f"DatasetSpec {self.name!r}: {len(self.palette)} colours in the palette "
                f"for {len(self.classes)} classes"
            )
        return _target_fault(self, self.target) or super().fault()


@dataclass(frozen=True, kw_only=True)
class LossSpec(Spec):
    """A loss: ``build(*, classes, ignore_index, options)`` -> callable(logits, target) -> scalar.

    logits_BKHW are float; the target is labels_BHW (int64, `ignore_index` where unlabelled) or
    alpha_BHW (float, 0..1), whichever of `targets` the run has.
    """

    kind: ClassVar[str] = "losses"

    build: str
    targets: TargetKind | tuple[TargetKind, ...] = "labels"
    options: type | None = None

    def fault(self) -> str:
        """Say what is wrong with this spec, in one line; ``""`` when it conforms."""
        return _target_fault(self, self.targets) or super().fault()


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A metric: ``build(*, classes, ignore_index, options)`` -> object with update and compute.

    ``update(logits_BKHW, target_BHW)`` takes what a loss takes; ``compute()`` returns a float, or
    a mapping of result names to floats where one pass gives several (mean IoU, IoU per class).
    """

    kind: ClassVar[str] = "metrics"

    build: str
    targets: TargetKind | tuple[TargetKind, ...] = "labels"
    higher_is_better: bool = True
    options: type | None = None

    def fault(self) -> str:
        """Say what is wrong with this spec, in one line; ``""`` when it conforms."""
        return _target_fault(self, self.targets) or super().fault()


@dataclass(frozen=True, kw_only=True)
class EncoderWeightsSpec(Spec):
    """Pretrained weights of an encoder that a package carries: ``load() -> state dict``.

    `encoder` is timm's name of the network, `tag` names the weights, and `mean` and `std` are
    what its pictures (0..1) are normalised with. The name is ``encoder.tag``.
    """

    kind: ClassVar[str] = "encoder_weights"
    references: ClassVar[tuple[str, ...]] = ("load",)

    name: str = ""
    summary: str = "pretrained encoder weights"
    encoder: str
    tag: str
    load: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"{self.encoder}.{self.tag}".lower())


CORE_COMMANDS = (
    "list", "show", "plugins", "train", "evaluate", "predict", "inspect", "import", "compare",
    "check", "doctor", "matrix", "data", "cache", "new",
)  # fmt: skip
"""Names that no plugin's command can have."""


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A command ``segzoo NAME``: `target` is a function with typer parameters."""

    kind: ClassVar[str] = "commands"
    references: ClassVar[tuple[str, ...]] = ("target",)

    target: str


KINDS: dict[str, type[Spec]] = {
    spec.kind: spec
    for spec in (ModelSpec, DatasetSpec, LossSpec, MetricSpec, EncoderWeightsSpec, CommandSpec)
}


def target_kinds(value: Any) -> tuple[str, ...]:
    """Return a spec's `target` or `targets` as a tuple, whichever way it was written."""
    return (value,) if isinstance(value, str) else tuple(value)


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(text, str) and text.strip() for pair in value.items() for text in pair
    )


def _target_fault(spec: Spec, value: Any) -> str:
    kinds = target_kinds(value) if isinstance(value, (str, tuple, list)) else ()
    if kinds and set(kinds) <= {"labels", "alpha"}:
        return ""
    who = f"{type(spec).__name__} {spec.name!r}"
    return f"{who}: the target is `labels`, `alpha` or a tuple of both, not {value!r}"
