"""A checksum over all that a weights file says and holds, so that a rotten bit is noticed.

It stands in the header beside the description, which says in turn that there is one: a bit that
falls out of either name is noticed, too. It is no signature: who changes a file on purpose can
write another.
"""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.model.tensors import Header, parse_json

CHECKSUM = "checksum"
METHOD = "blake2b"
_FEW = 1 << 20
"""Bytes up to which more threads are not worth their start."""


def sum_of(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the checksum of a file's metadata and tensors, as hexadecimal digits."""
    whole = hashlib.blake2b(digest_size=32)
    for name in sorted(metadata.keys() - {CHECKSUM}):
        _add(whole, name.encode("utf-8", "surrogatepass"))
        _add(whole, metadata[name].encode("utf-8", "surrogatepass"))
    names = sorted(tensors)
    if sum(value.nbytes for value in tensors.values()) < _FEW:
        digests = [_digest(tensors[name]) for name in names]
    else:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            digests = list(threads.map(_digest, (tensors[name] for name in names)))
    for name, digest in zip(names, digests, strict=True):
        value = tensors[name]
        _add(whole, f"{name} {value.dtype} {tuple(value.shape)}".encode("utf-8", "surrogatepass"))
        _add(whole, digest)
    return whole.hexdigest()


def check_sum(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Raise SegzooError naming a file that is not what was written; one without a sum passes."""
    said = parse_json(header.metadata["segzoo"].encode()).get("checksum")
    if said is None and CHECKSUM not in header.metadata:
        return  # Of an earlier segzoo.
    if said != METHOD or header.metadata.get(CHECKSUM) != sum_of(header.metadata, tensors):
        raise SegzooError(
            f"{path}: its tensors, or what it says of them, are not those that were written",
            "it was damaged or changed since: copy it again, or train anew",
        )


def _add(whole: hashlib.blake2b, part: bytes) -> None:
    whole.update(len(part).to_bytes(8, "little") + part)


def _digest(value: Tensor) -> bytes:
    content = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(content, digest_size=32).digest()  # type: ignore[arg-type]
