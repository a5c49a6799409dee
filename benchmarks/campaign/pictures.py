"""Damaged pictures of every format."""

import random
import struct
import zlib
from pathlib import Path
from typing import Any

from .watching import watched


def pictures(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Read damaged pictures as photographs, mattes and masks."""
    from segzoo.data.images import read_image, read_mask, read_matte
    from segzoo.errors import SegzooError

    wholes = whole_pictures()
    refused, failures = 0, []
    kinds: dict[str, int] = {}
    for number in range(count):
        name, whole = chance.choice(list(wholes.items()))
        how, damaged = damage(whole, chance)
        path = folder / f"{number}-{name}"
        path.write_bytes(damaged)
        kinds[how] = kinds.get(how, 0) + 1
        for read in (read_image, read_matte, read_mask):
            with watched(path, failures):
                try:
                    found = read(path)
                except SegzooError as error:
                    refused += 1
                    if str(path) not in str(error):
                        raise RuntimeError(f"does not name the file: {error}") from error
                    continue
                path.write_bytes(whole)
                true = read(path)
                path.write_bytes(damaged)
                checked = path.suffix == ".png" or how == "cut"
                # Damage may leave no colours in a lossy picture: a mask has one channel then.
                same_size = found.shape[-2:] == true.shape[-2:]
                if not same_size or (checked and not found.equal(true)):
                    raise RuntimeError(f"{read.__name__} takes a picture that is damaged ({how})")
        path.unlink()
    return {"pictures": count, "readings": 3 * count, "refused": refused, "damage": kinds,
            "failures": failures[:20]}  # fmt: skip


def whole_pictures() -> dict[str, bytes]:
    """Return sound pictures of every format, by name."""
    import io

    from PIL import Image

    from segzoo.data.standin import figure

    image, matte = figure(3)
    ways: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "rgb.png": (image, {}),
        "grey.png": (matte, {}),
        "palette.png": (image.convert("P"), {}),
        "deep.png": (matte.convert("I;16"), {}),
        "rgb.jpg": (image, {"quality": 90}),
        "progressive.jpg": (image, {"progressive": True}),
        "grey.jpeg": (matte, {}),
        "rgb.webp": (image, {}),
        "lossless.webp": (image, {"lossless": True}),
        "rgb.bmp": (image, {}),
        "rgb.tif": (image, {}),
        "packed.tiff": (image, {"compression": "tiff_lzw"}),
        "rgb.gif": (image, {}),
    }
    found: dict[str, bytes] = {}
    for name, (picture, how) in ways.items():
        data = io.BytesIO()
        suffix = name.rsplit(".", 1)[1]
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
        picture.save(data, kind, **how)
        found[name] = data.getvalue()
    return found


def damage(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return how a picture was damaged, and what came of it."""
    how = chance.choice(("cut", "bytes", "block", "empty", "noise", "large"))
    changed = bytearray(whole)
    place = chance.randrange(len(whole))
    if how == "cut":
        return how, whole[:place]
    if how == "bytes":
        for _ in range(chance.randint(1, 10)):
            changed[chance.randrange(len(whole))] = chance.randrange(256)
    elif how == "block":
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif how == "empty":
        changed = bytearray()
    elif how == "noise":
        changed = bytearray(chance.randbytes(len(whole)))
    elif whole.startswith(b"\x89PNG"):  # a header that claims to be very large, with its checksum
        size = struct.pack(
            ">II", chance.choice((20_000, 2**31 - 1)), chance.choice((20_000, 2**30))
        )
        changed[16:24] = size
        changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    elif (start := whole.find(b"\xff\xc0")) >= 0:
        changed[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    else:
        changed = changed[: len(changed) // 2]
        how = "cut"
    return how, bytes(changed)
