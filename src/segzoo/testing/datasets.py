"""DatasetConformance: the contract of a data set, checked on its own `sample`."""

import hashlib
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from segzoo.data.finish import finish_sample
from segzoo.data.sample import DataInfo, Sample, describe
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.plugins.options import options_dict
from segzoo.testing.base import Conformance, check
from segzoo.testing.state import ADVICE, captured_output, changed_state, global_state

SPLITS = ("train", "val", "test")
MOST = 32  # items looked at in each split
MOST_BYTES = 50_000_000
IMAGE_TYPES = (torch.uint8, torch.uint16, torch.float32)
TARGET_TYPES = (torch.uint8, torch.int32)


class DatasetConformance(Conformance):
    """Inherit from it and set `data`; its spec's `sample` writes what the checks read.

    class TestFoo(DatasetConformance):
        data = "segzoo-foo/foo"
    """

    kind = "datasets"
    attribute = "data"
    data: ClassVar[str] = ""
    _kept: ClassVar[dict[Any, tuple[Any, Path]]] = {}

    def root(self) -> Path:
        """Return a folder with the sample, written once per class."""
        key = (type(self), self.entry.identity)
        if key not in self._kept:
            folder = tempfile.TemporaryDirectory(prefix="segzoo-sample-")
            self._write(Path(folder.name))
            self._kept[key] = (folder, Path(folder.name))
        return self._kept[key][1]

    def _write(self, root: Path) -> None:
        if not self.entry.spec.sample:
            raise self.fault(
                "has no `sample`",
                "write a function sample(root) that fills a folder with a tiny set in the real "
                "format, and name it in the spec",
            )
        self.entry.resolve("sample")(root)

    def build(self, root: Path | None, split: str, **options: Any) -> Any:
        """Build one split of the data set in `root`."""
        made = self.made_options(**options)
        return self.entry.resolve("build")(root=root, split=split, options=made)

    def splits(self) -> dict[str, Any]:
        """Build every split that the sample has."""
        built: dict[str, Any] = {}
        for split in SPLITS:
            try:
                built[split] = self.build(self.root(), split)
            except MissingSplitError:
                continue
        return built

    def info(self, dataset: Any) -> DataInfo:
        """Return what the built data set says of itself."""
        return describe(dataset, self.entry, options_dict(self.made_options()))

    def items(self) -> Iterator[tuple[str, int, Sample, DataInfo]]:
        """Yield (split, index, sample, info) of the first items of every split."""
        for split, dataset in self.splits().items():
            info = self.info(dataset)
            for index, item in enumerate(first_items(dataset)):
                if not isinstance(item, tuple) or len(item) != 3:
                    raise self.fault(
                        f"gives {type(item).__name__} for `{split}` {index}",
                        "an item is segzoo.Sample(image, target, key)",
                    )
                yield split, index, Sample(*item), info

    @check
    def test_sample(self) -> None:
        """The sample is small, inside its folder, and the same every time."""
        prints = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as outer:
                root = Path(outer) / "root"
                root.mkdir()
                self._write(root)
                beside = [path.name for path in Path(outer).iterdir() if path != root]
                if beside:
                    raise self.fault(f"writes its sample beside root: {beside}", "write under root")
                prints.append(tree_digest(root))
                size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        if prints[0] != prints[1]:
            differing = [name for name in prints[0] if prints[0][name] != prints[1].get(name)]
            raise self.fault(
                f"writes another sample each time ({(differing or ['files'])[0]} differs)",
                "draw it from a fixed seed, and put no dates into files",
            )
        if size > MOST_BYTES:
            raise self.fault(f"writes a sample of {size / 1e6:.0f} MB", "a few small pictures do")

    @check
    def test_splits(self) -> None:
        """There is something to train on, and a missing split is a MissingSplitError."""
        built = self.splits()
        if "train" not in built:
            raise self.fault("has no `train` split in its sample", "write one")
        if len(built) < 2:
            raise self.fault(
                "has neither `val` nor `test` in its sample",
                "carve `val` from `train` by a seed: segzoo.data.splits.carve",
            )
        for split, dataset in built.items():
            if not list(islice(first_items(dataset), 1)):
                raise self.fault(f"has an empty `{split}`", "raise MissingSplitError instead")

    @check
    def test_info(self) -> None:
        """Classes, palette, target kind and ignore index make sense in every split."""
        infos = {split: self.info(dataset) for split, dataset in self.splits().items()}
        for split, info in infos.items():
            if info.classes != infos["train"].classes or info.target != infos["train"].target:
                raise self.fault(
                    f"has other classes or another target in `{split}` than in `train`",
                    "they belong to the data set, not to a split",
                )
            if len(set(info.classes)) != len(info.classes):
                raise self.fault(f"names a class twice: {info.classes}", "give each its own name")
            if not all(0 <= value <= 255 for colour in info.palette for value in colour):
                raise self.fault("has a palette outside 0..255", "colours are three of 0..255")

    @check
    def test_types(self) -> None:
        """Images are C x H x W of a type and range the contract knows, targets H x W with them."""
        for split, index, (image, target, key), info in self.items():
            where = f"`{split}` {index}"
            if not (isinstance(image, Tensor) and isinstance(target, Tensor)):
                raise self.fault(f"gives no tensors for {where}", "image and target are tensors")
            if image.ndim != 3 or tuple(image.shape[1:]) != tuple(target.shape):
                raise self.fault(
                    f"gives an image {tuple(image.shape)} with a target {tuple(target.shape)} "
                    f"for {where}",
                    "an image is C x H x W, its target H x W",
                )
            if image.dtype not in IMAGE_TYPES or target.dtype not in TARGET_TYPES:
                raise self.fault(
                    f"gives an image of {image.dtype} with a target of {target.dtype} for {where}",
                    "images are uint8 (or uint16, float32 with `value_range`), targets uint8 (or "
                    "int32 for more than 255 classes)",
                )
            if not isinstance(key, str) or not key:
                raise self.fault(f"gives the key {key!r} for {where}", "a key is a text")
            low, high = info.value_range
            pixels = image.to(torch.float32)
            if float(pixels.min()) < low or float(pixels.max()) > high:
                raise self.fault(
                    f"gives pixels {float(pixels.min()):g}..{float(pixels.max()):g} for {where}",
                    f"the stated value_range is {low:g}..{high:g}",
                )

    @check
    def test_labels(self) -> None:
        """Labels are class ids or the ignore index; some class other than the first appears."""
        seen: set[int] = set()
        for split, index, sample, info in self.items():
            try:
                finished = finish_sample(sample, info, None)
            except SegzooError as error:
                raise self.fault(
                    f"gives a bad target for `{split}` {index}: {error.message}",
                    "map what files hold to 0..classes-1, and the rest to the ignore index",
                ) from error
            seen |= set(finished.target.unique().tolist())
            ignored = {info.ignore_index} if info.target == "labels" else set()
        if not seen - {0} - ignored:
            raise self.fault("has nothing but class 0 in its sample", "show every class in it")

    @check
    def test_stable(self) -> None:
        """Built twice, a split has the same length, order and keys."""
        for split in self.splits():
            one, two = (self.build(self.root(), split) for _ in range(2))
            keys = [[Sample(*item).key for item in first_items(d)] for d in (one, two)]
            if keys[0] != keys[1]:
                raise self.fault(
                    f"gives `{split}` in another order when it is built again",
                    "sort what the file system lists, and draw from a fixed seed",
                )
            if hasattr(one, "__len__") and len(one) != len(two):
                raise self.fault(f"has another length of `{split}` the second time", "sort, seed")

    @check
    def test_keys(self) -> None:
        """Keys are unique within a split, and no picture is in two of them."""
        seen: dict[str, str] = {}
        prints: dict[bytes, str] = {}
        for split, _, sample, _ in self.items():
            place = f"{split}/{sample.key}"
            if place in seen:
                raise self.fault(f"has the key `{sample.key}` twice in `{split}`", "make it unique")
            seen[place] = split
            content = hashlib.sha256(bytes_of(sample.image)).digest()
            if prints.setdefault(content, split) != split:
                raise self.fault(
                    f"has the picture `{sample.key}` in `{split}` and in `{prints[content]}`",
                    "a picture that is trained on must not be scored; carve the splits apart",
                )

    @check
    def test_keys_attribute(self) -> None:
        """Where there is a `keys` attribute, it lists the keys in order."""
        for split, dataset in self.splits().items():
            keys = getattr(dataset, "keys", None)
            if keys is None:
                continue
            there = [Sample(*item).key for item in first_items(dataset)]
            if callable(keys) or list(keys)[:MOST] != there:
                raise self.fault(f"has `keys` unlike those of `{split}`", "list them in order")

    @check
    def test_files(self) -> None:
        """Where there is `files`, it names every file that a sample is made of."""
        for split in self.splits():
            with tempfile.TemporaryDirectory() as outer:
                root = Path(outer, "root")
                shutil.copytree(self.root(), root)
                dataset = self.build(root, split)
                if not hasattr(dataset, "files"):
                    continue
                whole = Sample(*dataset[0])
                named = {Path(path).resolve() for path in dataset.files(0)}
                lost = [path for path in named if not path.is_file()]
                if lost:
                    raise self.fault(
                        f"has `files` that are not there: {lost[0].name}", "name files"
                    )
                for path in root.rglob("*"):
                    if path.is_file() and path.resolve() not in named:
                        path.unlink()
                try:
                    alone = Sample(*dataset[0])
                except Exception as error:
                    raise self.fault(
                        f"reads more for `{split}` 0 than its `files` name: {error}",
                        "name every file that the sample is made of, or leave `files` out",
                    ) from error
                same = torch.equal(whole.image, alone.image)
                if not same or not torch.equal(whole.target, alone.target):
                    raise self.fault(
                        f"gives another `{split}` 0 without the files that `files` does not name",
                        "name every file that the sample is made of, or leave `files` out",
                    )

    @check
    def test_shuffled(self) -> None:
        """Where there is `shuffled`, it has each index once, in an order that the seed decides."""
        for split, dataset in self.splits().items():
            if not hasattr(dataset, "shuffled"):
                continue
            orders = [list(map(int, dataset.shuffled(seed))) for seed in (1, 1)]
            if sorted(orders[0]) != list(range(len(dataset))):
                raise self.fault(
                    f"has a `shuffled` that is not an order of the {len(dataset)} of `{split}`",
                    "return each index once",
                )
            if orders[0] != orders[1]:
                raise self.fault(
                    f"has a `shuffled` that differs for one seed in `{split}`",
                    "draw from numpy.random.default_rng(seed)",
                )

    @check
    def test_repeatable(self) -> None:
        """The same item twice is the same, and reading leaves random states and stdout alone."""
        for split, dataset in self.splits().items():
            if not hasattr(dataset, "__getitem__"):
                continue
            with captured_output() as printed:
                before = global_state()
                one, two = Sample(*dataset[0]), Sample(*dataset[0])
                changed = changed_state(before)
            same = torch.equal(one.image, two.image) and torch.equal(one.target, two.target)
            if not same or one.key != two.key:
                raise self.fault(
                    f"gives another item 0 of `{split}` the second time",
                    "leave random changes to the core's augmentation",
                )
            if changed:
                raise self.fault(f"changes the {changed[0]} when read", ADVICE[changed[0]])
            if printed.getvalue():
                raise self.fault("prints on stdout", "use logging; stdout is for JSON")

    @check
    def test_indices(self) -> None:
        """An index beyond the end is an IndexError, as Python's sequences give."""
        for split, dataset in self.splits().items():
            if not hasattr(dataset, "__getitem__"):
                continue
            try:
                dataset[len(dataset)]
            except IndexError:
                continue
            except Exception as error:
                raise self.fault(
                    f"raises {type(error).__name__} beyond the end of `{split}`",
                    "let a list's own IndexError through",
                ) from error
            raise self.fault(f"gives an item beyond the end of `{split}`", "raise IndexError")

    @check
    def test_workers(self) -> None:
        """It survives pickling, and two worker processes give the same items."""
        dataset = self.splits()["train"]
        if not hasattr(dataset, "__getitem__"):
            raise SkipTest("a stream is read by one process")
        try:
            pickle.loads(pickle.dumps(dataset))
        except Exception as error:
            raise self.fault(
                f"cannot be pickled: {type(error).__name__}: {error}",
                "keep no open files, locks, lambdas or generators; open files in __getitem__",
            ) from error
        loader = DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=as_it_is)
        there = [Sample(*item) for item in islice(loader, MOST)]
        here = [Sample(*item) for item in first_items(dataset)]
        for one, two in zip(here, there, strict=True):
            if one.key != two.key or not torch.equal(one.image, two.image):
                raise self.fault(
                    f"gives `{two.key}` for `{one.key}` in worker processes",
                    "let an item depend on its index alone",
                )

    @check
    def test_missing(self) -> None:
        """An empty root is an error of the user's that says what is missing."""
        with tempfile.TemporaryDirectory() as empty:
            try:
                self.build(Path(empty), "train")
            except MissingSplitError:
                raise self.fault(
                    "calls an empty root a missing split", "say that the root holds no such set"
                ) from None
            except SegzooError as error:
                if Path(empty).name not in str(error):
                    raise self.fault(
                        f"does not name the root that is empty: {error}", "name the folder"
                    ) from error
            except Exception as error:
                raise self.fault(
                    f"raises {type(error).__name__} for an empty root: {error}",
                    "raise SegzooError; segzoo.data.roots.find_root does so",
                ) from error
            else:
                raise self.fault("builds from an empty root", "raise SegzooError naming it")


def first_items(dataset: Any) -> Iterator[Any]:
    """Yield up to 32 items of a map-style data set or a stream."""
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return (dataset[index] for index in range(min(MOST, len(dataset))))
    return islice(iter(dataset), MOST)


def as_it_is(item: Any) -> Any:
    """Collate nothing."""
    return item


def bytes_of(image_CHW: Tensor) -> bytes:
    """Return the pixels and the shape, whatever the type."""
    return repr(tuple(image_CHW.shape)).encode() + image_CHW.contiguous().numpy().tobytes()


def tree_digest(root: Path) -> Mapping[str, str]:
    """Return relative path -> digest of every file under a folder."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
