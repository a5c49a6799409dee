"""The Semantic Boundaries set (Hariharan et al., ICCV 2011): 11355 pictures of VOC 2011.

``img/NAME.jpg`` with ``cls/NAME.mat``, listed in ``train.txt``, ``val.txt`` and, where it was
added, ``train_noval.txt``. The ids are VOC's 21; objects have no unlabelled border.
"""

import io
import zlib
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat, savemat
from scipy.io.matlab import MatReadError
from scipy.sparse import csc_matrix
from torch import Tensor
from torchvision.datasets import SBDataset

from segzoo.errors import MissingSplitError, SegzooError
from segzoo_torchvision.pairs import PairDataset, id_table, locate, look_up, read_list
from segzoo_torchvision.plugin import SBD_HOMEPAGE, VOC_CLASSES, SBDOptions
from segzoo_torchvision.standin import scene

TABLE = id_table({index: index for index in range(len(VOC_CLASSES))})
NOVAL = "train_noval"
MAT_HEADER = b"MATLAB 5.0 MAT-file, written without a date".ljust(116)
MAT_FAULTS = (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError)


def build_sbd(*, root: Path | None, split: str, options: SBDOptions) -> PairDataset:
    """Build `sbd`: its own `train` and `val`; train_noval=true takes VOC's val out of `train`.

    No picture is in both splits: one that train_noval.txt lists is left out of `val`.
    """

    def fetch(target: Path) -> None:
        image_set = NOVAL if options.train_noval else "train"
        SBDataset(str(target), image_set=image_set, mode="segmentation", download=True)

    found = locate("sbd", root, _is_root, SBD_HOMEPAGE, fetch if options.download else None)
    if split not in ("train", "val"):
        raise MissingSplitError(f"data set `sbd` has no `{split}` split: it has `train` and `val`")
    if options.train_noval and not (found / f"{NOVAL}.txt").is_file():
        raise SegzooError(
            f"train_noval=true reads {found / NOVAL}.txt: no such file",
            f"get it from {SBDataset.voc_train_url}",
        )
    name = NOVAL if options.train_noval and split == "train" else split
    read_list(found / f"{name}.txt", "sbd", split)
    listed = SBDataset(str(found), image_set=name, mode="segmentation")
    taken: set[str] = set()
    if options.train_noval and split == "val":
        taken = set(read_list(found / f"{NOVAL}.txt", "sbd", "train"))
    pairs = [
        (Path(image), Path(mask))
        for image, mask in zip(listed.images, listed.masks, strict=True)
        if Path(image).stem not in taken and Path(image).name != ".jpg"  # that of an empty line
    ]
    keys = [image.stem for image, _ in pairs]
    return PairDataset(keys, [i for i, _ in pairs], [m for _, m in pairs], read_mat)


def read_mat(path: Path) -> Tensor:
    """Read the class ids of a .mat file of the set as labels_HW; raise SegzooError naming it."""
    try:
        ids_HW = loadmat(str(path))["GTcls"][0]["Segmentation"][0]
        return look_up(torch.from_numpy(np.ascontiguousarray(ids_HW)), TABLE, path)
    except (*MAT_FAULTS, MatReadError, zlib.error) as error:
        raise SegzooError(
            f"{path} cannot be read as a .mat file with GTcls.Segmentation: {error}",
            "replace it with that of the release",
        ) from error


def _is_root(folder: Path) -> bool:
    return (folder / "img").is_dir() and (folder / "cls").is_dir()


def write_sample(root: Path) -> None:
    """Write 14 training and 6 val scenes of persons (discs) and buses (boxes) in its layout."""
    found = root / "benchmark_RELEASE" / "dataset"
    for folder in ("img", "cls"):
        (found / folder).mkdir(parents=True)
    ids = (0, VOC_CLASSES.index("person"), VOC_CLASSES.index("bus"))
    for split, indices in (("train", range(14)), ("val", range(14, 20))):
        keys = [f"2008_{index:06d}" for index in indices]
        (found / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
        if split == "train":  # the last two stand for pictures that VOC's val has
            (found / f"{NOVAL}.txt").write_text("".join(f"{key}\n" for key in keys[:-2]))
        for index, key in zip(indices, keys, strict=True):
            picture, labels = scene(300 + index, ids)
            picture.save(found / "img" / f"{key}.jpg", quality=95)
            (found / "cls" / f"{key}.mat").write_bytes(_as_mat(np.array(labels)))


def _as_mat(ids_HW: np.ndarray) -> bytes:
    """Return GTcls with Segmentation, Boundaries (a sparse mask a class) and CategoriesPresent."""
    down = ids_HW != np.roll(ids_HW, -1, 0)
    right = ids_HW != np.roll(ids_HW, -1, 1)
    edge = down | right
    boundaries = np.empty((len(VOC_CLASSES) - 1, 1), object)
    for index in range(len(boundaries)):
        boundaries[index, 0] = csc_matrix((edge & (ids_HW == index + 1)).astype(np.float64))
    present = np.setdiff1d(ids_HW, [0])[:, None]
    content = {
        "Boundaries": boundaries,
        "Segmentation": ids_HW,
        "CategoriesPresent": present,
    }
    file = io.BytesIO()
    savemat(file, {"GTcls": content}, do_compression=True)
    # scipy writes the time into the text of the header; the stand-in is the same every time.
    return MAT_HEADER + file.getvalue()[len(MAT_HEADER) :]
