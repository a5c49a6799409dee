"""Reading a sample: out of the cache or from the data set, whose code and chance are kept apart.

What a data set draws at random depends on the run's seed, the sample and, where samples are not
kept, the epoch: not on who reads it, in which process, or when. So a run that is gone on with reads
what the undisturbed one reads.
"""

import contextlib
import itertools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset, IterableDataset, get_worker_info

from segzoo.compute.process_state import unchanged_process
from segzoo.compute.randomness import OwnRandom, kept_random, seed_random
from segzoo.data.finish import finish_sample
from segzoo.data.loading.cache import SampleCache
from segzoo.data.loading.crops import Crops, Recent
from segzoo.data.sample import DataInfo, Sample
from segzoo.errors import Overdue, PluginCodeError, SegzooError
from segzoo.plugins.isolation import one_line, trace_of

ALIKE = "all pictures of a data set have the same channels"
_END: Any = object()


class Read(NamedTuple):
    """A finished sample, and whether the cache on disk has it now."""

    sample: Sample
    stored: bool


@contextlib.contextmanager
def naming(info: DataInfo, index: int) -> Iterator[None]:
    """Turn whatever a data set raises while it reads a sample into a SegzooError that names both.

    An error of another kind is the data set's own: the place in its code is said. What the data
    set changes for the whole process is put back.
    """
    try:
        with unchanged_process():
            yield
    except (SegzooError, Overdue):
        raise
    except BaseException as error:  # sys.exit() in a data set is its own error, too.
        if isinstance(error, KeyboardInterrupt) and get_worker_info() is None:
            raise  # Ctrl-C; of the processes that read, which are deaf, it is the data set's.
        *_, last = traceback.extract_tb(error.__traceback__)
        raise PluginCodeError(
            f"{info.identity}, sample {index}: {one_line(error)} "
            f"(in {Path(last.filename).name}, line {last.lineno})",
            "`segzoo data check` looks at every sample; correct the file, or the data set's code",
            trace_of(error),  # as text, which comes out of another process too
        ) from error


def other_channels(key: str, count: int, first: str, usual: int) -> SegzooError:
    """Return the error for a sample with other channels than the first one of its split."""
    return SegzooError(
        f"`{key}` has {count} channels, the first picture of its split, `{first}`, has {usual}",
        ALIKE,
    )


class Samples(Dataset[Any]):
    """Samples at one size, out of the cache where it has them. `epoch` is the one being read.

    A SegzooError travels as a value, to come out of a worker process unchanged.
    """

    def __init__(
        self,
        dataset: Any,
        info: DataInfo,
        size: tuple[int, int] | None,
        seed: int = 0,
        crops: Crops | None = None,
    ) -> None:
        self.dataset, self.info, self.size, self.seed = dataset, info, size, seed
        self.cache: SampleCache | None = None
        self.crops, self._recent = crops, Recent()
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.dataset) * (self.crops.each if self.crops else 1)

    def __getitem__(self, index: int) -> Read | SegzooError:
        cache = self.cache
        try:
            if cache is None:
                return Read(self.finished(index), False)
            # Before the files are read: what changes them meanwhile leaves an outdated signature.
            signature = cache.signature(index)
            kept = cache.read(index, signature, cache.keys[index])
            if kept is not None:
                return Read(kept, True)
            sample = self.finished(index)
            return Read(sample, cache.write(index, signature, sample))
        except SegzooError as error:
            return error

    def uncropped(self, index: int) -> Read | SegzooError:
        """Return the whole picture that a crop is cut of."""
        try:
            return Read(self._whole(index // (self.crops.each if self.crops else 1)), False)
        except SegzooError as error:
            return error

    def finished(self, index: int) -> Sample:
        """Return a sample as it comes from the data set, finished, or a crop of it."""
        if self.crops is None:
            return self._whole(index)
        key = (self.epoch, index // self.crops.each)
        whole = self._recent.get(key)
        if whole is None:
            whole = self._whole(key[1])
            self._recent.put(key, whole)
        return self.crops.cut(whole, _crop_seed(self.seed, self.epoch, index))

    def _whole(self, index: int) -> Sample:
        # A worker process has nothing else to draw.
        kept = kept_random() if get_worker_info() is None else contextlib.nullcontext()
        with naming(self.info, index):
            with kept:
                seed_random(mixed(mixed(self.seed, self.epoch), index))
                sample = Sample(*self.dataset[index])
            size = self.crops.shown(sample.image) if self.crops else self.size
            return finish_sample(sample, self.info, size)


class Stream(IterableDataset[Any]):
    """The same for a data set that can only be iterated, of which a rank finishes its `own`."""

    def __init__(
        self,
        dataset: Any,
        info: DataInfo,
        size: tuple[int, int] | None,
        seed: int = 0,
        crops: Crops | None = None,
    ) -> None:
        self.dataset, self.info, self.size, self.seed = dataset, info, size, seed
        self.crops = crops
        self.own: Callable[[Iterator[Any]], Iterator[Any]] = iter
        self.epoch = 0

    def __iter__(self) -> Iterator[Read | SegzooError]:
        worker = get_worker_info()
        seed = mixed(self.seed, self.epoch)
        if worker is None:
            own = OwnRandom(seed).in_use
        else:
            seed_random(mixed(seed, worker.id))
            own = contextlib.nullcontext
        samples: Iterator[Any] | None = None
        for index in itertools.count():
            try:
                with naming(self.info, index):
                    with own():
                        samples = self.own(iter(self.dataset)) if samples is None else samples
                        raw = next(samples, _END)
                    if raw is _END:
                        return
                    sample = Sample(*raw)
                    size = self.crops.shown(sample.image) if self.crops else self.size
                    finished = finish_sample(sample, self.info, size)
                    if self.crops:
                        finished = self.crops.cut(
                            finished, _crop_seed(self.seed, self.epoch, index)
                        )
                yield Read(finished, False)
            except SegzooError as error:
                yield error
                return


def _crop_seed(seed: int, epoch: int, index: int) -> int:
    """Return what the place of a crop is drawn from: not what the data set draws from."""
    return mixed(mixed(mixed(seed, epoch), index), 1)


def mixed(seed: int, number: int) -> int:
    """Return one 63-bit seed for (seed, number); neighbouring pairs must not share an order."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9) & (2**63 - 1)
