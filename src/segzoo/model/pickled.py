"""Reading what ``torch.save`` wrote, without running anything in it and within the file's size.

`torch.load` with `weights_only` runs nothing, but believes what a file says of its sizes: a zip
file of 2 MB may have members of gigabytes. torch stores its members uncompressed, so that they
never take more than the file.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from segzoo.data.pictures.decoding import refuse_irregular
from segzoo.errors import SegzooError
from segzoo.model.building import BoundedMemory

MOST_PICKLE = 64 << 20
"""Bytes of names, shapes and plain values, beside the tensors."""
MOST_MEMBERS = 100_000
_AGAIN = "save its state dict anew, with torch.save(model.state_dict(), FILE)"


def load_pickled(path: Path) -> Any:
    """Return what a file of torch.save holds: tensors and plain values, on the CPU.

    Raises SegzooError naming a file that would take far more memory than it has bytes, and
    whatever torch.load raises for others.
    """
    refuse_irregular(path, None, "a file of weights")
    _check_archive(path)
    with BoundedMemory(str(path), path.stat().st_size):
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_archive(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # Of torch before 1.6, one pickle after the other.
            return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise SegzooError(
            f"{path} is damaged, or no file of torch.save: {error}", "copy it again"
        ) from error
    if any(member.filename.endswith("/constants.pkl") for member in members):
        return  # TorchScript, which torch.load refuses by that name.
    packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
    total = sum(member.file_size for member in members)
    pickles = sum(m.file_size for m in members if m.filename.endswith(".pkl"))
    if packed:
        raise SegzooError(
            f"{path}: `{packed[0].filename[:200]}` in it is compressed, {packed[0].file_size} "
            "bytes when it is unpacked; torch.save compresses nothing",
            _AGAIN,
        )
    if total > size or len(members) > MOST_MEMBERS or pickles > MOST_PICKLE:
        raise SegzooError(
            f"{path}: {len(members)} members of {total} bytes, {pickles} of them names and plain "
            f"values, in a file of {size}",
            _AGAIN,
        )
