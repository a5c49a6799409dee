"""`segzoo data preview`: what is on the sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segzoo.data.opening import DataSource
from segzoo.errors import SegzooError
from segzoo.model.pixels import normalization
from segzoo.report import preview
from segzoo.report.preview import TIMES, draw_preview


def source(root, name="folder", **options):
    return DataSource(name, root=root, options=options)


def test_the_preview_shows_every_picture_and_its_changes(split_root, tmp_path):
    out = tmp_path / "sheet.png"
    draw_preview(source(split_root), out, size=(40, 48), augment="strong", count=3)
    draw_preview(
        source(split_root), tmp_path / "again.png", size=(40, 48), augment="strong", count=3
    )
    assert out.read_bytes() == (tmp_path / "again.png").read_bytes()
    draw_preview(source(split_root), tmp_path / "none.png", size=(40, 48), augment="none", count=3)
    assert out.read_bytes() != (tmp_path / "none.png").read_bytes()
    with Image.open(out) as sheet:
        assert sheet.width > 8 * 180 and sheet.height > 3 * 150
    with pytest.raises(SegzooError, match="no `test` split"):
        draw_preview(source(split_root), out, split="test")


def shown_by(monkeypatch, data, augment, **how):
    """Return what the preview puts on its sheet: titles, the first row, the heading."""
    sheets: list[Any] = []
    monkeypatch.setattr(preview, "save_grid", lambda rows, t, *a, **k: sheets.append((t, rows, k)))
    draw_preview(data, Path("unused.png"), size=(40, 48), augment=augment, count=2, **how)
    titles, rows, more = sheets[0]
    return list(titles), rows[0], more


@pytest.mark.parametrize("target", ["labels", "alpha"])
def test_augmented_pictures_are_shown_plain_beside_their_targets(split_root, monkeypatch, target):
    for path in split_root.glob("*/*/*.png"):  # White pictures; masks that are white on the left.
        picture = Image.new("L" if "masks" in path.parts else "RGB", (96, 80), "white")
        if picture.mode == "L":
            picture.paste(0, (48, 0, 96, 80))
        picture.save(path)
    data = source(split_root, target=target)
    monkeypatch.setattr(preview, "augmented", lambda name, images, *rest: (images / 2, rest[0]))
    titles, row, more = shown_by(monkeypatch, data, "light")
    assert titles[:4] == ["picture", "target", "augmented 1", "target 1"]
    assert len(titles) == len(set(titles)) == len(row) == 2 + 2 * TIMES
    assert more["heading"] == "train: 2 of 4 pictures, 40x48, augment light"
    for picture, changed in zip(row[2::2], row[3::2], strict=True):
        mean, std = normalization("auto", 3)
        half = [255 * (m + ((1 - m) / s) / 2 * s) for m, s in zip(mean, std, strict=True)]
        assert np.asarray(picture)[0, 0] == pytest.approx(half, abs=1.5)
        assert np.asarray(changed)[0, 0].tolist() == np.asarray(row[1])[0, 0].tolist()


def test_without_augmentation_the_sheet_has_the_pictures_and_targets_alone(split_root, monkeypatch):
    titles, row, more = shown_by(monkeypatch, source(split_root), "none", split="val")
    assert (titles, len(row)) == (["picture", "target"], 2)
    assert more["heading"].startswith("val: ")
