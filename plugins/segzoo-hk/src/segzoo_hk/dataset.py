"""The CUHK portrait matting set (Shen, Tao, Gao, Zhou, Jia: Deep Automatic Portrait Matting, 2016).

``training/`` and ``testing/`` hold ``NNNNN.png`` with its matte ``NNNNN_matte.png``: 600 x 800
photographs, mattes 0 (background) to 255 (person) with soft edges.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from segzoo.data.images import read_image, read_matte
from segzoo.data.index import Index
from segzoo.data.names import Names
from segzoo.data.roots import find_root
from segzoo.data.sample import Sample
from segzoo.data.splits import carve
from segzoo.data.standin import figure
from segzoo.errors import MissingSplitError, SegzooError
from segzoo_hk.plugin import HOMEPAGE, HKOptions

FOLDERS = {"train": "training", "val": "training", "test": "testing"}
SUFFIX = "_matte"


class HKDataset(Dataset[Sample]):
    """Photographs and mattes of one split, paired by name.

    With ``matte=binary`` samples hold the matte and `threshold` says how it becomes labels once
    it is resized; with ``matte=soft`` the target is the alpha.
    """

    def __init__(self, folder: Path, keys: Iterable[str], options: HKOptions) -> None:
        self.folder, self.keys = folder, Names(keys)
        self.target = "alpha" if options.matte == "soft" else "labels"
        self.threshold = options.threshold if options.matte == "binary" else None

    def __len__(self) -> int:
        return len(self.keys)

    def files(self, index: int) -> tuple[Path, Path]:
        """Return the photograph and the matte that a sample is made of."""
        key = self.keys[index]
        return self.folder / f"{key}.png", self.folder / f"{key}{SUFFIX}.png"

    def __getitem__(self, index: int) -> Sample:
        key = self.keys[index]
        image_path, matte_path = self.files(index)
        image, matte = read_image(image_path), read_matte(matte_path)
        if image.shape[1:] != matte.shape:
            sizes = [f"{tensor.shape[-1]}x{tensor.shape[-2]}" for tensor in (image, matte)]
            raise SegzooError(
                f"{image_path} is {sizes[0]} but {matte_path.name} is {sizes[1]}",
                "a photograph and its matte have the same size; replace the wrong one",
            )
        return Sample(image, matte, key)


def build_hk(*, root: Path | None, split: str, options: HKOptions) -> HKDataset:
    """Build `hk`; the root is found as `segzoo.data.roots.find_root` says."""
    return open_layout("hk", root, split, options, homepage=HOMEPAGE)


def open_layout(
    name: str, root: Path | None, split: str, options: HKOptions, *, homepage: str = ""
) -> HKDataset:
    """Open any data set in the HK layout. Raises SegzooError for a missing root or partner."""
    found = find_root(name, root, _is_root, homepage=homepage)
    folder = found / FOLDERS[split]
    keys: Sequence[str] = paired_keys(folder) if folder.is_dir() else []
    if split != "test":
        train, val = carve(keys, options.val)
        keys = train if split == "train" else val
    if not keys:
        raise MissingSplitError(f"data set `{name}` in {found} has no `{split}` split")
    return HKDataset(folder, keys, options)


def paired_keys(folder: Path) -> Sequence[str]:
    """Return the names of the pairs in a folder, sorted; raise SegzooError for a lone file."""
    index = Index((folder,), "HK")
    known = index.load()
    if known is not None:
        return known["keys"]
    names = index.pictures(folder, deep=False)
    stems = {name.removesuffix(".png") for name in names if name.endswith(".png")}
    images = {stem for stem in stems if not stem.endswith(SUFFIX)}
    mattes = {stem.removesuffix(SUFFIX) for stem in stems if stem.endswith(SUFFIX)}
    for lone, what, partner in (
        (images - mattes, "photograph without its matte", f"{SUFFIX}.png"),
        (mattes - images, "matte without its photograph", ".png"),
    ):
        if lone:
            first = sorted(lone)[0]
            came = f"{first}.png" if partner != ".png" else f"{first}{SUFFIX}.png"
            raise SegzooError(
                f"{folder / came} is a {what} ({len(lone)} of them in this folder)",
                f"add {first}{partner}, or take the file away",
            )
    keys = Names(sorted(images))
    index.save(keys=keys)
    return keys


def write_sample(root: Path) -> None:
    """Write 40 training and 12 testing pairs of generated figures in the HK layout."""
    for split, indices in (("training", range(40)), ("testing", range(40, 52))):
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(indices, start=1):
            image, matte = figure(index)
            image.save(folder / f"{number:05d}.png")
            matte.save(folder / f"{number:05d}{SUFFIX}.png")


def _is_root(folder: Path) -> bool:
    """Either split makes a root: a folder of test pictures alone can be evaluated on."""
    return any(any((folder / split).glob(f"*{SUFFIX}.png")) for split in set(FOLDERS.values()))
