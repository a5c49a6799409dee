"""Sheets of pictures for people to look at: rows with captions, and a legend of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from segzoo.data.sample import DataInfo
from segzoo.host import system
from segzoo.plugins.specs import RGB
from segzoo.report.lettering import drawable, font_of, pillow_font, shortened
from segzoo.store import atomic

GAP, TEXT, LINE, SWATCH = 8, 13, 20, 13
UNLABELLED: RGB = (224, 224, 224)
MOST_IN_LEGEND = 24
"""Of more classes than these only the ones that are shown are explained."""
LONGEST_NAME = 28


@dataclass(frozen=True)
class Entry:
    """A colour of the legend and what it stands for."""

    name: str
    colour: RGB


def photo(image_CHW: Tensor, value_range: tuple[float, float]) -> Image.Image:
    """Return a picture as it looks: the first three channels, or grey."""
    low, high = value_range
    pixels = ((image_CHW.float() - low) * 255 / (high - low)).clamp(0, 255).to(torch.uint8)
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def colours(info: DataInfo) -> np.ndarray:
    """Return the colour of each class id, uint8 N x 3 with N > 255.

    Ids that are no class, as that of pixels that are not labelled, are light grey.
    """
    table = np.full((max(256, len(info.palette) + 1), 3), UNLABELLED, dtype=np.uint8)
    table[: len(info.palette)] = info.palette
    return table


def coloured(target_HW: Tensor, info: DataInfo) -> Image.Image:
    """Return class ids in their colours; an alpha, float 0..1, in grey."""
    if target_HW.is_floating_point():
        grey = (target_HW * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        return Image.fromarray(grey).convert("RGB")
    table = colours(info)
    labels = target_HW.numpy().astype(np.int64)
    labels = np.where((labels < 0) | (labels >= len(info.classes)), len(table) - 1, labels)
    return Image.fromarray(table[labels])


def error_map(image: Image.Image, error_HW: Tensor, colour: RGB) -> Image.Image:
    """Return the picture in pale grey, coloured where `error_HW` (float 0..1) is not 0."""
    grey = 127.5 + np.asarray(image.convert("L"), dtype=np.float32)[..., None] / 2
    share = error_HW.float().clamp(0, 1).numpy()[..., None]
    mixed = grey * (1 - share) + np.array(colour, dtype=np.float32) * share
    return Image.fromarray(mixed.round().astype(np.uint8))


def legend_of(info: DataInfo, targets: Sequence[Tensor]) -> list[Entry]:
    """Return what the colours of class ids stand for; all classes, or of many those shown.

    Of an alpha they are its two ends.
    """
    if info.target == "alpha":
        ends: tuple[RGB, RGB] = ((0, 0, 0), (255, 255, 255))
        return [Entry(name, colour) for name, colour in zip(info.classes[:2], ends, strict=True)]
    shown = set[int]().union(*(target.unique().tolist() for target in targets))
    table = colours(info)
    count = len(info.classes)
    chosen = [k for k in range(count) if count <= MOST_IN_LEGEND or k in shown]
    entries = [
        Entry(info.classes[k], (int(table[k, 0]), int(table[k, 1]), int(table[k, 2])))
        for k in chosen
    ]
    if any(not 0 <= label < count for label in shown):
        entries.append(Entry("not labelled", UNLABELLED))
    return entries


def share_shown(shown: int, there: int | None) -> str:
    """Return how many pictures of how many a sheet shows: ``6 of 12 pictures``."""
    few = f"{shown}" if there in (None, shown) else f"{shown} of {there}"
    return f"{few} picture{'s' * (few != '1')}"


def save_grid(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    path: Path,
    side: int = 220,
    *,
    heading: str = "",
    captions: Sequence[str] = (),
    legend: Sequence[Entry] = (),
    sharp: Sequence[int] = (),
) -> None:
    """Save rows of pictures under titles as one PNG, each scaled to at most `side` pixels.

    `heading` says above all what is shown, each row has its caption above it, and `legend` stands
    below all. The columns numbered in `sharp` hold colours that mean something, and are scaled
    without mixing them.
    """
    width, height = rows[0][0].size
    scale = min(side / width, side / height)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    step = max(cell[0], max(map(_length, titles)))
    total = GAP + len(titles) * (step + GAP)
    row_height = cell[1] + GAP + (LINE if captions else 0)
    lines = _legend_lines(legend, total - 2 * GAP)
    titles_at = GAP // 2 + (LINE if heading else 0)
    top = titles_at + LINE + GAP // 2
    canvas = Image.new(
        "RGB", (total, top + len(rows) * row_height + len(lines) * LINE + GAP), "white"
    )
    draw = ImageDraw.Draw(canvas)
    _write(draw, (GAP, GAP // 2), _fitting(heading, total - 2 * GAP))
    for column, title in enumerate(titles):
        _write(draw, (GAP + column * (step + GAP), titles_at), title)
    for row, pictures in enumerate(rows):
        at = top + row * row_height
        if captions:
            _write(draw, (GAP, at), _fitting(captions[row], total - 2 * GAP))
            at += LINE
        for column, picture in enumerate(pictures):
            how = Image.Resampling.NEAREST if column in sharp else Image.Resampling.BICUBIC
            small = picture.convert("RGB").resize(cell, how)
            canvas.paste(small, (GAP + column * (step + GAP), at))
    _draw_legend(draw, lines, top + len(rows) * row_height)
    with atomic(path) as temporary:
        system.write(temporary, canvas.save)


def _draw_legend(draw: ImageDraw.ImageDraw, lines: list[list[Entry]], top: int) -> None:
    for number, entries in enumerate(lines):
        left, y = GAP, top + number * LINE
        for entry in entries:
            box = (left, y + 2, left + SWATCH, y + 2 + SWATCH)
            draw.rectangle(box, fill=entry.colour, outline=(128, 128, 128))
            _write(draw, (left + SWATCH + 5, y), shortened(entry.name, LONGEST_NAME))
            left += _width(entry)


def _legend_lines(legend: Sequence[Entry], room: int) -> list[list[Entry]]:
    lines: list[list[Entry]] = []
    left = room + 1
    for entry in legend:
        if left + _width(entry) > room:
            lines.append([])
            left = 0
        lines[-1].append(entry)
        left += _width(entry)
    return lines


def _width(entry: Entry) -> int:
    return SWATCH + 5 + _length(shortened(entry.name, LONGEST_NAME)) + 2 * GAP


def _fitting(text: str, room: int) -> str:
    """Return a text shortened to so many pixels."""
    most = len(text)
    while most > 8 and _length(shortened(text, most)) > room:
        most -= 1
    return shortened(text, most)


def _font(text: str) -> Any:
    return pillow_font(font_of(text), TEXT)


def _length(text: str) -> int:
    shown = drawable(text)
    return int(_font(shown).getlength(shown)) + 1


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str) -> None:
    shown = drawable(text)
    draw.text(at, shown, fill="black", font=_font(shown))
