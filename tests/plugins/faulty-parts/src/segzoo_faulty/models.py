"""One network a fault; each is the sound one with a single thing wrong."""

import random
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NUMBER = 3


class Sound(nn.Module):
    """Two strided convolutions and back: what the others are made from."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, num_classes, 1)

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Return features at half the size."""
        return self.norm(self.first(images_BCHW)).relu()

    def forward(self, images_BCHW: Tensor) -> Any:
        """Return logits_BKHW."""
        return functional.interpolate(self.head(self.features(images_BCHW)), scale_factor=2.0)


def sound(*, in_channels: int, num_classes: int, options: Any) -> Sound:
    """Build the network that breaks nothing."""
    return Sound(in_channels, num_classes)


def half_size(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one whose logits have half the size."""

    class HalfSize(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return self.head(self.features(images_BCHW))

    return HalfSize(in_channels, num_classes)


def three_channels(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one for RGB whatever is asked for."""
    return Sound(3, num_classes)


def two_classes(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one for two classes whatever is asked for."""
    return Sound(in_channels, 2)


def squeezes(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that loses the batch dimension of a single picture."""

    class Squeezes(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return super().forward(images_BCHW).squeeze(0)

    return Squeezes(in_channels, num_classes)


def batch_statistics(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that normalises with the batch's statistics in eval mode too."""

    class BatchStatistics(Sound):
        def features(self, images_BCHW: Tensor) -> Tensor:
            raw_BCHW = self.first(images_BCHW)
            return (raw_BCHW - raw_BCHW.mean((0, 2, 3), keepdim=True)).relu() + 0 * self.norm(
                raw_BCHW
            )

    return BatchStatistics(in_channels, num_classes)


def always_dropout(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that drops activations in eval mode too."""

    class AlwaysDropout(Sound):
        def features(self, images_BCHW: Tensor) -> Tensor:
            return functional.dropout(super().features(images_BCHW), 0.5)

    return AlwaysDropout(in_channels, num_classes)


def unused_layer(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one with a layer that forward does not use."""
    network = Sound(in_channels, num_classes)
    network.extra = nn.Conv2d(8, 8, 1)
    return network


def detached(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that lets no gradient through."""

    class Detached(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return super().forward(images_BCHW).detach()

    return Detached(in_channels, num_classes)


def sets_dtype(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that changes the default dtype."""
    network = Sound(in_channels, num_classes)
    torch.set_default_dtype(torch.float64)
    return network


def reseeds(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one with the same weights every time."""
    torch.manual_seed(3)
    return Sound(in_channels, num_classes)


def stops_gradients(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one after which nothing has gradients."""
    network = Sound(in_channels, num_classes)
    torch.set_grad_enabled(False)
    return network


def hidden_state(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that keeps a learned tensor outside its state dict."""

    class HiddenState(Sound):
        def __init__(self) -> None:
            super().__init__(in_channels, num_classes)
            self.hidden = [torch.ones(1, 8, 1, 1)]

        def features(self, images_BCHW: Tensor) -> Tensor:
            features_BCHW = super().features(images_BCHW)
            if self.training:
                self.hidden[0] = self.hidden[0] * 0.9
            return features_BCHW * self.hidden[0]

    return HiddenState()


def extra_state(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that puts a dict into its state dict."""

    class ExtraState(Sound):
        def get_extra_state(self) -> Any:
            return {"steps": 3}

        def set_extra_state(self, state: Any) -> None:
            self.steps = state

    return ExtraState(in_channels, num_classes)


def no_autocast(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one whose head leaves autocast with the features in bf16."""

    class NoAutocast(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            features_BCHW = self.first(images_BCHW).relu() + 0 * self.norm(self.first(images_BCHW))
            with torch.autocast("cpu", enabled=False):
                logits_BKHW = self.head(features_BCHW)
            return functional.interpolate(logits_BKHW, scale_factor=2.0)

    return NoAutocast(in_channels, num_classes)


def storage_order(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that reads its pictures in the order of memory."""

    class StorageOrder(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            b, c, h, w = images_BCHW.shape
            plain_BCHW = images_BCHW.as_strided((b, c, h, w), (c * h * w, h * w, w, 1))
            return super().forward(plain_BCHW)

    return StorageOrder(in_channels, num_classes)


def branches_on_data(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that looks at the pixels to choose its way."""

    class Branches(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            logits_BKHW = super().forward(images_BCHW)
            return logits_BKHW if float(images_BCHW.mean()) < 100 else -logits_BKHW

    return Branches(in_channels, num_classes)


def holds_a_lock(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that cannot be copied."""
    network = Sound(in_channels, num_classes)
    network.lock = threading.Lock()  # type: ignore[assignment]
    return network


def prints(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that talks."""
    print("building", num_classes)
    return Sound(in_channels, num_classes)


def dict_in_eval(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that returns a dict in eval mode."""

    class DictInEval(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return {"out": super().forward(images_BCHW)}

    return DictInEval(in_channels, num_classes)


def needs_32(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that fails on pictures of its stride, 8 x 8."""

    class Needs32(Sound):
        def features(self, images_BCHW: Tensor) -> Tensor:
            features_BCHW = super().features(images_BCHW)
            assert features_BCHW.shape[-2] >= 16, "too small"
            return features_BCHW

    return Needs32(in_channels, num_classes)


def python_random(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that initialises from Python's random numbers."""
    network = Sound(in_channels, num_classes)
    with torch.no_grad():
        network.head.weight.mul_(random.random())
    return network


def says_no_loss(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that returns a loss its spec does not say."""

    class SaysNoLoss(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            logits_BKHW = super().forward(images_BCHW)
            if not self.training:
                return logits_BKHW
            return {"out": logits_BKHW, "loss": logits_BKHW.square().mean()}

    return SaysNoLoss(in_channels, num_classes)


def not_finite(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that divides by a variance of zero, as a picture of one value has."""

    class NotFinite(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            spread_B111 = images_BCHW.std((1, 2, 3), keepdim=True)
            flat_B111 = (images_BCHW[:, :, :1, :1] == images_BCHW).all(3, True).all(2, True)
            return super().forward(images_BCHW) / (spread_B111 * ~flat_B111.all(1, True))

    return NotFinite(in_channels, num_classes)


def softmax(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that returns probabilities."""

    class Softmax(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return super().forward(images_BCHW).softmax(1)

    return Softmax(in_channels, num_classes)


def in_place(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that writes into its pictures."""

    class InPlace(Sound):
        def forward(self, images_BCHW: Tensor) -> Any:
            return super().forward(images_BCHW.mul_(0.5))

    return InPlace(in_channels, num_classes)


def reseeds_in_training(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that seeds its dropout."""

    class Reseeds(Sound):
        def features(self, images_BCHW: Tensor) -> Tensor:
            if self.training:
                torch.manual_seed(0)
            return functional.dropout(super().features(images_BCHW), 0.1, self.training)

    return Reseeds(in_channels, num_classes)


def shares_state(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one whose copy is itself."""

    class Shares(Sound):
        def __deepcopy__(self, memo: Any) -> Any:
            return self

    return Shares(in_channels, num_classes)


def downloads(*, in_channels: int, num_classes: int, options: Any) -> nn.Module:
    """Build one that asks a host for its weights whenever it is built."""
    import socket

    try:
        socket.getaddrinfo("localhost", 80)
    except OSError as error:
        raise RuntimeError(f"no weights: {error}") from error
    return Sound(in_channels, num_classes)
