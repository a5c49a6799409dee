"""From a data set to batches: resized to one size, kept once they are, in seeded order.

Shapes: B batch, C channels, H height, W width. Images stay as they are stored (uint8) until they
are on the device; targets are labels (uint8 or int32) or alpha (uint8).
"""

import functools
import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from segzoo.compute.ranks import ALONE, Ranks
from segzoo.data.loading.cache import Indices, LostError, MemoryCache, SampleCache, open_cache
from segzoo.data.loading.crops import Crops
from segzoo.data.loading.readers import (
    Readers,
    deaths_told,
    in_main_thread,
    losses_told,
    prepare_reader,
    with_room,
)
from segzoo.data.loading.reading import ALIKE, Read, Samples, Stream, mixed, other_channels
from segzoo.data.loading.spawning import first_then_rest, leave_if_imported_again
from segzoo.data.sample import Batch, DataInfo, Sample
from segzoo.errors import SegzooError
from segzoo.host.ahead import in_order

log = logging.getLogger("segzoo")

BATCHES_AHEAD = 2


class _Loaded(NamedTuple):
    """A batch as the workers give it: which of its indices it has, and which of them are kept on
    disk; and what was wrong with others. No batch is one of which nothing could be read.
    """

    batch: Batch | None
    places: list[int]
    stored: list[bool]
    faults: list[SegzooError]


def _collate(reads: list[Read | SegzooError], bad: str, channels: int = 0) -> _Loaded | SegzooError:
    """Make a batch; `bad` says what to do where a sample cannot be read: see `Batches`.

    `channels` are those of the split's first picture.
    """
    faults = [read for read in reads if isinstance(read, SegzooError)]
    known = [place for place, read in enumerate(reads) if not isinstance(read, SegzooError)]
    if faults and (bad == "stop" or (bad == "replace" and not known)):
        return faults[0]
    if not known:
        return _Loaded(None, [], [], faults)
    places = known
    if faults and bad == "replace":
        places = [
            known[place % len(known)] if isinstance(read, SegzooError) else place
            for place, read in enumerate(reads)
        ]
    chosen = [read for place in places if isinstance(read := reads[place], Read)]
    good = [read.sample for read in chosen]
    counts = Counter(sample.image.shape[0] for sample in good)
    if len(counts) > 1:
        # That of most pictures is right, or, of as many, that of the first.
        usual = max(counts, key=lambda count: (counts[count], count == channels))
        odd = next(sample for sample in good if sample.image.shape[0] != usual)
        return SegzooError(f"`{odd.key}` has {odd.image.shape[0]} channels, others {usual}", ALIKE)
    images, targets, keys = zip(*good, strict=True)
    batch = Batch(torch.stack(images), torch.stack(targets), list(keys))
    return _Loaded(batch, places, [read.stored for read in chosen], faults)


class Part(NamedTuple):
    """Where a rank's batch has its place.

    `first` is the place of its first picture: in training in the batch of all ranks together, of
    `total` pictures, and else in the split.
    """

    first: int
    total: int


class Batches:
    """The batches of one split: ``for batch in batches.epoch(n)``.

    With `shuffle` the order of epoch n depends on (seed, n) alone, whatever the workers do; a data
    set that is better read in another one than a random one gives it by ``shuffled(seed)``. With
    `cache` a picture is read and resized once: "auto" keeps it on disk, for other runs as well,
    where the data set says which files it is made of, else in memory where all of them take less
    than a quarter of it; "memory" and "none" are as they say. With `pin` batches come in memory
    that a CUDA device reads without a copy.

    A sample that cannot be read is an error, or with `skip_bad` left out and noted in `faults`, by
    its message; with `shuffle` another one of its batch takes its place, so that batches stay as
    large as they are.

    With `crops` a sample is one of a picture's crops, and nothing is kept but what is read last;
    with the size None pictures have their own, and `batch_size` is 1.

    Of several `ranks` each has, with `shuffle`, its share of every batch of `batch_size`, and
    else every `ranks.count`-th batch.
    """

    def __init__(
        self,
        dataset: Any,
        info: DataInfo,
        *,
        size: tuple[int, int] | None,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = -1,
        cache: str = "auto",
        pin: bool = False,
        skip_bad: bool = False,
        crops: Crops | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        leave_if_imported_again()
        self.info, self.size, self.batch_size, self.ranks = info, size, batch_size, ranks
        self.shuffle, self.seed, self.pin = shuffle, seed, pin
        self.bad = ("replace" if shuffle else "drop") if skip_bad else "stop"
        self.faults: dict[str, str] = {}
        self.stream = not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__")
        self.crops = crops
        self.pictures = -1 if self.stream else len(dataset)
        if self.pictures == 0:
            raise SegzooError(f"{info.identity} has no pictures in this split")
        self._shuffled = getattr(dataset, "shuffled", self._at_random)
        kind = Stream if self.stream else Samples
        self.samples = kind(dataset, info, size, seed, crops)
        self.count = len(self.samples) if isinstance(self.samples, Samples) else -1
        self.first = self._first()
        self.channels = int(self.first.images_BCHW.shape[1])
        self.workers = self._choose_workers(workers)
        self._room_told = -1
        self._kept = None if self.stream else self._make_cache(dataset, cache)

    def __len__(self) -> int:
        """Return the number of batches; 0 for a stream, which does not say."""
        return 0 if self.stream else len(self._bounds())

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield this rank's batches of epoch `number` (0, 1, ...), the last possibly smaller."""
        return (batch for batch, _ in self.with_parts(number))

    def with_parts(self, number: int, start: int = 0) -> Iterator[tuple[Batch, Part]]:
        """Yield the same batches, from the one numbered `start` on, each with its place."""
        # What is kept is read once, in whichever epoch.
        self.samples.epoch = 0 if self._kept is not None else number
        if self.stream:
            yield from itertools.islice(self._streamed(), start, None)
            return
        order, own = self.order(number), self._own()[start:]
        batches = self._read([order[first:last] for first, last, _ in own])
        for batch, (_, _, part) in zip(batches, own, strict=True):
            if batch is not None:
                yield batch, part

    def _read(self, chunks: list[Indices]) -> Iterator[Batch | None]:
        kept = self._kept
        if kept is not None:
            kept.check()
        if kept is not None and self.all_kept:
            done = 0
            try:
                with ThreadPoolExecutor(1, "segzoo-batches") as reader:
                    for batch in in_order(reader, self._gathered, chunks, ahead=BATCHES_AHEAD):
                        yield batch
                        done += 1
                return
            except LostError as error:
                kept.lost(error)
                chunks = chunks[done:]
        loaded = self._loaded(batch_sampler=_Lists(chunks))
        for chunk, (batch, places, stored, faults) in zip(chunks, loaded, strict=True):
            if kept is not None and batch is not None and not faults:
                kept.arrived(chunk[places], batch, stored)
            yield batch

    @property
    def all_kept(self) -> bool:
        """Whether every sample is in the cache."""
        return self._kept is not None and not self._kept.missing.any()

    def tried(self, index: int) -> Sample | None:
        """Return a sample, or None for one that cannot be read and is to be left out.

        With crops it is the whole picture that one is cut of.
        """
        assert isinstance(self.samples, Samples)
        read = self.samples.uncropped(index) if self.crops else self.samples[index]
        if isinstance(read, Read):
            self._check_channels(read.sample.image[None], read.sample.key)
            return read.sample
        if self.bad == "stop":
            raise read
        self._note([read])
        return None

    def order(self, number: int) -> Indices:
        """Return the order of the pictures in epoch `number`."""
        if not self.shuffle:
            return np.arange(self.count)
        seed = mixed(self.seed, number)
        order = np.asarray(self._shuffled(seed))
        return self.crops.ordered(order, seed) if self.crops else order

    def _at_random(self, seed: int) -> Indices:
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(self.pictures, generator=generator).numpy()

    def _bounds(self) -> list[int]:
        """Return where in an epoch's order each batch of all ranks begins.

        In training a single picture left over joins the batch before it: alone it would make
        batch norm's statistics those of one picture, or stop it where its maps are 1 x 1. So do
        fewer than there are ranks.
        """
        size = self.batch_size
        firsts = list(range(0, self.count, size))
        least = max(min(size, 2), self.ranks.count)
        if self.shuffle and len(firsts) > 1 and self.count - firsts[-1] < least:
            del firsts[-1]
        return firsts

    def _own(self) -> list[tuple[int, int, Part]]:
        """Return from where to where in an order this rank's batches are, and their places."""
        bounds = list(itertools.pairwise([*self._bounds(), self.count]))
        ranks = self.ranks
        if not self.shuffle:
            own = bounds[ranks.rank :: ranks.count]
            return [(first, last, Part(first, last - first)) for first, last in own]
        shares = [(first, last - first, ranks.share(last - first)) for first, last in bounds]
        return [
            (first + share.start, first + share.stop, Part(share.start, total))
            for first, total, share in shares
        ]

    def _streamed(self) -> Iterator[tuple[Batch, Part]]:
        """Yield a stream's batches. In training ranks leave out a last one that is not full."""
        ranks, size = self.ranks, self.batch_size
        own = ranks.share(size) if self.shuffle else slice(0, size)
        assert isinstance(self.samples, Stream)
        self.samples.own = self._own_of_stream
        for number, (batch, *_) in enumerate(self._loaded(batch_size=own.stop - own.start)):
            if batch is None:
                continue
            if self.shuffle:
                total = size if ranks.count > 1 else len(batch.keys)
                yield batch, Part(own.start, total)
            else:
                first = (number * ranks.count + ranks.rank) * size
                yield batch, Part(first, len(batch.keys))

    def _own_of_stream(self, samples: Iterator[Any]) -> Iterator[Any]:
        ranks, size = self.ranks, self.batch_size
        if ranks.count == 1:
            yield from samples
            return
        for number in itertools.count():
            group = list(itertools.islice(samples, size))
            if not group or (self.shuffle and len(group) < size):
                return
            if self.shuffle:
                yield from group[ranks.share(size)]
            elif number % ranks.count == ranks.rank:
                yield from group

    def _first(self) -> Batch:
        fault: SegzooError | None = None
        for read in (
            self.samples if self.stream else map(self.samples.__getitem__, range(self.count))
        ):
            one = _collate([read], "stop")
            if isinstance(one, _Loaded) and one.batch is not None:
                return one.batch
            fault = one if isinstance(one, SegzooError) else fault
            if self.bad == "stop":
                break
        raise fault or SegzooError(f"{self.info.identity} yields no pictures in this split")

    def _make_cache(self, dataset: Any, how: str) -> MemoryCache | SampleCache | None:
        if self.size is None or self.crops:
            return None
        images_BCHW, target_BHW, keys = self.first
        first = Sample(images_BCHW[0], target_BHW[0], keys[0])
        if how == "auto" and (cache := open_cache(dataset, self.info, self.size, first)):
            cache.look()
            assert isinstance(self.samples, Samples)
            self.samples.cache = cache
            return cache
        per_sample = first.image.nbytes + first.target.nbytes
        fits = per_sample * self.count < _free_memory() // 4
        return MemoryCache(self.count, first) if how != "none" and fits else None

    def _gathered(self, chunk: Indices) -> Batch:
        assert self._kept is not None
        batch = self._kept.gather(chunk)
        if not self.pin:
            return batch
        return Batch(batch.images_BCHW.pin_memory(), batch.target_BHW.pin_memory(), batch.keys)

    def _loaded(self, **how: Any) -> Iterator[_Loaded]:
        """Yield what the worker processes read."""
        import torchvision.io  # noqa: F401 - Once, for all the processes that are forked.

        # A generator of its own, so that reading takes nothing from the training's random numbers.
        generator = torch.Generator().manual_seed(self.seed)
        workers = self._workers_with_room()
        loader: Iterable[Any] = DataLoader(
            self.samples,
            num_workers=workers,
            collate_fn=functools.partial(_collate, bad=self.bad, channels=self.channels),
            worker_init_fn=functools.partial(
                prepare_reader, end_with=os.getpid() if in_main_thread() else 0
            ),
            generator=generator,
            pin_memory=self.pin,
            **how,
        )
        with deaths_told(), losses_told():
            for loaded in first_then_rest(Readers(loader, workers), workers):
                if isinstance(loaded, SegzooError):
                    raise loaded
                batch = loaded.batch
                self._note(loaded.faults)
                if batch is not None:
                    self._check_channels(batch.images_BCHW, batch.keys[0])
                yield loaded

    def _workers_with_room(self) -> int:
        images_BCHW, target_BHW, _ = self.first
        pictures = -(-self.batch_size // self.ranks.count) if self.shuffle else self.batch_size
        per_batch = pictures * (images_BCHW.nbytes + target_BHW.nbytes)
        workers, why_fewer = with_room(self.workers, per_batch)
        if why_fewer and workers != self._room_told:
            log.warning("%s", why_fewer)
            self._room_told = workers
        return workers

    def _check_channels(self, images_BCHW: torch.Tensor, key: str) -> None:
        if images_BCHW.shape[1] != self.channels:
            count = images_BCHW.shape[1]
            raise other_channels(key, count, self.first.keys[0], self.channels)

    def _note(self, faults: list[SegzooError]) -> None:
        for fault in faults:
            if fault.message not in self.faults:
                self.faults[fault.message] = fault.hint
                log.warning("left out: %s", fault.message)

    def _choose_workers(self, workers: int) -> int:
        if workers >= 0:
            return workers
        # Starting a process costs more than reading a few pictures; a stream may not be shared.
        return 0 if self.stream or self.count < 64 else min(8, os.cpu_count() or 1)


class _Lists:
    """Chunks of indices as lists, one at a time, as a DataLoader wants them."""

    def __init__(self, chunks: list[Indices]) -> None:
        self.chunks = chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[list[int]]:
        return (chunk.tolist() for chunk in self.chunks)


def _free_memory() -> int:
    """Return the bytes that can be taken without swapping (Linux), else of all memory half."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
