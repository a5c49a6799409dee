"""Pictures and masks in folders of any names, each of which tells its number."""

import numpy as np
from PIL import Image

from segzoo.data.folder.dataset import build_folder
from segzoo.data.plugin import FolderOptions


def touch(root, pattern, count=5, mask=False, start=0, **fields):
    """Write pictures of 8 x 8, or masks of them, of which number n is told by its first pixel."""
    for n in range(start, start + count):
        path = root / pattern.format(n=n, **fields)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8), 40 * n, np.uint8)
        if mask:
            pixels[:] = 0
            pixels[0, :n] = 1
            pixels[4:, 4:] = 1
        kind = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower(), "PNG")
        if path.suffix == ".npy":
            np.save(path, pixels)
        else:
            Image.fromarray(pixels).save(path, kind)


def both(root, image, mask, count=5, **more):
    touch(root, image, count, **more)
    touch(root, mask, count, mask=True, **more)


def build(root, split="train", **options):
    return build_folder(root=root, split=split, options=FolderOptions(**{"val": 0.0, **options}))


def right(built):
    """Whether every picture has the mask of its own number."""
    for index in range(len(built)):
        sample = built[index]
        number = round(float(sample.image.float().mean()) / 40)
        if int((sample.target[0] == 1).sum()) != number:
            return False
    return True
