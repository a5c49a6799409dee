"""What a network says of whole pictures or windows, mirrored or not, at one scale or several.

Everything that is averaged is probabilities: over windows, over a picture and its mirror image,
over scales. Shapes: B batch, C channels, K classes, H x W the result, h x w what is seen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segzoo.data.finish import resize_image
from segzoo.inference.settings import Inference
from segzoo.inference.views import SmallView, View, WholeView, enlarged
from segzoo.inference.windows import blend
from segzoo.size import Size


@dataclass(frozen=True, kw_only=True)
class Averager:
    """A network's probabilities, as `how` says.

    `network` takes images_BCHW of pixel values as stored and gives float32 logits_BKHW; `trained`
    is the size it was trained at, `shown` the part of their own size that pictures had then.
    `watch` is told of each picture's own size and the one at which it is seen.
    """

    network: Callable[[Tensor], Tensor]
    how: Inference
    classes: int
    trained: Size
    stride: int
    shown: float | None = None
    watch: Callable[[Size, Size], None] = lambda own, seen: None

    def views(self, pictures: Sequence[Tensor], sizes: Sequence[Size]) -> Iterator[View]:
        """Yield what the network says of each picture C x H x W at its size in `sizes`.

        It is on the network's device, of windows on the CPU: that takes any picture.
        """
        window, scales = self.how.window_size(self.trained), self.how.scales
        pairs = list(zip(pictures, sizes, strict=True))
        if window:
            for picture, size in pairs:
                views = (self._in_windows(picture, scale, window, size) for scale in scales)
                yield WholeView(_mean(views))
            return
        step = self.how.pictures_at_once
        for at in range(0, len(pairs), step):
            chunk = pairs[at : at + step]
            # What is small is computed of all at once, what is large of one picture at a time.
            logits_SBKhw = [self._whole([picture for picture, _ in chunk], s) for s in scales]
            for index, (_, size) in enumerate(chunk):
                views = [SmallView(logits_BKhw[index], size) for logits_BKhw in logits_SBKhw]
                one = len(views) == 1
                yield views[0] if one else WholeView(_mean(view.probability() for view in views))

    def _whole(self, pictures: Sequence[Tensor], scale: float) -> Tensor:
        return self._logits(torch.stack([self._resized(picture, scale) for picture in pictures]))

    def _in_windows(self, picture_CHW: Tensor, scale: float, window: Size, size: Size) -> Tensor:
        probability_Khw = blend(
            lambda images_BChw: self._logits(images_BChw).softmax(1),
            self._resized(picture_CHW, scale),
            classes=self.classes,
            window=window,
            overlap=self.how.overlap,
            batch_size=self.how.batch_size,
        )
        if tuple(probability_Khw.shape[-2:]) == tuple(size):
            return probability_Khw
        return enlarged(as_logits(probability_Khw), size)

    def _logits(self, images_BChw: Tensor) -> Tensor:
        """Return logits_BKhw, with `flip` of the mean probability with the mirror image."""
        logits_BKhw = self.network(images_BChw)
        if not self.how.flip:
            return logits_BKhw
        mirrored_BKhw = self.network(images_BChw.flip(-1)).flip(-1)
        return as_logits((logits_BKhw.softmax(1) + mirrored_BKhw.softmax(1)) / 2)

    def _resized(self, picture_CHW: Tensor, scale: float) -> Tensor:
        height, width = picture_CHW.shape[-2:]
        own = (height, width)
        seen = self.how.seen(own, self.trained, scale, self.stride, self.shown)
        if scale == self.how.scales[0]:
            self.watch(own, seen)
        return picture_CHW if (height, width) == seen else resize_image(picture_CHW, seen)


def as_logits(probability: Tensor) -> Tensor:
    """Return logits whose softmax is this probability; resized, they give what logits give."""
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _mean(views: Iterator[Tensor]) -> Tensor:
    """Return the mean, in the memory of the first one."""
    total, count = next(views), 1
    for view in views:
        total += view
        count += 1
    return total.div_(count)  # exact for one
