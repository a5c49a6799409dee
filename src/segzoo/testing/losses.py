"""LossConformance: the contract of a loss. K classes; labels_BHW int64 or alpha_BHW in 0..1."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor, nn

from segzoo.plugins.specs import target_kinds
from segzoo.testing.base import Conformance, check
from segzoo.testing.state import ADVICE, changed_state, global_state

SIDE = 12
IGNORED = 255
EXTREME = 1e4
STEP = 1e-2  # of the finite difference; losses compute in float32


class LossConformance(Conformance):
    """Inherit from it and set `loss`; every target kind of the spec is checked.

    class TestFoo(LossConformance):
        loss = "segzoo-foo/foo"
    """

    kind = "losses"
    attribute = "loss"
    loss: ClassVar[str] = ""
    classes: ClassVar[int] = 3

    def build(self, count: int, ignore_index: int | None = IGNORED) -> Callable[..., Tensor]:
        """Build the loss for `count` classes."""
        names = tuple(f"class_{index}" for index in range(count))
        return self.entry.resolve("build")(
            classes=names, ignore_index=ignore_index, options=self.made_options()
        )

    def inputs(self) -> Iterator[tuple[str, int, Tensor, Tensor]]:
        """Yield (target kind, class count, logits_BKHW, target_BHW) for the kinds it takes."""
        for kind in target_kinds(self.entry.spec.targets):
            count = 2 if kind == "alpha" else self.classes
            generator = torch.Generator().manual_seed(5)
            logits_BKHW = torch.randn(2, count, SIDE, SIDE, generator=generator)
            if kind == "alpha":
                target_BHW = torch.rand(2, SIDE, SIDE, generator=generator)
                target_BHW[:, :4], target_BHW[:, -4:] = 0.0, 1.0
            else:
                target_BHW = torch.randint(0, count, (2, SIDE, SIDE), generator=generator)
                target_BHW[:, 3:9, 3:9] = 1
            yield kind, count, logits_BKHW, target_BHW

    def value(self, loss: Callable[..., Tensor], logits_BKHW: Tensor, target: Tensor) -> Tensor:
        """Return the loss, or the error of this part where it raises or is no scalar."""
        try:
            value = loss(logits_BKHW, target)
        except Exception as error:
            raise self.fault(
                f"fails on logits {tuple(logits_BKHW.shape)} of {logits_BKHW.dtype} with a target "
                f"{tuple(target.shape)} of {target.dtype}: {type(error).__name__}: {error}",
                "take B x K x H x W logits of any floating type and the targets that the spec says",
            ) from error
        if not isinstance(value, Tensor) or value.ndim != 0:
            raise self.fault(f"returns {_shape(value)}", "return a scalar tensor: take the mean")
        return value

    @check
    def test_scalar(self) -> None:
        """The loss of logits and target is a finite float32 scalar with a gradient."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            logits_BKHW = logits_BKHW.requires_grad_()
            value = self.value(self.build(count), logits_BKHW, target_BHW)
            if not value.requires_grad:
                raise self.fault(f"has no gradient for {kind}", "keep to differentiable operations")
            if not value.isfinite() or value.dtype != torch.float32:
                raise self.fault(f"is {value.item()} ({value.dtype}) for {kind}", "use float32")
            loss = self.build(count)
            values = [self.value(loss, logits_BKHW, target_BHW).item() for _ in range(2)]
            if values[0] != values[1]:
                raise self.fault(
                    f"is {values[0]:.5f} and then {values[1]:.5f} for the same batch ({kind})",
                    "keep no state between calls, and draw nothing at random",
                )

    @check
    def test_extremes(self) -> None:
        """Logits of +-1e4, also in bf16, right and wrong, give a finite loss and gradient."""
        for kind, count, _, target_BHW in self.inputs():
            right = perfect_logits(target_BHW, count, EXTREME)
            for sign in (1, -1):
                for dtype in (torch.float32, torch.bfloat16):
                    logits_BKHW = (sign * right).to(dtype).requires_grad_()
                    value = self.value(self.build(count), logits_BKHW, target_BHW)
                    value.backward()
                    assert logits_BKHW.grad is not None
                    if not (value.isfinite() and logits_BKHW.grad.isfinite().all()):
                        raise self.fault(
                            f"or its gradient is not finite for {kind} at logits of +-1e4 "
                            f"({dtype})",
                            "compute in float32 from log_softmax or logsigmoid, not log(softmax)",
                        )

    @check
    def test_minimal(self) -> None:
        """No logits give a smaller loss than those of the target itself, soft targets too."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            loss = self.build(count)
            # Softened by 2 % where the target is 0 or 1: no finite logits reach these exactly.
            if kind == "alpha":
                target_BHW = target_BHW.clamp(0.02, 0.98)
            best = perfect_logits(target_BHW, count, 12.0)
            at_best = float(self.value(loss, best, target_BHW))
            generator = torch.Generator().manual_seed(6)
            others = [logits_BKHW, torch.zeros_like(best), -best]
            others += [
                best + size * torch.randn(best.shape, generator=generator)
                for size in (0.05, 0.3, 2.0)
            ]
            others += [best + shift for shift in _class_shifts(count, best)]
            others.append(self._followed(loss, best, target_BHW))
            for other in others:
                value = float(self.value(loss, other, target_BHW))
                if value < at_best - 1e-4 * (1 + abs(at_best)):
                    raise self.fault(
                        f"is smaller ({value:.5f}) for other logits than for those that equal the "
                        f"{kind} target ({at_best:.5f})",
                        "train towards the target: check signs, and squares in soft overlaps",
                    )

    def _followed(self, loss: Callable[..., Tensor], best: Tensor, target_BHW: Tensor) -> Tensor:
        """Return where the gradient leads in a few steps from the target's own logits."""
        moving = nn.Parameter(best.clone())
        optimizer = torch.optim.Adam([moving], lr=0.02)
        for _ in range(20):
            optimizer.zero_grad()
            self.value(loss, moving, target_BHW).backward()
            optimizer.step()
        return moving.detach()

    @check
    def test_improves(self) -> None:
        """Following the gradient from random logits lowers the loss and nears the target."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            loss = self.build(count)
            moving = nn.Parameter(logits_BKHW.clone())
            optimizer = torch.optim.Adam([moving], lr=0.2)
            values, apart = [], []
            for _ in range(40):
                optimizer.zero_grad()
                value = self.value(loss, moving, target_BHW)
                value.backward()
                values.append(value.item())
                apart.append(_distance(moving.detach(), target_BHW, count))
                optimizer.step()
            if not (values[-1] < values[0] and apart[-1] < 0.9 * apart[0]):
                raise self.fault(
                    f"went from {values[0]:.4f} to {values[-1]:.4f} in 40 steps on the logits, "
                    f"their mean distance to the {kind} target from {apart[0]:.3f} to "
                    f"{apart[-1]:.3f}",
                    "check the sign: the smaller the loss, the nearer the target",
                )

    @check
    def test_gradient(self) -> None:
        """The gradient agrees with a finite difference along random directions."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            loss = self.build(count)
            logits_BKHW = logits_BKHW.requires_grad_()
            self.value(loss, logits_BKHW, target_BHW).backward()
            gradient = logits_BKHW.grad
            assert gradient is not None
            generator = torch.Generator().manual_seed(7)
            for _ in range(4):
                way = torch.randn(gradient.shape, generator=generator)
                with torch.no_grad():
                    up, down = (
                        float(self.value(loss, logits_BKHW + sign * STEP * way, target_BHW))
                        for sign in (1, -1)
                    )
                slope, expected = (up - down) / (2 * STEP), float((gradient * way).sum())
                scale = max(abs(slope), float(gradient.norm()))
                if abs(slope - expected) > 0.05 * scale + 1e-4:
                    raise self.fault(
                        f"has a gradient of {expected:.5f} along a direction in which it changes "
                        f"by {slope:.5f} ({kind})",
                        "look for detach(), item() or torch.no_grad() inside the loss",
                    )

    @check
    def test_ignored(self) -> None:
        """What the network says where the target is to be ignored changes nothing."""
        for _, count, logits_BKHW, target_BHW in self._labels():
            target_BHW = target_BHW.clone()
            target_BHW[:, :, 5:] = IGNORED
            loss = self.build(count)
            other = logits_BKHW.clone()
            other[..., 5:] = 100 * torch.randn_like(other[..., 5:])
            one, two = (float(self.value(loss, x, target_BHW)) for x in (logits_BKHW, other))
            if abs(one - two) > 1e-5 * (1 + abs(one)):
                raise self.fault(
                    f"changes from {one:.5f} to {two:.5f} with logits of ignored pixels",
                    "leave pixels out whose label is ignore_index",
                )
            if self._same_without(loss, logits_BKHW, target_BHW, one) is False:
                raise self.fault(
                    "depends on how many pixels are ignored beside the same labelled ones",
                    "average over the labelled pixels, not over all",
                )

    def _labels(self) -> Iterator[tuple[str, int, Tensor, Tensor]]:
        found = [case for case in self.inputs() if case[0] == "labels"]
        if not found:
            raise SkipTest("an alpha has no ignored pixels")
        yield from found

    def _same_without(
        self, loss: Callable[..., Tensor], logits_BKHW: Tensor, target_BHW: Tensor, whole: float
    ) -> bool:
        cut = float(self.value(loss, logits_BKHW[..., :5], target_BHW[..., :5]))
        return abs(cut - whole) < 1e-4 * (1 + abs(whole))

    @check
    def test_unlabelled(self) -> None:
        """A batch without a labelled pixel has the loss 0, with a gradient of zeros."""
        for _, count, logits_BKHW, target_BHW in self._labels():
            logits_BKHW = logits_BKHW.requires_grad_()
            nothing = torch.full_like(target_BHW, IGNORED)
            value = self.value(self.build(count), logits_BKHW, nothing)
            if value.requires_grad:
                value.backward()
            gradient = logits_BKHW.grad
            moved = gradient is not None and not (gradient == 0).all()
            if value.item() != 0 or moved:
                raise self.fault(
                    f"is {value.item()} for a batch without a labelled pixel",
                    "divide by the count of labelled pixels clamped to 1",
                )

    @check
    def test_no_ignore(self) -> None:
        """It builds for data without an ignore index, and gives the same value there."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            with_one = float(self.value(self.build(count), logits_BKHW, target_BHW))
            without = float(self.value(self.build(count, None), logits_BKHW, target_BHW))
            if abs(with_one - without) > 1e-5 * (1 + abs(with_one)):
                raise self.fault(
                    f"is {without} with ignore_index=None and {with_one} with one that no pixel "
                    f"has ({kind})",
                    "treat None as `nothing is ignored`",
                )

    @check
    def test_inputs_kept(self) -> None:
        """Logits and target are left as they were, and so is the global state."""
        for kind, count, logits_BKHW, target_BHW in self.inputs():
            loss = self.build(count)
            given, wanted = logits_BKHW.clone(), target_BHW.clone()
            before = global_state()
            self.value(loss, logits_BKHW, target_BHW)
            changed = changed_state(before)
            if not (torch.equal(given, logits_BKHW) and torch.equal(wanted, target_BHW)):
                raise self.fault(f"changes its inputs ({kind})", "copy before writing in place")
            if changed:
                raise self.fault(f"changes the {changed[0]}", ADVICE[changed[0]])


def perfect_logits(target_BHW: Tensor, count: int, size: float) -> Tensor:
    """Return logits_BKHW whose softmax is the target; `size` stands for infinity."""
    if target_BHW.is_floating_point():
        odds_BHW = target_BHW.logit().clamp(-size, size)
        return torch.stack([torch.zeros_like(odds_BHW), odds_BHW], dim=1)
    one_hot = nn.functional.one_hot(target_BHW, count).permute(0, 3, 1, 2)
    return size * (2.0 * one_hot - 1)


def _distance(logits_BKHW: Tensor, target_BHW: Tensor, count: int) -> float:
    """Return the mean absolute difference of probabilities and target."""
    wanted_BKHW = perfect_logits(target_BHW, count, 30.0).softmax(1)
    return float((logits_BKHW.softmax(1) - wanted_BKHW).abs().mean())


def _class_shifts(count: int, like: Tensor) -> Iterator[Tensor]:
    """Yield what makes one class a little more or less likely everywhere."""
    for index in range(count):
        for amount in (-0.5, 0.5):
            shift = torch.zeros_like(like)
            shift[:, index] = amount
            yield shift


def _shape(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
