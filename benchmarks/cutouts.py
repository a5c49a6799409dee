"""A sheet of cut-outs before new backgrounds, to look at for halos and holes.

Each row has a photograph, its cut-out before white and before a strong colour, and its alpha::

    python benchmarks/cutouts.py runs/hk/best.safetensors HK/testing/000*.png --out sheet.png
"""

import argparse
from pathlib import Path

from PIL import Image

import segzoo
from segzoo.report.sheet import save_grid

COLOURS = {"white": (255, 255, 255), "blue": (20, 60, 200)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--out", default="sheet.png", type=Path)
    parser.add_argument("--refine", default="matting")
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--scales", default="1")
    parser.add_argument("--side", default=300, type=int)
    given = parser.parse_args()
    segmenter = segzoo.load(given.weights)
    rows = []
    for path in given.pictures:
        if path.stem.endswith("_matte"):
            continue
        photo = Image.open(path).convert("RGB")
        how = {"refine": given.refine, "flip": given.flip, "scales": given.scales}
        found = segmenter.predict(photo, **how)
        before = [found.before(photo, colour) for colour in COLOURS.values()]
        rows.append((photo, *before, found.alpha_image()))
    save_grid(rows, ("photograph", *COLOURS, "alpha"), given.out, side=given.side)


if __name__ == "__main__":
    main()
