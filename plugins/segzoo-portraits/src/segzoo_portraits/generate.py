"""Procedural portraits with true mattes: cluttered background, person, hair and camera."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from . import scene
from .person import NECKLINES, POSES, Look, paint_arms, paint_face, paint_head, paint_torso
from .scene import Array, Canvas, Fabric, Frame, Rng, disc, lit, mirrored, noise, smooth


def _paint_background(canvas: Canvas, rng: Rng) -> None:
    """Fill the canvas with a wall, one or two structures, distractors and a defocus blur."""
    wide, high = canvas.width, canvas.height
    first, second = scene.any_colour(rng), scene.any_colour(rng)
    mix = noise(rng, wide, high, int(rng.integers(2, 6))) * 0.3 + 0.5
    mix += rng.uniform(-1, 1) * np.linspace(-0.5, 0.5, high, dtype=np.float32)[:, None]
    wall = first + np.clip(mix, 0, 1)[..., None] * (second - first)
    image = Image.fromarray((wall * 255).astype(np.uint8))
    for build in rng.choice(len(_STRUCTURES), rng.integers(1, 3), replace=False):
        _STRUCTURES[build](ImageDraw.Draw(image, "RGBA"), rng, wide, high)
    canvas.rgb[:] = np.asarray(image, np.float32) / 255
    for _ in range(rng.integers(3, 8)):
        _distractor(canvas, rng)
    # Defocus, from nearly sharp snapshots to wide-aperture portraits.
    blur = (0.6, 1.0, 2.0, 4.0)[rng.choice(4, p=(0.35, 0.3, 0.2, 0.15))]
    image = Image.fromarray((np.clip(canvas.rgb, 0, 1) * 255).astype(np.uint8))
    canvas.rgb[:] = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255
    canvas.rgb *= (noise(rng, wide, high, 24, 3) * rng.uniform(0.01, 0.06) + 1)[..., None]
    canvas.alpha[:] = 0


def _bricks(draw: ImageDraw.ImageDraw, rng: Rng, wide: int, high: int) -> None:
    brick, tall = scene.any_colour(rng), high * rng.uniform(0.03, 0.1)
    broad, mortar = tall * rng.uniform(1, 3), min(2, tall / 4)
    for row in range(int(high / tall) + 1):
        for col in range(-1, int(wide / broad) + 1):
            x, y = (col + row % 2 / 2) * broad, row * tall
            draw.rectangle((x, y, x + broad - mortar, y + tall - mortar), scene.ink(rng, brick))


def _shelf(draw: ImageDraw.ImageDraw, rng: Rng, wide: int, high: int) -> None:
    board, tall = scene.any_colour(rng), high / rng.integers(3, 6)
    for y in np.arange(0, high, tall):
        x = -5.0
        draw.rectangle((0, y, wide, y + tall), scene.ink(rng, board * np.float32(0.5)))
        while x < wide:
            broad, gap = wide * rng.uniform(0.02, 0.08), rng.uniform(0.05, 0.5) * tall
            draw.rectangle((x, y + gap, x + broad, y + tall), scene.ink(rng, scene.any_colour(rng)))
            x += broad + 1
        draw.rectangle((0, y + tall * 0.92, wide, y + tall), scene.ink(rng, board))


def _window(draw: ImageDraw.ImageDraw, rng: Rng, wide: int, high: int) -> None:
    x, y = wide * rng.uniform(-0.2, 0.6), high * rng.uniform(-0.1, 0.2)
    w, h, bar = wide * rng.uniform(0.4, 0.8), high * rng.uniform(0.4, 0.8), min(wide, high) / 50
    frame, sky = scene.any_colour(rng), scene.any_colour(rng) * np.float32(0.3) + np.float32(0.7)
    draw.rectangle((x - bar, y - bar, x + w + bar, y + h + bar), scene.ink(rng, frame))
    for i in range(6):
        left, top = x + i % 2 * w / 2 + bar, y + i // 2 * h / 3 + bar
        draw.rectangle((left, top, left + w / 2 - 2 * bar, top + h / 3 - bar), scene.ink(rng, sky))


def _leaves(draw: ImageDraw.ImageDraw, rng: Rng, wide: int, high: int) -> None:
    green = np.array([0.3, 0.45, 0.2], np.float32) if rng.random() < 0.5 else scene.any_colour(rng)
    size = wide * rng.uniform(0.02, 0.06)
    for x, y, turn in rng.uniform((0, 0, 0), (wide, high, 6.3), (170, 3)):
        tip = np.array([math.cos(turn), math.sin(turn)]) * size
        side = np.array([-tip[1], tip[0]]) * 0.4
        leaf = np.add([tip, side, -tip, -side], (x, y))
        draw.polygon(leaf.ravel().tolist(), scene.ink(rng, green, 0.3))


def _bokeh(draw: ImageDraw.ImageDraw, rng: Rng, wide: int, high: int) -> None:
    for x, y, r in rng.uniform((0, 0, 0.02), (1, 1, 0.11), (45, 3)) * (wide, high, wide):
        draw.ellipse((x - r, y - r, x + r, y + r), scene.ink(rng, scene.any_colour(rng), 0.3, 110))


_STRUCTURES = (_bricks, _shelf, _window, _leaves, _bokeh)


def _distractor(canvas: Canvas, rng: Rng) -> None:
    """One shaded thing in the colours of a person that is not a person."""
    x, y = rng.uniform(-0.05, 1.05, 2) * (canvas.width, canvas.height)
    unit = min(canvas.width, canvas.height) * rng.uniform(0.07, 0.24)
    kind = rng.choice(3, p=(0.4, 0.3, 0.3))
    unit *= 4 if kind == 2 and rng.random() < 0.2 else 1  # cloth hangs as curtains too
    frame = Frame(float(x), float(y), unit, rng.uniform(-1.5, 1.5))
    outline = np.array([(-1, -0.7), (1, -0.7), (1, 0.7), (-1, 0.7)])
    if kind < 2:
        reach = rng.uniform(0.75, 1.1, (9, 1)) if kind else 1.0
        outline = smooth(disc(0, 0, 1, rng.uniform(0.5, 1), 9) * reach)
    window, u, v, cover = canvas.part(frame, outline, 0)
    colour = (scene.skin_colour(rng), scene.hair_colour(rng), Fabric.draw(rng)(u, v))[kind]
    light = 0.9 + u * rng.uniform(-0.25, 0.25) + v * rng.uniform(-0.25, 0.25)
    light *= 1 + 0.15 * (kind == 1) * np.sin(v * 30 + np.sin(u * 4) * 4)
    canvas.lay(window, cover, np.clip(colour * light[..., None], 0, 1))


class _Hair:
    """Hair of one person, in head units; `back` lies behind the neck, `front` over the face."""

    def __init__(self, canvas: Canvas, rng: Rng, look: Look, hat: bool) -> None:
        self.args = (canvas, rng, look)
        styles = ("short", "long", "wavy", "bob", "bun", "curly", "bald")
        self.style = style = styles[rng.choice(7, p=(0.3, 0.16, 0.14, 0.1, 0.08, 0.14, 0.08))]
        long = {"long": (0.9, 1.7), "wavy": (0.7, 1.5), "bob": (0.45, 0.62)}.get(style, (0, 0))
        self.fall, self.part = rng.uniform(*long), rng.uniform(-0.5, 0.5)
        self.wave = 0.05 if style == "wavy" else 0.012
        self.volume = 0.04 if hat or style == "bun" else rng.uniform(0.06, 0.14)
        self.flare, self.fringe = rng.uniform(0, 0.25), max(0.0, rng.uniform(-0.1, 0.16))
        self.reach, self.span = rng.uniform(0.5, 0.66), rng.uniform(1.5, 2.3)

    def _strands(self, n: int, depth: tuple[float, float], fall: float, stray: float) -> Array:
        """Strands (n, 14, 2) from the parting to a temple, then down; depth 1 is the surface."""
        rng, t = self.args[1], np.linspace(0, 1, 14)
        side, d = rng.choice([-1.0, 1.0], (n, 1)), rng.uniform(*depth, (n, 1))
        arc = 0.62 / (0.62 + fall)
        t = t * rng.uniform(0.8 if fall else 0.6, 1.02, (n, 1))
        turn = np.minimum(t / arc, 1) * (1.6 - side * self.part) + side * self.part
        drop = np.clip((t - arc) / max(1 - arc, 1e-3), 0, 1) * fall
        curl = np.sin(drop * 9 + rng.uniform(0, 2.4, (n, 1))) * np.minimum(drop * 3, 1)
        wide = (0.385 + self.volume * d) * (1 + self.flare * drop)
        x = side * wide * np.sin(turn) + self.wave * curl
        y = -0.06 - (0.45 + self.volume * d) * np.cos(turn) + drop
        bend = rng.normal(0, stray, (n, 1, 2)) * t[..., None] ** 2
        return (np.stack([x, y], -1) + bend).astype(np.float32)

    def _outer(self, fall: float) -> Array:
        """Outer surface (k, 2), from the left tips over the top to the right ones."""
        turn, drop = np.linspace(0, 1.6, 14), np.linspace(0, fall, 14)[1:]
        wide = 0.385 + 0.9 * self.volume
        falling = wide * (1 + self.flare * drop) + self.wave * np.sin(drop * 9 + 1)
        x = np.concatenate([wide * np.sin(turn), falling])
        y = np.concatenate([-(0.45 + 0.9 * self.volume) * np.cos(turn), drop]) - 0.06
        return np.concatenate([np.stack([-x, y], 1)[::-1], np.stack([x, y], 1)])

    def _ringlets(self, span: float) -> scene.Mass:
        """Outer curve, strands and loose strands of curls within an angle from the top."""
        rng, far = self.args[1], self.reach
        at, r = np.linspace(-span, span, 40), far * rng.uniform(0.94, 1.02, 40)
        outer = np.stack([r * np.sin(at), -0.08 - r * 1.05 * np.cos(at)], 1)
        inner = scene.curls(rng, 150, (0.3, far), span)
        return outer, inner, scene.curls(rng, 130, (0.93 * far, 1.07 * far), span)

    def back(self, head: Frame) -> None:
        """Hair behind the neck: falling lengths, the bun, or the far half of curls."""
        canvas, rng, look = self.args
        if self.fall:
            loose = self._strands(120, (0.7, 1.35), self.fall * 1.08, 0.05)
            mass = self._outer(self.fall), self._strands(120, (-1.5, 1), self.fall, 0.03), loose
        elif self.style == "bun":
            loops = scene.curls(rng, 60, (0.42, 0.73), 0.3) + np.array([self.part * 0.3, 0])
            mass = disc(self.part * 0.3, -0.62, 0.19, 0.17), loops, loops
        elif self.style == "curly":
            mass = self._ringlets(math.pi)
        else:
            return
        scene.paint_hair(canvas, rng, look.hair, look.light, head, mass)

    def front(self, head: Frame) -> None:
        """Hair over the skull and temples, with loose strands along its outer edge."""
        canvas, rng, look = self.args
        if self.style == "bald":
            return
        if self.style == "curly":
            outer, paths, loose = self._ringlets(self.span)
        else:
            fall = self.fall if rng.random() < 0.5 else min(self.fall, 0.45)
            outer = self._outer(fall * 0.95)
            paths = self._strands(200, (-0.3 / self.volume, 1.0), fall, 0.03)
            loose = self._strands(130, (0.75, 1.4), fall * 1.05, 0.05)
        end = max(0.1, float(outer[-1, 1]))
        line = [(0.36, end), (0.37, 0.02), (0.345, -0.12), (0.27, -0.27)]
        line = np.array([*line, (0.12, self.fringe - 0.33)])
        solid = np.concatenate([outer, line, line[::-1] * (-1, 1) + (0, 0.02)])
        scene.paint_hair(canvas, rng, look.hair, look.light, head, (solid, paths, loose))


def _paint_beard(canvas: Canvas, rng: Rng, look: Look, head: Frame) -> None:
    """Full beard with moustache, painted before the mouth: an outline and downward hairs."""
    size, nose, n = rng.uniform(0.1, 1), 0.8 * look.turned(0), 260
    side, at = rng.choice([-1, 1], (n, 1)), rng.uniform(0, 1, (n, 1))
    run = (0.05 + 0.1 * size) * rng.uniform(0.5, 1.1, (n, 1)) * np.linspace(0, 1, 5)
    x = side * (0.34 - 0.3 * at**1.6) + nose * at + side * 0.2 * run
    y = 0.16 + 0.3 * at**0.7 - rng.uniform(0, 0.08, (n, 1)) * at + run
    half = [(0.36, 0.06), (0.355, 0.22), (0.24, 0.42), (0.1, 0.5 + 0.16 * size)]
    lip = [(-0.15, 0.33), (-0.1, 0.245), (0, 0.255), (0.1, 0.245), (0.15, 0.33)]
    inner = [(-0.29, 0.2), *[(x + nose, y) for x, y in lip], (0.29, 0.2)]
    outline = np.array([*half, *[(-x, y) for x, y in reversed(half)], *inner])
    hairs = np.stack([x, y], -1)
    scene.paint_hair(canvas, rng, look.hair, look.light, head, (outline, hairs, hairs))


def _paint_glasses(canvas: Canvas, rng: Rng, look: Look, head: Frame) -> None:
    rim = scene.DARK if rng.random() < 0.6 else scene.hair_colour(rng)
    dark, box = rng.random() < 0.25, 2 / rng.uniform(2, 5)
    ring = disc(0, 0, 1)[np.arange(29) % 28]
    ring = np.sign(ring) * np.abs(ring) ** box * (0.13, 0.1)
    left, right = look.pair(0.165)
    for x in (left, right):
        lens = head.out(np.add(ring, (x, 0.02)))
        canvas.blend(lens, scene.DARK if dark else 1 - scene.DARK, 0.3, 0.85 if dark else 0.1)
        canvas.stroke(lens, 0.018 * head.unit, rim)
        arm = [(x + math.copysign(0.12, x), -0.02), (math.copysign(0.38, x), -0.02)]
        canvas.stroke(head.out(arm), 0.02 * head.unit, rim)
    bridge = [(left + 0.12, -0.01), (right - 0.12, -0.01)]
    canvas.stroke(head.out(bridge), 0.02 * head.unit, rim)


def _paint_hat(canvas: Canvas, rng: Rng, look: Look, head: Frame) -> None:
    cloth, top, kind = Fabric.draw(rng), -rng.uniform(0.62, 0.76), rng.integers(3)
    dome = [(0.0, top), (0.27, top + 0.06), (0.42, -0.42), (0.43, -0.2), (0.2, -0.18)]
    band = [(0.44, -0.34), (0.45, -0.17), (0.22, -0.12)]  # a knitted hat's cuff
    if kind == 1:  # a cap's peak
        band = [(0.3, -0.3), (0.47, -0.2), (0.42, -0.08), (0.2, -0.12)]
    if kind == 2:  # a brimmed hat
        dome = [(0.1, top), (0.3, top - 0.03), (0.38, -0.45), (0.42, -0.24)]
        band = [(0.3, -0.36), (0.72, -0.28), (0.5, -0.18), (0.2, -0.15)]
    edge = np.add(mirrored(band), (0.25 * look.yaw * (kind == 1), 0))
    canvas.shade(head.out(edge) + 0.06 * head.unit, 0.05 * head.unit, 0.5)
    for outline, tone in ((mirrored(dome), 1.0), (edge, 0.82)):
        window, u, v, cover = canvas.part(head, outline)
        light = lit(u / 0.5, (v + 0.4) / 0.7, look.light) * tone
        canvas.lay(window, cover, np.clip(cloth(u, v) * light[..., None], 0, 1))


def _cast(rng: Rng) -> Look:
    """Draw the looks of one person."""
    skin, hair, cloth = scene.skin_colour(rng), scene.hair_colour(rng), Fabric.draw(rng)
    light = (rng.uniform(-0.55, 0.55), rng.uniform(-0.45, 0.05))
    jaw, broad = rng.uniform(0, 1), rng.uniform(0.8, 1.1)
    yaw = float(np.clip(rng.normal(0, 0.2), -0.45, 0.45))
    neckline = NECKLINES[rng.integers(len(NECKLINES))]
    sleeve = {"bare": 0.0, "suit": 2.0}.get(neckline, 0.55 if rng.random() < 0.35 else 2.0)
    pose = POSES[rng.choice(len(POSES), p=(0.5, 0.12, 0.16, 0.12, 0.1))]
    return Look(skin, hair, cloth, light, yaw, jaw, broad, neckline, sleeve, pose)


def _paint_person(canvas: Canvas, rng: Rng) -> None:
    look = _cast(rng)
    unit = min(canvas.width / 240, canvas.height / 320) * rng.uniform(62, 114)
    y = canvas.height * rng.uniform(0.05, 0.2) + 1.33 * unit
    body = Frame(canvas.width * rng.normal(0.5, 0.08), y, unit, rng.normal(0, 0.07))
    head = body.inner(0.06 * look.yaw, -0.77, rng.normal(0, 0.1))
    hat, made_up = rng.random() < 0.2, rng.random() < 0.3
    hair = _Hair(canvas, rng, look, hat)
    hair.back(head)
    paint_torso(canvas, rng, look, body)
    if look.pose != "chin":
        paint_arms(canvas, rng, look, body)
    paint_head(canvas, look, head)
    if not made_up and look.neckline != "bare" and rng.random() < 0.45:
        _paint_beard(canvas, rng, look, head)
    paint_face(canvas, rng, look, head, made_up)
    if rng.random() < 0.22:
        _paint_glasses(canvas, rng, look, head)
    hair.front(head)
    if hat:
        _paint_hat(canvas, rng, look, head)
    if look.pose == "chin":
        paint_arms(canvas, rng, look, body)


def _expose(canvas: Canvas, rng: Rng) -> npt.NDArray[np.uint8]:
    """The camera: uneven light, vignette, colour cast, exposure, sensor noise and slight blur."""
    wide, high = canvas.width, canvas.height
    u, v = Frame(wide / 2, high / 2, high / 2).grid((0, 0, wide, high))
    left, up, rim = rng.uniform((-0.15, -0.15, 0), (0.15, 0.15, 0.2)).tolist()
    light = 1 + u * left + v * up - rim * (u * u + v * v)
    cast = (rng.uniform(0.92, 1.08, 3) * rng.uniform(0.82, 1.1)).astype(np.float32)
    rgb = canvas.rgb * light[..., None] * cast
    rgb += rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.03))
    image = Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.array(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.7))))


def portrait(
    index: int, *, seed: int = 0, width: int = 240, height: int = 320
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Picture and matte of one synthetic person, the same for the same (seed, index, size).

    Returns the image, uint8 (height, width, 3) RGB, and the matte, uint8 (height, width): the
    alpha that composited the person over the background, 0 = background, 255 = person, between
    in hair strands and edges. Drawn by this package; no photograph is used.
    """
    rng = np.random.default_rng((seed, index))
    canvas = Canvas(width, height)
    _paint_background(canvas, rng)
    backdrop = canvas.rgb.copy()
    _paint_person(canvas, rng)
    canvas.mend(backdrop)
    matte = (np.clip(canvas.alpha, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _expose(canvas, rng), matte
