"""Write a few generated portraits that no training has seen, at odd sizes, for `make demo`."""

import sys
from pathlib import Path

from PIL import Image

from segzoo_portraits.generate import portrait

SIZES = ((480, 640), (333, 451), (721, 961))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(SIZES):
        image, _ = portrait(5_000_000 + number, width=width, height=height)
        Image.fromarray(image).save(folder / f"portrait-{number + 1}.jpg", quality=92)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
