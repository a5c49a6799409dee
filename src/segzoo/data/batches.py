"""From a data set to batches: resized to one size, kept in memory where they fit, in seeded order.

Shapes: B batch, C channels, H height, W width. Images stay as they are stored (uint8) until they
are on the device; targets are labels (uint8 or int32) or alpha (uint8).
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset

from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import SegzooError


class Batch(NamedTuple):
    """images_BCHW, target_BHW and the keys of the pictures."""

    images_BCHW: Tensor
    target_BHW: Tensor
    keys: list[str]


def finish_sample(sample: Sample, info: DataInfo, size: tuple[int, int] | None) -> Sample:
    """Check a sample and bring it to `size` (None: its own); a matte with a threshold to labels.

    Images and mattes are resized bilinearly with antialiasing, labels to the nearest; uint16
    images become float32 in their own range, numpy arrays tensors. Raises SegzooError naming the
    picture for wrong shapes, types or labels.
    """
    image, target, key = torch.as_tensor(sample.image), torch.as_tensor(sample.target), sample.key
    if image.dtype == torch.uint16:
        image = image.to(torch.float32)  # torch cannot resize, stack or index uint16
    if image.ndim != 3 or target.ndim != 2 or image.shape[1:] != target.shape:
        raise SegzooError(
            f"{info.identity}, `{key}`: image {tuple(image.shape)} and target "
            f"{tuple(target.shape)}",
            "a sample is an image C x H x W and a target H x W of the same size",
        )
    matte = info.target == "alpha" or info.threshold is not None
    if size is not None and tuple(target.shape) != tuple(size):
        image = resize_image(image, size)
        target = _resize_bilinear(target[None], size)[0] if matte else _nearest(target, size)
    if info.threshold is not None:
        target = (target > info.threshold).to(torch.uint8)
    elif info.target == "labels":
        _check_labels(target, key, info)
    return Sample(image, target, key)


def resize_image(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly with antialiasing, in the image's own type and range."""
    return _resize_bilinear(image_CHW, size)


def _resize_bilinear(pixels_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(pixels_CHW[None], size, mode="bilinear", antialias=True)[0]


def _nearest(labels_HW: Tensor, size: tuple[int, int]) -> Tensor:
    kind = labels_HW.dtype
    pixels = labels_HW[None, None]
    if kind != torch.uint8:
        pixels = pixels.to(torch.float64)
    return functional.interpolate(pixels, size, mode="nearest-exact")[0, 0].to(kind)


def _check_labels(labels_HW: Tensor, key: str, info: DataInfo) -> None:
    wrong = labels_HW >= len(info.classes)
    if info.ignore_index is not None:
        wrong &= labels_HW != info.ignore_index
    if wrong.any() or (labels_HW.dtype.is_signed and (labels_HW < 0).any()):
        value = int(labels_HW[wrong].max()) if wrong.any() else int(labels_HW.min())
        count = len(info.classes)
        ignored = "" if info.ignore_index is None else f", {info.ignore_index} is ignored"
        raise SegzooError(
            f"{info.identity}, `{key}`: label {value} with {count} classes (0..{count - 1}"
            f"{ignored})",
            "correct the mask, or the data set's classes",
        )


class _Finished(Dataset[Any]):
    """Samples at one size; a SegzooError travels as a value, to come out of a worker unchanged."""

    def __init__(self, dataset: Any, info: DataInfo, size: tuple[int, int] | None) -> None:
        self.dataset, self.info, self.size = dataset, info, size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | SegzooError:
        try:
            return finish_sample(Sample(*self.dataset[index]), self.info, self.size)
        except SegzooError as error:
            return error


class _FinishedStream(IterableDataset[Any]):
    """The same for a data set that can only be iterated."""

    def __init__(self, dataset: Any, info: DataInfo, size: tuple[int, int] | None) -> None:
        self.dataset, self.info, self.size = dataset, info, size

    def __iter__(self) -> Iterator[Sample | SegzooError]:
        for sample in self.dataset:
            try:
                yield finish_sample(Sample(*sample), self.info, self.size)
            except SegzooError as error:
                yield error
                return


def _collate(samples: list[Sample | SegzooError]) -> Batch | SegzooError:
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, SegzooError):
            return sample
        good.append(sample)
    channels = {sample.image.shape[0] for sample in good}
    if len(channels) > 1:
        few = min(good, key=lambda sample: sample.image.shape[0])
        return SegzooError(f"`{few.key}` has {few.image.shape[0]} channels, others {max(channels)}")
    images, targets, keys = zip(*good, strict=True)
    return Batch(torch.stack(images), torch.stack(targets), list(keys))


class Batches:
    """The batches of one split: ``for batch in batches.epoch(n)``.

    With `shuffle` the order of epoch n depends on (seed, n) alone, whatever the workers do. What
    fits is read and resized once, during the first epoch's preparation, and then kept in memory.
    """

    def __init__(
        self,
        dataset: Any,
        info: DataInfo,
        *,
        size: tuple[int, int],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = -1,
        cache: bool = True,
    ) -> None:
        self.info, self.size, self.batch_size = info, size, batch_size
        self.shuffle, self.seed = shuffle, seed
        self.stream = not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__")
        self.count = -1 if self.stream else len(dataset)
        if self.count == 0:
            raise SegzooError(f"{info.identity} has no pictures in this split")
        kind = _FinishedStream if self.stream else _Finished
        self.samples = kind(dataset, info, size)
        self.first = self._first()
        self.channels = int(self.first.images_BCHW.shape[1])
        self.workers = self._choose_workers(workers)
        self._kept: Batch | None = None
        self._keep = cache and not self.stream and self._bytes() < _free_memory() // 4

    def __len__(self) -> int:
        """Return the number of batches; 0 for a stream, which does not say."""
        return 0 if self.stream else len(self._chunks(list(range(self.count))))

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number` (0, 1, ...), the last one possibly smaller."""
        if self.stream:
            yield from map(_or_raise, self._loader(batch_size=self.batch_size))
            return
        chunks = self._chunks(self.order(number))
        if self._keep and self._kept is None:
            self._kept = self._read_all()
        if self._kept is None:
            yield from map(_or_raise, self._loader(batch_sampler=chunks))
            return
        images, targets, keys = self._kept
        for chunk in chunks:
            index = torch.tensor(chunk)
            yield Batch(images[index], targets[index], [keys[i] for i in chunk])

    def order(self, number: int) -> list[int]:
        """Return the order of the pictures in epoch `number`."""
        if not self.shuffle:
            return list(range(self.count))
        generator = torch.Generator().manual_seed(_mix(self.seed, number))
        return torch.randperm(self.count, generator=generator).tolist()

    def _chunks(self, order: list[int]) -> list[list[int]]:
        """Cut an order into batches.

        In training a single picture left over joins the batch before it: alone it would make
        batch norm's statistics those of one picture, or stop it where its maps are 1 x 1.
        """
        size = self.batch_size
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        if self.shuffle and size > 1 and len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [chunks[-2] + chunks[-1]]
        return chunks

    def _first(self) -> Batch:
        if self.stream:
            for sample in self.samples:
                return _or_raise(_collate([sample]))
            raise SegzooError(f"{self.info.identity} yields no pictures in this split")
        return _or_raise(_collate([self.samples[0]]))

    def _bytes(self) -> int:
        per_sample = sum(t.numel() * t.element_size() for t in self.first[:2])
        return per_sample * self.count

    def _read_all(self) -> Batch:
        """Read every picture once into two tensors: images N x C x H x W and targets N x H x W."""
        image, target = self.first.images_BCHW[0], self.first.target_BHW[0]
        images = torch.empty((self.count, *image.shape), dtype=image.dtype)
        targets = torch.empty((self.count, *target.shape), dtype=target.dtype)
        keys: list[str] = []
        for batch in map(_or_raise, self._loader(batch_size=self.batch_size)):
            if batch.images_BCHW.shape[1] != self.channels:
                raise SegzooError(
                    f"`{batch.keys[0]}` has {batch.images_BCHW.shape[1]} channels, the first "
                    f"picture {self.channels}"
                )
            at = slice(len(keys), len(keys) + len(batch.keys))
            images[at], targets[at] = batch.images_BCHW, batch.target_BHW
            keys.extend(batch.keys)
        return Batch(images, targets, keys)

    def _loader(self, **how: Any) -> DataLoader[Any]:
        # A generator of its own, so that reading takes nothing from the training's random numbers.
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            self.samples,
            num_workers=self.workers,
            collate_fn=_collate,
            generator=generator,
            **how,
        )

    def _choose_workers(self, workers: int) -> int:
        if workers >= 0:
            return workers
        # Starting a process costs more than reading a few pictures; a stream may not be shared.
        return 0 if self.stream or self.count < 64 else min(8, os.cpu_count() or 1)


def _or_raise(batch: Batch | SegzooError) -> Batch:
    if isinstance(batch, SegzooError):
        raise batch
    return batch


def _mix(seed: int, number: int) -> int:
    """Return one 63-bit seed for (seed, number); neighbouring pairs must not share an order."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9) & (2**63 - 1)


def _free_memory() -> int:
    """Return the bytes that can be taken without swapping (Linux), else of all memory half."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
