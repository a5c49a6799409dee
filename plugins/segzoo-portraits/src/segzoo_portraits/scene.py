"""What portraits are painted with: palettes, noise, curves, cloth, light, hair and the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[np.floating]
Rng = np.random.Generator
Window = tuple[int, int, int, int]
Mass = tuple[Array, Array, Array]
Part = tuple[Window, Array, Array, Array]
Points = Sequence[tuple[float, float]] | npt.NDArray[np.floating]

# Shapes are drawn this many times larger and box-averaged: that is the anti-aliasing.
SUPER = 3


def _palette(codes: str) -> Array:
    return np.frombuffer(bytes.fromhex(codes), np.uint8).reshape(-1, 3) / np.float32(255)


DARK = np.array([0.07, 0.05, 0.05], np.float32)
# Anchors of the human range: skin from lightest to darkest, natural hair, common cloth.
_SKIN = _palette("f7dbc8 ecc4a8 deac8a c48e69 a8724e 86573a 623f2c 422b21")
_HAIR = _palette("161314 2c1f19 4a3020 704c2e b08652 d6b480 8c3e1e 787674 c4c2be")
_NEUTRAL = _palette("eeeeea 28292e 808286 263454 566e92")


def skin_colour(rng: Rng) -> Array:
    """Skin tone, float32 (3,) sRGB in 0..1, drawn evenly from light to dark."""
    place = rng.uniform(0, len(_SKIN) - 1)
    low = min(int(place), len(_SKIN) - 2)
    tone = _SKIN[low] + (place - low) * (_SKIN[low + 1] - _SKIN[low])
    return np.clip(tone + rng.normal(0, 0.012, 3), 0.05, 0.98).astype(np.float32)


def hair_colour(rng: Rng) -> Array:
    """Hair colour, float32 (3,) sRGB in 0..1, from black over red and blond to white."""
    tone = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.85, 1.15)
    return np.clip(tone + rng.normal(0, 0.01, 3), 0.05, 0.95).astype(np.float32)


def cloth_colour(rng: Rng) -> Array:
    """Colour of clothes, float32 (3,) sRGB in 0..1: half neutrals and denim, half dyed."""
    if rng.random() < 0.45:
        tone = _NEUTRAL[rng.integers(len(_NEUTRAL))]
        return np.clip(tone + rng.normal(0, 0.03, 3), 0.05, 0.97).astype(np.float32)
    hue, value, sat = rng.random(), rng.uniform(0.25, 0.9), rng.uniform(0.15, 0.75)
    wheel = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return (value * (1 - sat + sat * np.clip(wheel, 0, 1))).astype(np.float32)


def any_colour(rng: Rng) -> Array:
    """Scene colour, float32 (3,): scenes share the palettes of people, so colour tells little."""
    return (skin_colour, hair_colour, cloth_colour)[rng.choice(3, p=(0.35, 0.3, 0.35))](rng)


def ink(rng: Rng, colour: Array, spread: float = 0.08, opacity: int = 255) -> tuple[int, ...]:
    """RGBA in 0..255 for Pillow: the colour, randomly a little lighter or darker."""
    tone = np.clip(colour * rng.uniform(1 - 2 * spread, 1 + 2 * spread), 0, 1) * 255
    return (*(int(c) for c in tone), opacity)


def noise(rng: Rng, width: int, height: int, cells: int, octaves: int = 4) -> Array:
    """Multi-octave value noise, float32 (height, width), about zero mean and unit variance."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = rng.standard_normal((max(2, n * height // width) + 1, n + 1), dtype=np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += 0.55**octave * 1.5 * np.asarray(layer)
    return total / math.sqrt(sum(0.3**octave for octave in range(octaves)))


def smooth(points: Points, steps: int = 6) -> Array:
    """Closed Catmull-Rom curve through the points, float32 (n * steps, 2)."""
    p = np.asarray(points, np.float32)
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    a, b, c, d = (np.roll(p, shift, 0)[:, None] for shift in (1, 0, -1, -2))
    curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
    return ((curve + (3 * b - a - 3 * c + d) * t**3) / 2).reshape(-1, 2)


def disc(x: float, y: float, rx: float, ry: float | None = None, n: int = 28) -> Array:
    """Ellipse outline around (x, y), float32 (n, 2)."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False, dtype=np.float32)
    return np.stack([x + rx * np.cos(t), y + (ry or rx) * np.sin(t)], 1)


@dataclass(frozen=True)
class Frame:
    """Local coordinates (x right, y down) placed in the picture: origin, unit in pixels, turn."""

    x: float
    y: float
    unit: float
    angle: float = 0.0

    def out(self, points: Points) -> Array:
        """Local points (..., 2) to pixel positions, float32 (..., 2)."""
        p = np.asarray(points, np.float32) * self.unit
        c, s = math.cos(self.angle), math.sin(self.angle)
        x, y = p[..., 0] * c - p[..., 1] * s, p[..., 0] * s + p[..., 1] * c
        return np.stack([x + self.x, y + self.y], -1)

    def grid(self, window: Window) -> tuple[Array, Array]:
        """Local coordinates (u, v), float32 (h, w) each, of the window's pixel centres."""
        x0, y0, x1, y1 = window
        x = np.arange(x0, x1, dtype=np.float32)[None] + np.float32(0.5 - self.x)
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - self.y)
        c, s = math.cos(self.angle) / self.unit, math.sin(self.angle) / self.unit
        return x * c + y * s, y * c - x * s

    def inner(self, x: float, y: float, angle: float = 0.0, unit: float = 1.0) -> Frame:
        """Frame placed at local (x, y), turned and scaled relative to this one."""
        px, py = self.out([(x, y)])[0]
        return Frame(float(px), float(py), self.unit * unit, self.angle + angle)


@dataclass(frozen=True)
class Fabric:
    """Woven or printed cloth: two colours, float32 (3,) in 0..1, and a repeat in local units."""

    base: Array
    other: Array
    kind: str
    period: float
    angle: float

    @classmethod
    def draw(cls, rng: Rng) -> Fabric:
        """Random fabric; plain ones are the most frequent, as in wardrobes."""
        kinds = ("plain", "stripes", "checks", "dots", "print", "knit")
        kind = kinds[rng.choice(6, p=(0.36, 0.18, 0.15, 0.09, 0.1, 0.12))]
        period = 0.05 if kind == "knit" else rng.uniform(0.09, 0.24)
        base, other = cloth_colour(rng), cloth_colour(rng)
        other = base * np.float32(0.75) if kind == "knit" else other
        return cls(base, other, kind, period, rng.choice([0.0, 0.0, 1.571, 0.8]))

    def __call__(self, u: Array, v: Array) -> Array:
        """Colours, float32 (h, w, 3), at the local coordinates (h, w)."""
        if self.kind == "plain":
            return np.broadcast_to(self.base, (*u.shape, 3))
        c, s, k = math.cos(self.angle), math.sin(self.angle), 2 * math.pi / self.period
        a, b = np.sin((u * c + v * s) * k), np.sin((v * c - u * s) * k)
        if self.kind == "checks":
            weight = 0.5 * (np.clip(a * 4 + 0.5, 0, 1) + np.clip(b * 4 + 0.5, 0, 1))
        elif self.kind == "print":
            weight = 3 * (a * b + np.sin(u * 1.7 * k + 2 * b) * np.sin(v * 1.3 * k))
        else:
            weight = {"dots": a * b * 5 - 2, "knit": a * 0.5 + 0.5}.get(self.kind, b * 4)
        return self.base + np.clip(weight, 0, 1)[..., None] * (self.other - self.base)


class Brush:
    """Supersampled drawing of one coverage mask inside a window of the canvas."""

    def __init__(self, window: Window, ground: int = 0) -> None:
        self.window = window
        x0, y0, x1, y1 = window
        self._shift = np.array([x0, y0], np.float32)
        self._image = Image.new("L", ((x1 - x0) * SUPER, (y1 - y0) * SUPER), ground)
        self._draw = ImageDraw.Draw(self._image)

    def _flat(self, points: Array) -> list[float]:
        return ((points - self._shift) * SUPER).ravel().tolist()

    def fill(self, points: Array) -> Brush:
        """Fill the polygon of pixel positions (n, 2)."""
        self._draw.polygon(self._flat(points), fill=255)
        return self

    def line(self, points: Array, width: float) -> Brush:
        """Polyline through pixel positions (n, 2); width in pixels of the picture."""
        self._draw.line(self._flat(points), 255, max(1, round(width * SUPER)), joint="curve")
        return self

    def strands(self, paths: Array, widths: Sequence[int], values: Sequence[int]) -> Brush:
        """Thin lines (n, k, 2); widths count supersampled pixels, so 1 is a third of a pixel."""
        flat = ((paths - self._shift) * SUPER).reshape(len(paths), -1).tolist()
        for path, width, value in zip(flat, widths, values, strict=True):
            self._draw.line(path, value, width)
        return self

    def coverage(self, blur: float = 0.0) -> Array:
        """Mask as float32 (h, w) in 0..1, softened by a Gaussian of `blur` pixels."""
        small = self._image.reduce(SUPER).filter(ImageFilter.GaussianBlur(blur))
        return np.asarray(small, np.float32) * np.float32(1 / 255)


class Canvas:
    """Picture under construction: rgb float32 (H, W, 3) in 0..1 and alpha float32 (H, W)."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rgb = np.full((height, width, 3), 0.5, np.float32)
        self.alpha = np.zeros((height, width), np.float32)

    def window(self, points: Array, margin: float) -> Window:
        """Pixel window (x0, y0, x1, y1) around points (n, 2); at least one pixel of the canvas."""
        low, high = np.floor(points.min(0) - margin), np.ceil(points.max(0) + margin)
        x0, y0 = np.clip(low, 0, (self.width - 1, self.height - 1)).astype(int).tolist()
        x1, y1 = np.clip(high, (x0 + 1, y0 + 1), (self.width, self.height)).astype(int).tolist()
        return x0, y0, x1, y1

    def lay(self, window: Window, cover: Array, colour: Array) -> None:
        """Composite a colour, (3,) or (h, w, 3), over the window with coverage (h, w)."""
        x0, y0, x1, y1 = window
        self.rgb[y0:y1, x0:x1] += cover[..., None] * (colour - self.rgb[y0:y1, x0:x1])
        self.alpha[y0:y1, x0:x1] += cover * (1 - self.alpha[y0:y1, x0:x1])

    def tint(self, window: Window, cover: Array, colour: Array) -> None:
        """Mix a colour into what is there, only where the person is: alpha does not grow."""
        x0, y0, x1, y1 = window
        cover = cover * self.alpha[y0:y1, x0:x1]
        self.rgb[y0:y1, x0:x1] += cover[..., None] * (colour - self.rgb[y0:y1, x0:x1])

    def mend(self, backdrop: Array) -> None:
        """Make alpha 1 in seams inside the person, where the soft edges of two parts meet."""
        thin = Image.fromarray(np.where(self.alpha < 0.3, 255, 0).astype(np.uint8))
        inside = np.asarray(thin.filter(ImageFilter.BoxBlur(7))) == 0
        alpha = self.alpha[inside][:, None]
        self.rgb[inside] = (self.rgb[inside] - (1 - alpha) * backdrop[inside]) / alpha
        self.alpha[inside] = 1

    def part(self, frame: Frame, points: Points, blur: float = 0.5) -> Part:
        """Polygon in local coordinates: its window, u, v and coverage, float32 (h, w) each."""
        outline = frame.out(points)
        brush = Brush(self.window(outline, 2 + 3 * blur)).fill(outline)
        return brush.window, *frame.grid(brush.window), brush.coverage(blur)

    def blend(self, points: Array, colour: Array, blur: float = 0.3, opacity: float = 1.0) -> None:
        """Tint the polygon of pixel positions (n, 2) with a flat colour."""
        brush = Brush(self.window(points, 2 + 3 * blur)).fill(points)
        self.tint(brush.window, brush.coverage(blur) * np.float32(opacity), colour)

    def stroke(
        self, points: Array, width: float, colour: Array, blur: float = 0.3, opacity: float = 1.0
    ) -> None:
        """Tint a polyline of pixel positions (n, 2); width in pixels."""
        brush = Brush(self.window(points, 3 + width + 3 * blur)).line(points, width)
        self.tint(brush.window, brush.coverage(blur) * np.float32(opacity), colour)

    def shade(self, points: Array, blur: float, strength: float) -> None:
        """Contact shadow, warm as on skin and cloth, on the person and never the background."""
        self.blend(points, np.array([0.08, 0.03, 0.02], np.float32), blur, strength)


def mirrored(half: list[tuple[float, float]]) -> Array:
    """Closed smooth outline, float32 (n, 2), from its right half listed from top to bottom."""
    return smooth(half + [(-x, y) for x, y in reversed(half) if x])


def lit(u: Array, v: Array, light: tuple[float, float], low: float = 0.5) -> Array:
    """Lambert shading, float32 like u, of a bulge whose normals have x and y (u, v) in -1..1."""
    depth = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    return low + (1.1 - low) * np.clip(depth * 0.75 + u * light[0] + v * light[1], 0, 1.2)


def flesh(colour: Array, shade: Array) -> Array:
    """Shaded skin, float32 (h, w, 3): shadows stay warm because light scatters in skin."""
    tone = colour * (1 + (shade[..., None] - 1) * np.array([0.82, 1.0, 1.1], np.float32))
    return np.clip(tone, 0, 1)


def paint_hair(
    canvas: Canvas, rng: Rng, colour: Array, light: tuple[float, float], head: Frame, mass: Mass
) -> None:
    """Hair in head units: solid outline (j, 2), strands (n, k, 2) and loose ones (m, k, 2)."""
    solid, paths, loose = (head.out(points) for points in mass)
    window = canvas.window(np.concatenate([solid, loose.reshape(-1, 2)]), 3)
    brush, n = Brush(window), len(loose)
    # Loose strands leave the outline and are thinner than a pixel: the matte's soft part.
    brush.strands(loose, rng.integers(1, 3, n).tolist(), rng.integers(50, 240, n).tolist())
    cover = 1 - (1 - Brush(window).fill(solid).coverage(0.9)) * (1 - brush.coverage())
    every = np.concatenate([paths, loose])
    sheen, n = Brush(window, 120), len(every)
    sheen.strands(every, rng.integers(1, 5, n).tolist(), rng.integers(20, 255, n).tolist())
    u, v = head.grid(window)
    ring = np.exp(-(((np.hypot(u - 0.3 * light[0], v + 0.05) - 0.4) / 0.07) ** 2))
    glow = sheen.coverage(0.3) * (0.75 + 0.45 * ring * np.clip(0.5 - 2 * v, 0, 1)) + 0.45
    glow = glow * lit(u / 0.6, v / 1.2, light, 0.6)
    canvas.lay(window, cover, np.clip((colour * 1.1 + 0.02) * glow[..., None], 0, 1))


def curls(rng: Rng, n: int, reach: tuple[float, float], span: float) -> Array:
    """Curls (n, 9, 2) at a reach around the skull's centre, within an angle from the top."""
    at, r = rng.uniform(-span, span, (n, 1)), rng.uniform(*reach, (n, 1))
    t = rng.uniform(0, 6.3, (n, 1)) + np.linspace(0, 3.3, 9)
    curl = rng.uniform(0.015, 0.055, (n, 1))
    x, y = r * np.sin(at) + curl * np.cos(t), -0.08 - r * 1.05 * np.cos(at) + curl * np.sin(t)
    return np.stack([x, y], -1).astype(np.float32)
