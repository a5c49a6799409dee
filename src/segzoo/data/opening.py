"""Opening a registered data set: its options, its stand-in, its splits."""

import bisect
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset

from segzoo.compute.contracts import check_dataset
from segzoo.compute.process_state import unchanged_process
from segzoo.data.names import Names
from segzoo.data.roots import user_cache_folder
from segzoo.data.sample import DataInfo, describe
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import make_options, option_infos, options_dict
from segzoo.plugins.registry import Entry
from segzoo.store import replace_folder

log = logging.getLogger("segzoo")


class DataSource:
    """A registered data set with its options and root: ``source.split("train")`` builds it."""

    def __init__(
        self,
        name: str,
        *,
        root: str | Path | None = None,
        options: dict[str, Any] | None = None,
        sample: bool = False,
    ) -> None:
        self.entry: Entry = get_registry().get("datasets", name)
        self.options = make_options(self.entry.spec.options, options, self.entry.owner)
        self._build = self.entry.resolve("build")
        self.root = write_sample(self.entry) if sample else Path(root) if root else None
        if sample:
            log.warning(
                "a STAND-IN for `%s`: a few small generated pictures in %s, to try things out on; "
                "their scores say nothing of the data set itself",
                self.entry.spec.name,
                self.root,
            )

    def __repr__(self) -> str:
        declared = option_infos(self.entry.spec.options)
        given = [
            f"{info.name}={value!r}"
            for info in declared
            if (value := getattr(self.options, info.name)) != info.default
        ]
        where = [] if self.root is None else [str(self.root)]
        return f"DataSource({', '.join([self.entry.identity, *where, *given])})"

    def split(self, split: str) -> Any:
        """Build one split; raises MissingSplitError where the data set has none of that name."""
        with unchanged_process():
            return self._build(root=self.root, split=split, options=self.options)

    def splits(self, names: Sequence[str]) -> dict[str, Any]:
        """Build those of the splits that there are."""
        found: dict[str, Any] = {}
        for name in names:
            try:
                found[name] = self.split(name)
            except MissingSplitError:
                continue
        return found

    def info(self, dataset: Any) -> DataInfo:
        """Return what a built split says of its classes and target."""
        check_dataset(dataset, self.entry.owner)
        return describe(dataset, self.entry, options_dict(self.options))


def notices(datasets: Iterable[Any]) -> list[str]:
    """Return what built splits have to say of themselves (`notices`), each text once."""
    return _said(datasets, "notices")


def advice(datasets: Iterable[Any]) -> list[str]:
    """Return what built splits advise of before a training (`advice`), each text once."""
    return _said(datasets, "advice")


def _said(datasets: Iterable[Any], attribute: str) -> list[str]:
    said = (str(text) for dataset in datasets for text in getattr(dataset, attribute, ()))
    return list(dict.fromkeys(said))


def unlike(entry: Entry, split: str, info: DataInfo, trained: DataInfo) -> SegzooError | None:
    """Return what is wrong with a split whose classes are not those of the training."""
    if info.classes == trained.classes:
        return None
    return SegzooError(
        f"{entry.owner}: the classes of `{split}` are {info.classes}, those of the training "
        f"{trained.classes}"
    )


def joined(datasets: Sequence[Any]) -> Any:
    """Return several built splits as one, in order."""
    if len(datasets) == 1:
        return datasets[0]
    if any(not hasattr(dataset, "__getitem__") for dataset in datasets):
        return _Chain(datasets)
    whole: Any = ConcatDataset(datasets)
    if all(hasattr(dataset, "keys") for dataset in datasets):
        whole.keys = Names(key for dataset in datasets for key in dataset.keys)
    if all(hasattr(dataset, "files") for dataset in datasets):
        whole.files = _Files(datasets)
    return whole


class _Files:
    """`files(index)` of several data sets as one."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = datasets
        self.ends = list(itertools.accumulate(map(len, datasets)))

    def __call__(self, index: int) -> Sequence[Path]:
        which = bisect.bisect_right(self.ends, index)
        return self.datasets[which].files(index - (self.ends[which - 1] if which else 0))


class _Chain:
    """Streams one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)


def write_sample(entry: Entry) -> Path:
    """Write the data set's stand-in into the cache, once per version; return its folder."""
    if not entry.spec.sample:
        raise SegzooError(f"{entry.owner} has no stand-in, so --sample cannot be used with it")
    version = f"{entry.distribution}-{entry.version}"
    folder = user_cache_folder() / "samples" / version / entry.spec.name
    if not folder.is_dir():
        write = entry.resolve("sample")
        replace_folder(folder, write)
    return folder
