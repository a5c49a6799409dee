"""`webdataset`: images and masks in tar shards, read where they lie, shuffled shard by shard."""

import io
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from segzoo.data.images import read_image, read_matte, read_stored_mask
from segzoo.data.labels.reading import MOST_SCANNED, LabelMap, find_labels
from segzoo.data.pictures.mask_files import StoredMask
from segzoo.data.pictures.value_range import parse_range
from segzoo.data.roots import find_root
from segzoo.data.sample import Sample
from segzoo.data.splits import carve, find_groups
from segzoo.data.standin import shapes
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_webdataset.plugin import ShardOptions
from segzoo_webdataset.shards import Places, find_places, find_shards

log = logging.getLogger("segzoo")


class ShardDataset(Dataset[Sample]):
    """The samples of some shards, in their order there."""

    notices: tuple[str, ...] = ()

    def __init__(self, places: Places, options: ShardOptions, labels: LabelMap | None) -> None:
        self.places, self.keys, self.options = places, places.keys, options
        self.target, self.threshold = options.target, options.threshold
        self._labels = labels
        self._deep_range = parse_range(options.range, "-O range")
        self._upright = options.exif == "apply"
        self.classes = labels.classes if labels else ("background", "foreground")
        self.palette = labels.palette if labels else ()
        self.resolved_options = labels.resolved if labels else {}
        every = labels.faults if labels else ()
        self.faults = tuple(fault for path, fault in every if path.parent in places.shards)

    @property
    def unpaired(self) -> list[tuple[str, str]]:
        """The samples that are left out."""
        return [(name, "lacks its image or mask") for name in self.places.incomplete]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        places = self.places
        name, mask_name = (places.named(index, mask=mask) for mask in (False, True))
        image = read_image(
            name,
            places.read(index, mask=False),
            deep_range=self._deep_range,
            upright=self._upright,
        )
        stored = places.read(index, mask=True)
        if self._labels is None:
            target: Tensor = read_matte(mask_name, stored, upright=self._upright)
        else:
            mask = read_stored_mask(mask_name, stored, upright=self._upright)
            target = self._labels.apply(mask, mask_name)
        if image.shape[1:] != target.shape:
            sizes = [f"{tensor.shape[-1]}x{tensor.shape[-2]}" for tensor in (image, target)]
            raise SegzooError(
                f"{name} is {sizes[0]} but its mask {mask_name.name} is {sizes[1]}",
                "make both the same size"
                + (" (EXIF orientation has been applied)" if self._upright else ""),
            )
        return Sample(image, target, self.keys[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file that a sample is made of: its shard."""
        return (self.places.shard(index),)

    def shuffled(self, seed: int) -> npt.NDArray[np.int64]:
        """Return an order of all samples, near neighbours in few shards.

        The shards come in random order, and as many of them as hold `window` samples are mixed,
        so that a disk or network reads a few shards at a time and not all of them at once.
        """
        generator = np.random.default_rng(seed)
        _, firsts = np.unique(self.places.of, return_index=True)
        of_shard = np.split(np.arange(len(self), dtype=np.int64), firsts[1:])
        order: list[npt.NDArray[np.int64]] = []
        window: list[npt.NDArray[np.int64]] = []
        places = generator.permutation(len(of_shard)).tolist()
        for place in places:
            window.append(of_shard[place])
            if sum(map(len, window)) >= self.options.window or place == places[-1]:
                order.append(generator.permutation(np.concatenate(window)))
                window = []
        return np.concatenate(order)


def build_webdataset(*, root: Path | None, split: str, options: ShardOptions) -> ShardDataset:
    """Build `webdataset` for a split; without shards for ``val`` it is carved from ``train``.

    Raises SegzooError for a root without shards, and for shards without pairs.
    """
    found = find_root("webdataset", root, lambda folder: bool(find_shards(folder)))
    shards = find_shards(found)
    carved = split in ("train", "val") and "val" not in shards
    of_split = shards.get("train" if carved else split)
    if of_split is None:
        raise MissingSplitError(f"data set `webdataset` in {found} has no `{split}` split")
    every = find_places(of_split, options.image, options.mask)
    chosen = every
    if carved:
        groups = find_groups(every.keys, options.group) if options.group else None
        train, val = carve(every.keys, options.val, groups=groups)
        chosen = every.chosen(set(train if split == "train" else val))
    if not len(chosen.keys):
        raise MissingSplitError(f"data set `webdataset` in {found} has no `{split}` split")
    labels = None
    if options.target == "labels" and options.threshold is None:
        first = next(iter(shards.values()))
        known = every if first is of_split else find_places(first, options.image, options.mask)
        labels = _labels(known, found, options)
    if split == "train":
        log.info(
            "webdataset: %d pairs of .%s and .%s in %d shards of %s",
            *(len(chosen.keys), chosen.image, chosen.mask, len(chosen.shards), found),
        )
    data = ShardDataset(chosen, options, labels)
    data.notices = tuple(_notices(every, labels))
    return data


def _notices(every: Places, labels: LabelMap | None) -> Iterator[str]:
    if every.incomplete:
        shown = ", ".join(every.incomplete[:3]) + (" ..." if len(every.incomplete) > 3 else "")
        count = len(every.incomplete)
        yield f"webdataset: {count} samples without image or mask are left out: {shown}"
    yield from (f"webdataset: {doubt}" for doubt in (labels.doubts if labels else ()))


def _labels(places: Places, root: Path, options: ShardOptions) -> LabelMap:
    """Decide what the values in the masks mean, by evenly spaced ones of the first split."""
    step = max(1, -(-len(places.keys) // MOST_SCANNED))
    masks = {places.named(n, mask=True): n for n in range(0, len(places.keys), step)}

    def read(path: Path) -> StoredMask:
        stored = places.read(masks[path], mask=True)
        return read_stored_mask(path, stored, upright=options.exif == "apply")

    return find_labels(list(masks), options, root, read)


def write_sample(root: Path) -> None:
    """Write 24 training pairs in three shards and 8 val pairs in one: discs (1), boxes (2)."""
    for split, shard, numbers in (
        *(("train", n, range(8 * n, 8 * n + 8)) for n in range(3)),
        ("val", 0, range(24, 32)),
    ):
        with tarfile.open(root / f"{split}-{shard:06d}.tar", "w") as tar:
            for number in numbers:
                image, labels = shapes(number)
                for ending, picture in (("jpg", image), ("mask.png", labels)):
                    data = io.BytesIO()
                    picture.save(data, {"jpg": "JPEG"}.get(ending, "PNG"))
                    info = tarfile.TarInfo(f"{number:06d}.{ending}")
                    info.size = len(data.getvalue())
                    tar.addfile(info, io.BytesIO(data.getvalue()))
