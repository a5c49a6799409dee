"""ModelConformance: the contract of an architecture, check by check.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import contextlib
import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from segzoo.errors import SegzooError
from segzoo.losses.pixelwise import CrossEntropy
from segzoo.model.network import SegmentationModel, create_model
from segzoo.testing.base import Conformance, ConformanceError, check
from segzoo.testing.reader import logits_of_new_process
from segzoo.testing.state import ADVICE, captured_output, changed_state, global_state
from segzoo.testing.training import Training, bright_boxes, pictures, train_a_little
from segzoo.train.step import loss_of

SIDE = 64
ADVICE_OF = "see `Models` in the author's guide"


class ModelConformance(Conformance):
    """Inherit from it and set `model`; `options` may make the network small enough to test.

    class TestFoo(ModelConformance):
        model = "segzoo-foo/foo"
        options = {"width": 8}
    """

    kind = "models"
    attribute = "model"
    model: ClassVar[str] = ""
    _kept: ClassVar[dict[Any, Any]] = {}

    def build(self, in_channels: int = 3, num_classes: int = 2) -> SegmentationModel:
        """Build the model afresh, from seed 0 on."""
        torch.manual_seed(0)
        try:
            return create_model(
                self.entry.identity,
                in_channels=in_channels,
                num_classes=num_classes,
                options=self.options,
            )
        except SegzooError:
            raise
        except Exception as error:
            raise self.fault(
                f"cannot be built for {in_channels} channels and {num_classes} classes: "
                f"{type(error).__name__}: {error}",
                "build(*, in_channels, num_classes, options) must take any number of either",
            ) from error

    def kept(self, what: str, make: Any) -> Any:
        """Return what `make` gives, made once per class; checks must not change it."""
        key = (type(self), self.entry.identity, what)
        if key not in self._kept:
            for old in [k for k in self._kept if k[0] is not type(self)]:
                del self._kept[old]  # one class's networks in memory at a time
            self._kept[key] = make()
        return self._kept[key]

    def network(self) -> SegmentationModel:
        """Return the model for 3 channels and 2 classes, in eval mode; not to be changed."""
        return self.kept("network", self.build).eval()

    def training(self) -> Training:
        """Return what a short training of a copy gave."""
        return self.kept("training", lambda: train_a_little(self.build(), self.side()))

    def side(self) -> int:
        """Return the side of the checks' pictures: the stride's multiple nearest above 64."""
        stride = self.network().stride
        return -(-SIDE // stride) * stride

    def run(self, model: SegmentationModel, images_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW in inference, or the error of this part with the shape."""
        try:
            with torch.inference_mode():
                output = model(images_BCHW)
        except Exception as error:
            raise self.fault(
                f"fails on a picture B x C x H x W = {tuple(images_BCHW.shape)} in eval mode: "
                f"{type(error).__name__}: {error}",
                f"forward must take any H and W that are multiples of the stride {model.stride}; "
                "raise `stride` where the network needs more",
            ) from error
        if not isinstance(output, Tensor):
            raise self.fault(
                f"returns {type(output).__name__} in eval mode",
                "return the logits alone in eval mode, a dict in training at most",
            )
        return output

    @check
    def test_sizes(self) -> None:
        """Pictures of even, odd, tiny and oblong sizes give finite logits of their own size."""
        model = self.network()
        for height, width in ((SIDE, SIDE), (37, 51), (1, 1), (5, 8), (24, 3 * SIDE)):
            logits_BKHW = self.run(model, pictures(2, 3, height, width))
            if tuple(logits_BKHW.shape) != (2, 2, height, width):
                raise self.fault(
                    f"gives logits {tuple(logits_BKHW.shape)} for 2 pictures of {height} x {width}",
                    f"the contract is 2 x num_classes x {height} x {width}",
                )
            if not logits_BKHW.isfinite().all():
                raise self.fault(
                    f"gives logits that are not finite for {height} x {width}",
                    "see what overflows",
                )

    @check
    def test_logits(self) -> None:
        """The output is logits, not probabilities, and the pictures are left as they were."""
        images_BCHW = pictures(2, 3, self.side(), self.side())
        given = images_BCHW.clone()
        logits_BKHW = self.run(self.network(), images_BCHW)
        sums_BHW = logits_BKHW.sum(1)
        if logits_BKHW.min() >= 0 and torch.allclose(sums_BHW, torch.ones_like(sums_BHW)):
            raise self.fault(
                "gives probabilities, which sum to 1 over the classes",
                "return what goes into the softmax; losses and `predict` apply it",
            )
        if not torch.equal(given, images_BCHW):
            raise self.fault("changes its pictures in place", "copy before writing in place")

    @check
    def test_channels(self) -> None:
        """The network is built for 1, 3 and 4 channels and for 2 and 21 classes."""
        for in_channels, num_classes in ((1, 2), (4, 21)):
            model = self.build(in_channels, num_classes).eval()
            logits_BKHW = self.run(model, pictures(1, in_channels, SIDE, SIDE))
            if logits_BKHW.shape[1] != num_classes:
                raise self.fault(
                    f"gives {logits_BKHW.shape[1]} channels for {num_classes} classes",
                    "the last layer has num_classes outputs",
                )

    @check
    def test_batches(self) -> None:
        """In eval mode a picture's logits do not depend on the others of its batch."""
        model, side = self.network(), self.side()
        images_BCHW = pictures(3, 3, side, side)
        together = self.run(model, images_BCHW)
        alone = torch.cat([self.run(model, image[None]) for image in images_BCHW])
        self._close(together, alone, "a batch of 3", "the same pictures one by one", ADVICE_BATCH)

    @check
    def test_deterministic(self) -> None:
        """In eval mode the same pictures give the same logits, bit for bit."""
        model, images_BCHW = self.network(), pictures(1, 3, self.side(), self.side())
        if not torch.equal(self.run(model, images_BCHW), self.run(model, images_BCHW)):
            raise self.fault(
                "gives other logits the second time in eval mode",
                "use nn.Dropout and the like, which `eval()` turns off, and no random numbers",
            )

    @check
    def test_gradients(self) -> None:
        """A gradient reaches every parameter that requires one, within a few steps."""
        unreached = self.training().unreached
        if unreached:
            shown = ", ".join(unreached[:5]) + (" ..." if len(unreached) > 5 else "")
            raise self.fault(
                f"has {len(unreached)} parameters that no gradient reaches: {shown}",
                "use them in forward, do not build them, or set requires_grad=False",
            )

    @check
    def test_learns(self) -> None:
        """A few steps on one batch lower the loss."""
        losses = self.training().losses
        first, last = losses[0], min(losses[-3:])
        if not last < 0.95 * first:
            raise self.fault(
                f"does not learn: {len(losses)} steps of AdamW 1e-3 on one batch brought the loss "
                f"from {first:.4f} to {last:.4f}",
                "look for a detach(), an activation on the logits, or an initialisation that "
                "blocks the gradient",
            )

    @check
    def test_training_output(self) -> None:
        """In training the output is logits, or a dict of `out` with `aux` or `loss`."""
        output = self.training().output
        if isinstance(output, dict):
            unknown = sorted(set(output) - {"out", "aux", "loss"})
            if unknown or "out" not in output:
                raise self.fault(
                    f"returns a dict of {sorted(output)} in training",
                    'the keys are "out", and "aux" or "loss" where there are such',
                )
            if "loss" in output and not self.entry.spec.computes_loss:
                raise self.fault(
                    "returns a loss, which its spec does not say", "set computes_loss=True"
                )
        elif self.entry.spec.computes_loss:
            raise self.fault("returns no loss, though its spec says so", 'return {"out", "loss"}')

    @check
    def test_round_trip(self) -> None:
        """Saved as safetensors and rebuilt in a new process without network, it is the same."""
        trained = self.training().model.eval()
        self._check_state(trained.network)
        images_BCHW = pictures(1, 3, self.side(), self.side())
        there = self.run(trained, images_BCHW)
        try:
            back = logits_of_new_process(trained, images_BCHW)
        except ConformanceError as error:
            raise self.fault(
                f"cannot be rebuilt from its weights file in a new process: {error}",
                "its state dict and `saved_options` (by default the options) must be enough",
            ) from error
        self._close(there, back, "the trained network", "the one loaded", ADVICE_ROUND_TRIP, 1e-5)

    def _check_state(self, network: nn.Module) -> None:
        for name, value in network.state_dict().items():
            if not isinstance(value, Tensor):
                raise self.fault(
                    f"keeps {type(value).__name__} `{name}` in its state dict",
                    "a state dict holds tensors alone; make it a buffer, or rebuild it",
                )

    @check
    def test_bf16(self) -> None:
        """Under bf16 autocast the logits are finite, in eval mode and in training."""
        images_BCHW = pictures(2, 3, self.side(), self.side())
        with torch.autocast("cpu", torch.bfloat16):
            logits_BKHW = self.run(self.network(), images_BCHW)
        model, side = copy.deepcopy(self.network()).train(), self.side()
        images_BCHW, labels_BHW = bright_boxes(2, 3, side)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            output = model(images_BCHW, labels_BHW)
        loss, _ = loss_of(output, labels_BHW, CrossEntropy(None, 0.0), 0.4)
        if not (logits_BKHW.isfinite().all() and loss.isfinite()):
            raise self.fault(
                "gives logits or a loss that are not finite under bf16 autocast",
                "compute what overflows (exp, large sums) in float32",
            )

    @check
    def test_channels_last(self) -> None:
        """In channels_last memory format the logits are the same up to rounding."""
        images_BCHW = pictures(2, 3, self.side(), self.side())
        model: Any = copy.deepcopy(self.network())
        model = model.to(memory_format=torch.channels_last)
        other = self.run(model, images_BCHW.contiguous(memory_format=torch.channels_last))
        plain = self.run(self.network(), images_BCHW)
        self._close(plain, other, "contiguous pictures", "channels_last ones", ADVICE_LAYOUT)

    @check
    def test_seeded(self) -> None:
        """Fresh weights follow torch's seed: the same for the same one, others for another."""
        first, again = (parameters_of(self.build()) for _ in range(2))
        torch.manual_seed(1)
        other = parameters_of(create_model(self.entry.identity, options=self.options))
        if not _same(first, again):
            raise self.fault(
                "is built with other weights for the same torch seed",
                "initialise from torch's random numbers alone",
            )
        if first and _same(first, other):
            raise self.fault(
                "is built with the same weights for every torch seed",
                "do not call torch.manual_seed in the builder",
            )

    @check
    def test_global_state(self) -> None:
        """Building and running leave dtype, grad mode, random states and stdout alone."""
        with captured_output() as printed:
            before = global_state(torch_random=False)
            self.build()
            built = changed_state(before)
            model, images_BCHW = self.network(), pictures(1, 3, self.side(), self.side())
            before = global_state()
            self.run(model, images_BCHW)
            ran = changed_state(before)
            trained = self._changed_by_training()
        for when, changed in (
            ("being built", built),
            ("running in eval mode", ran),
            ("running in training", trained),
        ):
            if changed:
                raise self.state_fault(when, changed[0])
        if printed.getvalue():
            raise self.fault(
                f"prints on stdout: {printed.getvalue()[:60]!r}", "use logging; stdout is for JSON"
            )

    def _changed_by_training(self) -> list[str]:
        """List what a training step changes; random numbers may be drawn, but not seeded."""
        model, states = copy.deepcopy(self.network()).train(), []
        images_BCHW, labels_BHW = bright_boxes(2, 3, self.side())
        before = global_state(torch_random=False)
        for seed in (0, 1):
            torch.manual_seed(seed)
            model(images_BCHW, labels_BHW)
            states.append(torch.get_rng_state())
        reseeded = ["torch's random state"] if torch.equal(*states) else []
        return changed_state(before) + reseeded

    @check
    def test_copies(self) -> None:
        """The network can be copied, as the averaged weights need it, and copies are apart."""
        model = self.network()
        try:
            twin = copy.deepcopy(model)
        except Exception as error:
            raise self.fault(
                f"cannot be copied: {type(error).__name__}: {error}",
                "keep no generators, locks, open files or graph tensors in the module",
            ) from error
        images_BCHW = pictures(1, 3, self.side(), self.side())
        before = self.run(model, images_BCHW)
        with torch.no_grad():
            for value in (*twin.parameters(), *twin.buffers()):
                value.zero_()
        if not torch.equal(before, self.run(model, images_BCHW)):
            raise self.fault("shares tensors with its copy", "make them parameters or buffers")

    @check
    def test_export(self) -> None:
        """`torch.export` takes the network, and what it gives computes the same."""
        model, images_BCHW = self.network(), pictures(1, 3, self.side(), self.side())
        try:
            with contextlib.redirect_stderr(None), torch.no_grad():
                exported = torch.export.export(model, (images_BCHW,)).module()
                logits_BKHW = exported(images_BCHW)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise self.fault(
                f"cannot be exported by torch.export: {type(error).__name__}: {reason}",
                "keep data-dependent Python out of forward, or declare it: "
                'exceptions={"export": "why"}',
            ) from error
        plain = self.run(model, images_BCHW)
        self._close(plain, logits_BKHW, "the network", "its export", ADVICE_OF)

    def state_fault(self, when: str, changed: str) -> ConformanceError:
        """Return the error for a global state that was changed."""
        return self.fault(f"changes the {changed} when {when}", ADVICE[changed])

    def _close(
        self, one: Tensor, two: Tensor, what: str, other: str, advice: str, tolerance: float = 1e-3
    ) -> None:
        scale = float(one.abs().max()) + 1e-6
        apart = float((one.float() - two.float()).abs().max()) / scale
        if not apart <= tolerance:
            raise self.fault(
                f"gives logits for {what} and for {other} that differ by {apart:.2g} of their "
                f"largest value",
                advice,
            )


ADVICE_BATCH = "in eval mode mix nothing across the batch: check norms, and B == 1 in squeeze()"
ADVICE_ROUND_TRIP = "keep all that forward uses in parameters, buffers or options"
ADVICE_LAYOUT = "use reshape or permute by dimension; never as_strided or storage order"


def parameters_of(model: SegmentationModel) -> dict[str, Tensor]:
    """Return the parameters by name."""
    return dict(model.network.named_parameters())


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
