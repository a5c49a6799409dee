"""The errors of an alpha matte: per pixel, and those of the matting benchmarks per picture."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segzoo.metrics.connectivity import connectivity_error, label_function
from segzoo.metrics.plugin import MattingOptions
from segzoo.metrics.resampling import defined, sum_type

SIGMA = 1.4
REACH = 4  # Pixels each side: where the benchmarks' code cuts a Gaussian of 1.4, below 1 %.
UNIT = 1000.0  # The benchmarks give their sums in thousands.


class MatteErrors:
    """Mean absolute and mean squared error of the alpha, per pixel, in 0..1."""

    def __init__(self) -> None:
        self.sums_3: Tensor | None = None

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Take one batch; the predicted alpha is the probability of class 1.

        Returns each picture's absolute and squared errors and pixels: float64 B x 3.
        """
        error = logits_BKHW.float().softmax(1)[:, 1] - target_BHW
        dtype = sum_type(error.device)
        absolute_B = error.abs().sum((1, 2), dtype=dtype)
        squared_B = error.square().sum((1, 2), dtype=dtype)
        pixels_B = torch.full_like(absolute_B, target_BHW[0].numel())
        sums_B3 = torch.stack([absolute_B, squared_B, pixels_B], dim=1)
        sums_3 = sums_B3.sum(0)
        self.sums_3 = sums_3 if self.sums_3 is None else self.sums_3 + sums_3
        return sums_B3

    def compute(self) -> dict[str, float]:
        """Return `mad` and `mse`."""
        if self.sums_3 is None:
            return {"mad": 0.0, "mse": 0.0}
        return defined(self.scores_of(self.sums_3.cpu()[None]))

    def scores_of(self, sums_RS: Tensor) -> dict[str, Tensor]:
        """Return the scores of R sums of what `update` returns."""
        absolute_R, squared_R, pixels_R = sums_RS.unbind(1)
        return {"mad": absolute_R / pixels_R, "mse": squared_R / pixels_R}


class Matting:
    """The errors of the matting benchmarks, each the mean over the pictures; lower is better.

    SAD is the sum of absolute differences of a picture, in thousands of fully wrong pixels.
    The gradient error sums the squared differences of the gradients' magnitudes, through
    derivatives of a Gaussian of 1.4 pixels, and the connectivity error what is cut off from the
    largest part that both mattes share; both in thousands (Rhemann et al., A Perceptually
    Motivated Online Benchmark for Image Matting, 2009; constants as in the evaluation code of
    Xu et al., Deep Image Matting, 2017). Sums run over the whole picture, since there is no
    trimap, and grow with its size: compare at one size alone. Mattes are not stretched to 0..1.
    """

    def __init__(self, connectivity: bool) -> None:
        # Found missing here, before the first epoch, and not after it.
        self.label = label_function() if connectivity else None
        self.sums_BS: list[Tensor] = []

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        """Take one batch; the predicted alpha is the probability of class 1.

        Returns each picture's errors and a 1: float32 B x (errors + 1).
        """
        alpha_BHW = logits_BKHW.float().softmax(1)[:, 1]
        target_BHW = target_BHW.float()
        slopes_BHW = gradient_magnitude(alpha_BHW) - gradient_magnitude(target_BHW)
        sums = [(alpha_BHW - target_BHW).abs().sum((1, 2)), slopes_BHW.square().sum((1, 2))]
        if self.label is not None:
            pairs = zip(alpha_BHW.double().cpu(), target_BHW.double().cpu(), strict=True)
            errors = [connectivity_error(a.numpy(), t.numpy(), self.label) for a, t in pairs]
            sums.append(torch.tensor(errors, dtype=torch.float32, device=alpha_BHW.device))
        self.sums_BS.append(torch.stack(sums, dim=1))
        return torch.stack([*sums, torch.ones_like(sums[0])], dim=1)

    def names(self) -> tuple[str, ...]:
        """List the scores."""
        further = () if self.label is None else ("connectivity_error",)
        return ("sad", "gradient_error", *further)

    def compute(self) -> dict[str, float]:
        """Return `sad`, `gradient_error` and, where asked for, `connectivity_error`."""
        if not self.sums_BS:
            return dict.fromkeys(self.names(), 0.0)
        means = torch.cat(self.sums_BS).cpu().double().mean(0) / UNIT
        return dict(zip(self.names(), means.tolist(), strict=True))

    def scores_of(self, sums_RS: Tensor) -> dict[str, Tensor]:
        """Return the scores of R sums of what `update` returns."""
        means_RE = sums_RS[:, :-1].double() / sums_RS[:, -1:] / UNIT
        return {name: means_RE[:, index] for index, name in enumerate(self.names())}


def gradient_magnitude(alpha_BHW: Tensor) -> Tensor:
    """Return the length of the smoothed gradient, float B x H x W, with edge pixels repeated.

    The kernel is g(y) g'(x), scaled so that the squares of its weights sum to 1.
    """
    steps = range(-REACH, REACH + 1)
    smooth = _unit([math.exp(-(x**2) / (2 * SIGMA**2)) for x in steps])
    slope = _unit([x * math.exp(-(x**2) / (2 * SIGMA**2)) for x in steps])
    across = _filter(_filter(alpha_BHW, slope, -1), smooth, -2)
    along = _filter(_filter(alpha_BHW, smooth, -1), slope, -2)
    return torch.hypot(across, along)


def _unit(weights: Sequence[float]) -> list[float]:
    length = math.hypot(*weights)
    return [weight / length for weight in weights]


def _filter(values_BHW: Tensor, weights: Sequence[float], dim: int) -> Tensor:
    # Sums of shifted pictures: a convolution may run in TF32 on CUDA, with errors of 0.1 %.
    sides = (REACH, REACH, 0, 0) if dim == -1 else (0, 0, REACH, REACH)
    padded = functional.pad(values_BHW[:, None], sides, mode="replicate")[:, 0]
    size = values_BHW.shape[dim]
    parts = [weight * padded.narrow(dim, at, size) for at, weight in enumerate(weights)]
    return torch.stack(parts).sum(0)


def build_matte(*, classes: Sequence[str], ignore_index: int | None, options: None) -> MatteErrors:
    """Build `matte`."""
    return MatteErrors()


def build_matting(
    *, classes: Sequence[str], ignore_index: int | None, options: MattingOptions
) -> Matting:
    """Build `matting`. Raises SegzooError where `connectivity` is asked for without scipy."""
    return Matting(options.connectivity)
