"""One data set a fault; each is the sound one with a single thing wrong."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segzoo import MissingSplitError, Sample, SegzooError

COUNTS = {"train": 6, "val": 3}


class Sound:
    """Pictures NAME.npy with their labels in one array, in a folder a split."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = sorted(path.stem for path in folder.glob("*.npy"))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        array = torch.from_numpy(np.load(self.folder / f"{key}.npy"))
        return Sample(array[:3], array[3], key)


def builder(make: Callable[[Path], Any]) -> Callable[..., Any]:
    """Return a builder that checks the root and makes a split from its folder."""

    def build(*, root: Path, split: str, options: Any) -> Any:
        if not (root / "train").is_dir():
            raise SegzooError(f"no data set in {root}")
        if not (root / split).is_dir():
            raise MissingSplitError(f"{root} has no {split}")
        return make(root / split)

    return build


def write_sample(root: Path, *, seed: int = 0) -> None:
    """Write 6 training and 3 validation pictures."""
    for split, count in COUNTS.items():
        (root / split).mkdir()
        for index in range(count):
            rng = np.random.default_rng((seed, index, len(split)))
            array = rng.integers(0, 255, (4, 12, 10), dtype=np.uint8)
            array[3] = array[0] > 127
            np.save(root / split / f"{split}{index}.npy", array)


def write_random(root: Path) -> None:
    """Write another sample each time."""
    write_sample(root, seed=random.SystemRandom().randrange(1 << 30))


def write_beside(root: Path) -> None:
    """Write a file outside the root."""
    write_sample(root)
    (root.parent / "beside.txt").write_text("here", encoding="utf-8")


class Changed(Sound):
    """Changes each item by a function that subclasses give."""

    def __getitem__(self, index: int) -> Any:
        return self.change(super().__getitem__(index), index)

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample


class LabelTooHigh(Changed):
    """Holds the label 7 with two classes."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample._replace(target=sample.target * 7)


class RandomItem(Changed):
    """Changes its pictures at random."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        noise = np.random.default_rng().integers(0, 255, sample.image.shape, dtype=np.uint8)
        return sample._replace(image=torch.from_numpy(noise))


class HoldsALambda(Sound):
    """Cannot be pickled."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.transform = lambda image: image


class Shuffled(Sound):
    """Has another order each time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        random.SystemRandom().shuffle(self.keys)
        self.keys += [self.keys.pop(0)] if self.keys == sorted(self.keys) else []


class SameKey(Changed):
    """Calls every picture the same."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample._replace(key="picture")


class SizesDiffer(Changed):
    """Has targets a row shorter than the pictures."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample._replace(target=sample.target[1:])


class Float64(Changed):
    """Gives pictures in double precision."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample._replace(image=sample.image.double())


class SeedsNumpy(Changed):
    """Seeds numpy's global random numbers."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        np.random.seed(4711 + index)  # 0 is what a training before this one may have left
        return sample


class WrongKeys(Sound):
    """Says keys that are not the items' own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.names, self.keys = self.keys, [f"{key}.npy" for key in self.keys]

    def __getitem__(self, index: int) -> Sample:
        key = self.names[index]
        array = torch.from_numpy(np.load(self.folder / f"{key}.npy"))
        return Sample(array[:3], array[3], key)


class NamesOneFile(Sound):
    """Reads a table beside each picture, which its `files` leave out."""

    def files(self, index: int) -> list[Path]:
        """Return the picture's own file."""
        return [self.folder / f"{self.keys[index]}.npy"]

    def __getitem__(self, index: int) -> Sample:
        last = np.load(self.folder / f"{self.keys[-1]}.npy")
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image ^ torch.from_numpy(last[:3] & 1))


class NamesNoFile(Sound):
    """Names a file that is not there."""

    def files(self, index: int) -> list[Path]:
        """Return the picture's file with another ending."""
        return [self.folder / f"{self.keys[index]}.npz"]


class ShufflesTwice(Sound):
    """Gives its first picture twice in an epoch."""

    def shuffled(self, seed: int) -> list[int]:
        """Return an order without the last index."""
        return [0, *range(len(self) - 1)]


class ShufflesAnew(Sound):
    """Leaves the seed aside."""

    def shuffled(self, seed: int) -> list[int]:
        """Return another order each time."""
        return np.random.default_rng().permutation(len(self)).tolist()


class Endless(Sound):
    """Begins again after its last picture."""

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index % len(self))


class NumpyTarget(Changed):
    """Gives its target as an array."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return (sample.image, sample.target.numpy(), sample.key)


class OnlyBackground(Changed):
    """Never shows its second class."""

    def change(self, sample: Sample, index: int) -> Any:
        """Return the item with its fault."""
        return sample._replace(target=torch.zeros_like(sample.target))


def _leaking(folder: Path) -> Sound:
    return Sound(folder.parent / "train")


def leaks(*, root: Path, split: str, options: Any) -> Sound:
    """Build `val` from the training pictures."""
    return builder(_leaking)(root=root, split=split, options=options)


def file_not_found(*, root: Path, split: str, options: Any) -> Sound:
    """Build without a look at the root."""
    if split == "test":
        raise MissingSplitError("no test")
    (root / split / f"{split}0.npy").stat()
    return Sound(root / split)


def one_split(*, root: Path, split: str, options: Any) -> Sound:
    """Build `train` alone."""
    if split != "train":
        raise MissingSplitError("train alone")
    return builder(Sound)(root=root, split=split, options=options)


label_too_high = builder(LabelTooHigh)
random_item = builder(RandomItem)
holds_a_lambda = builder(HoldsALambda)
shuffled = builder(Shuffled)
same_key = builder(SameKey)
sizes_differ = builder(SizesDiffer)
float64 = builder(Float64)
seeds_numpy = builder(SeedsNumpy)
wrong_keys = builder(WrongKeys)
endless = builder(Endless)
names_one_file = builder(NamesOneFile)
names_no_file = builder(NamesNoFile)
shuffles_twice = builder(ShufflesTwice)
shuffles_anew = builder(ShufflesAnew)
numpy_target = builder(NumpyTarget)
only_background = builder(OnlyBackground)
random_sample = writes_beside = no_sample = sound_data = builder(Sound)
