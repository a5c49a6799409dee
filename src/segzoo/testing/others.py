"""EncoderWeightsConformance and CommandConformance: the contracts of weights and commands."""

import inspect
import subprocess
import sys
from typing import Any, ClassVar

import torch
from torch import Tensor

from segzoo.plugins.specs import CORE_COMMANDS
from segzoo.testing.base import Conformance, check


class EncoderWeightsConformance(Conformance):
    """Inherit from it and set `weights`: ``weights = "segzoo-foo/encoder.tag"``."""

    kind = "encoder_weights"
    attribute = "weights"
    weights: ClassVar[str] = ""

    def state(self) -> dict[str, Tensor]:
        """Return what `load` returns."""
        return self.entry.resolve("load")()

    @check
    def test_tensors(self) -> None:
        """`load()` returns a state dict of finite tensors, the same every time."""
        one, two = self.state(), self.state()
        if not isinstance(one, dict) or not all(isinstance(v, Tensor) for v in one.values()):
            raise self.fault(f"loads {type(one).__name__}", "return a dict of name -> tensor")
        for name, value in one.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise self.fault(f"holds values in `{name}` that are not finite", "check the file")
            if not torch.equal(value, two[name]):
                raise self.fault(f"loads another `{name}` the second time", "read, do not draw")

    @check
    def test_fits_timm(self) -> None:
        """Every tensor of timm's encoder is there with its shape, but for the classifier."""
        import timm

        spec = self.entry.spec
        try:
            network: Any = timm.create_model(spec.encoder, pretrained=False)
        except RuntimeError as error:
            raise self.fault(
                f"is for the encoder `{spec.encoder}`, which timm does not know",
                "use timm's own name: timm.list_models()",
            ) from error
        head = network.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{name}." for name in ((head,) if isinstance(head, str) else head))
        own, given = network.state_dict(), self.state()
        for name, value in own.items():
            if name.startswith(heads):
                continue
            if name not in given:
                raise self.fault(f"lacks `{name}`", f"map names to those of {spec.encoder}")
            if given[name].shape != value.shape:
                raise self.fault(
                    f"has `{name}` {tuple(given[name].shape)}, timm {tuple(value.shape)}",
                    "map each tensor to the one of the same meaning",
                )
        if unknown := sorted(set(given) - set(own)):
            raise self.fault(f"holds `{unknown[0]}`, which timm's has not", "leave it out")

    @check
    def test_statistics(self) -> None:
        """`mean` and `std` are three numbers each, in the scale 0..1."""
        spec = self.entry.spec
        for name in ("mean", "std"):
            values = getattr(spec, name)
            low = 0.0 if name == "mean" else 1e-3
            if len(values) != 3 or not all(low <= value <= 1 for value in values):
                raise self.fault(f"has {name}={values}", "three numbers of pictures in 0..1")


class CommandConformance(Conformance):
    """Inherit from it and set `command`: ``command = "segzoo-foo/foo"``."""

    kind = "commands"
    attribute = "command"
    command: ClassVar[str] = ""

    @check
    def test_help(self) -> None:
        """`segzoo NAME --help` works in a new process and describes every parameter."""
        result = self.segzoo(self.entry.spec.name, "--help")
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise self.fault(f"fails with --help: {last}", "give its parameters typer's types")
        if not inspect.getdoc(self.entry.resolve("target")):
            raise self.fault("has no docstring", "say in a line what it does; --help prints it")

    @check
    def test_listed(self) -> None:
        """`segzoo --help` lists it, and its name is not one of the core's."""
        name = self.entry.spec.name
        if name in CORE_COMMANDS:
            raise self.fault(f"has the name of the core's command `{name}`", "choose another")
        if name not in self.segzoo("--help").stdout:
            raise self.fault("is not listed by `segzoo --help`", "see `segzoo plugins`")

    @check
    def test_unknown_flag(self) -> None:
        """An unknown flag is refused with exit status 2 and without a traceback."""
        result = self.segzoo(self.entry.spec.name, "--no-such-flag-as-this")
        if result.returncode != 2 or "Traceback" in result.stderr:
            raise self.fault(
                f"answers an unknown flag with status {result.returncode}",
                "let typer parse the parameters",
            )

    def segzoo(self, *words: str) -> Any:
        """Run the command line in a new process."""
        return subprocess.run(
            [sys.executable, "-m", "segzoo", *words], capture_output=True, text=True
        )
