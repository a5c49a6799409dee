"""Photographs with their masks by path, and where a set is found or downloaded to."""

import contextlib
import http.client
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from segzoo.data.images import read_image, read_mask
from segzoo.data.roots import find_root, user_data_folder
from segzoo.data.sample import Sample
from segzoo.errors import MissingSplitError, SegzooError

IGNORE = 255


class PairDataset(Dataset[Sample]):
    """The pairs of one split, as Sample(image uint8 3 x H x W, labels uint8 H x W, key).

    `read_labels` turns a mask's path into labels_HW. Raises SegzooError naming a file that is not
    there, when it is built, and a pair of two sizes, when it is read.
    """

    def __init__(
        self,
        keys: Sequence[str],
        images: Sequence[Path],
        masks: Sequence[Path],
        read_labels: Callable[[Path], Tensor],
    ) -> None:
        self.keys, self.read_labels = list(keys), read_labels
        self.images, self.masks = list(images), list(masks)
        for paths, partners in ((self.images, self.masks), (self.masks, self.images)):
            lone = [index for index, path in enumerate(paths) if not path.is_file()]
            if lone:
                raise SegzooError(
                    f"{paths[lone[0]]}: no such file ({len(lone)} of {len(paths)} like it), the "
                    f"partner of {partners[lone[0]]}",
                    "complete the set, or unpack it again",
                )

    def __len__(self) -> int:
        return len(self.keys)

    def files(self, index: int) -> tuple[Path, Path]:
        """Return the files that a sample is made of."""
        return self.images[index], self.masks[index]

    def __getitem__(self, index: int) -> Sample:
        image, labels = read_image(self.images[index]), self.read_labels(self.masks[index])
        if image.shape[1:] != labels.shape:
            sizes = [f"{tensor.shape[-1]}x{tensor.shape[-2]}" for tensor in (image, labels)]
            raise SegzooError(
                f"{self.images[index]} is {sizes[0]} but {self.masks[index]} is {sizes[1]}",
                "a photograph and its mask have the same size; replace the wrong one",
            )
        return Sample(image, labels, self.keys[index])


def id_table(labels: dict[int, int]) -> Tensor:
    """Return a table of 256 labels by stored id, -1 where an id has no meaning."""
    table = torch.full((256,), -1, dtype=torch.int16)
    for stored, label in labels.items():
        table[stored] = label
    return table


def look_up(ids_HW: Tensor, table: Tensor, path: Path) -> Tensor:
    """Return labels_HW (uint8) of stored ids (uint8); raise SegzooError naming file and id."""
    if ids_HW.ndim != 2 or ids_HW.dtype != torch.uint8:
        raise SegzooError(
            f"{path} holds {'colours' if ids_HW.ndim == 3 else '16-bit values'}, not 8-bit ids",
            "give the masks of the original release: 8-bit grey or palette PNG",
        )
    labels_HW = table[ids_HW.int()]
    if (labels_HW < 0).any():
        known = (table >= 0).nonzero().flatten().tolist()
        wrong = ids_HW[labels_HW < 0].unique().tolist()
        raise SegzooError(
            f"{path} holds the id {', '.join(map(str, wrong[:5]))}, which no class has",
            f"known are {', '.join(map(str, known))}",
        )
    return labels_HW.to(torch.uint8)


def read_ids(path: Path, table: Tensor) -> Tensor:
    """Read a mask of ids (grey or palette) as labels_HW by a table."""
    return look_up(read_mask(path), table, path)


def read_list(path: Path, name: str, split: str) -> list[str]:
    """Return the first word of each line of a list of pictures, in its order.

    Raises MissingSplitError naming the file where it is not there or empty.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not words:
        state = " is empty" if path.is_file() else ": no such file"
        raise MissingSplitError(f"data set `{name}` has no `{split}` split: {path}{state}")
    return words


def locate(
    name: str,
    root: Path | None,
    looks_right: Callable[[Path], bool],
    homepage: str,
    download: Callable[[Path], object] | None,
) -> Path:
    """Find the set as `find_root` does; with `download`, fetch it where it is nowhere.

    It is downloaded into `root`, else into the user's data folder. Raises SegzooError for a set
    that is not found, or whose download failed, with what to do instead.
    """
    try:
        return find_root(name, root, looks_right, homepage=homepage)
    except SegzooError as error:
        if download is None:
            hint = f"{error.hint}; -O download=true lets torchvision download it"
            raise SegzooError(error.message, hint) from None
    target = root if root is not None else user_data_folder() / name
    try:
        target.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            download(target)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise SegzooError(
            f"data set `{name}` could not be downloaded to {target}: {error}",
            f"get it from {homepage} by other means and give its folder as --root DIR",
        ) from error
    return find_root(name, target, looks_right, homepage=homepage)
