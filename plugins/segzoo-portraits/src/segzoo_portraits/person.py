"""One person without the hair: clothes, neck, arms, head and face, painted on a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import scene
from .scene import Array, Canvas, Fabric, Frame, Rng, disc, flesh, lit, mirrored, smooth

_WHITE = np.array([0.9, 0.89, 0.87], np.float32)
_IRIS = np.array([(92, 62, 38), (60, 40, 28), (96, 128, 150), (96, 116, 72)], np.float32) / 255

# Depth and half width of the opening that shows skin, for each neckline.
_OPENINGS = {"crew": (0.12, 0.27), "vee": (0.5, 0.27), "shirt": (0.32, 0.2)}
_OPENINGS |= {"suit": (0.2, 0.2), "turtle": (0.06, 0.2), "bare": (0.62, 1.0)}
NECKLINES = tuple(_OPENINGS)

# Elbow, wrist and hand direction of the right arm in body units; the left one is mirrored.
_ARMS = {
    "down": ((1.0, 1.45), (0.98, 2.5), (0.0, 1.0)),
    "hip": ((1.4, 1.3), (0.85, 2.0), (-0.8, 0.5)),
    "crossed": ((0.95, 1.4), (-0.3, 1.2), (-1.0, -0.2)),
    "chin": ((0.75, 1.45), (0.36, 0.3), (-0.3, -1.0)),
    "wave": ((1.3, 1.0), (1.3, 0.0), (0.1, -1.0)),
}
POSES = tuple(_ARMS)


@dataclass(frozen=True)
class Look:
    """One person: colours float32 (3,) in 0..1, light (x, y), head turn, proportions, clothes.

    `sleeve` is the share of the upper arm that is covered; 2 covers the forearm too.
    """

    skin: Array
    hair: Array
    cloth: Fabric
    light: tuple[float, float]
    yaw: float
    jaw: float
    broad: float
    neckline: str
    sleeve: float
    pose: str

    def turned(self, x: float, nearer: float = 1.0) -> float:
        """Horizontal place of a face feature after turning the head, as on a cylinder."""
        return 0.42 * math.sin(math.asin(x / 0.42) + self.yaw * nearer)

    def pair(self, x: float) -> tuple[float, float]:
        """Turned places of a face feature on the left and on the right."""
        return self.turned(-x), self.turned(x)


def paint_head(canvas: Canvas, look: Look, head: Frame) -> None:
    """Ears and the head, whose shading models sockets, nose, cheeks and chin."""
    for side in (-1, 1):
        edge = np.array([(0.34, -0.04), (0.43, -0.06), (0.44, 0.06), (0.39, 0.2), (0.34, 0.2)])
        edge = smooth(edge * (side, 1) - (0.08 * look.yaw, 0))
        window, _, _, cover = canvas.part(head, edge, 0.4)
        canvas.lay(window, cover, look.skin * np.float32(0.85))
        hole = disc(side * 0.395 - 0.08 * look.yaw, 0.06, 0.02, 0.07)
        canvas.blend(head.out(hole), look.skin * np.float32(0.55), 0.02 * head.unit)
    half = [(0.0, -0.5), (0.24, -0.45), (0.355, -0.25), (0.375, 0.0), (0.35, 0.2)]
    half += [(0.2 + 0.1 * look.jaw, 0.37), (0.08 + 0.06 * look.jaw, 0.485), (0.0, 0.5)]
    outline = mirrored(half)
    outline[:, 0] += look.yaw * 0.09 * np.clip(outline[:, 1] + 0.1, 0, 1)
    window, u, v, cover = canvas.part(head, outline)
    skin = flesh(look.skin, lit(u / 0.42, v / 0.62, look.light, 0.55) + _relief(u, v, look))
    for x in look.pair(0.2):
        blush = np.exp(-(((u - x) / 0.1) ** 2) - ((v - 0.17) / 0.08) ** 2)
        skin = skin * (1 - blush[..., None] * np.array([-0.02, 0.09, 0.07], np.float32))
    canvas.lay(window, cover, np.clip(skin, 0, 1))


def _relief(u: Array, v: Array, look: Look) -> Array:
    """Light differences, float32 like u, as Gaussians: x, y, widths and amount."""
    nose, dark = look.turned(0, 1.25), 0.065 if look.light[0] < 0 else -0.065
    blobs = [(x, -0.04, 0.1, 0.05, -0.15) for x in look.pair(0.15)]
    blobs += [(x, 0.12, 0.11, 0.07, 0.07) for x in look.pair(0.2)]
    blobs += [(nose, 0.05, 0.025, 0.14, 0.1), (nose, 0.17, 0.045, 0.035, 0.13)]
    blobs += [(nose + dark, 0.1, 0.035, 0.12, -0.13), (nose, 0.235, 0.09, 0.025, -0.15)]
    blobs += [(nose * 0.8, 0.385, 0.09, 0.025, -0.12), (nose * 0.8, 0.44, 0.08, 0.04, 0.07)]
    total = np.zeros_like(u)
    for x, y, rx, ry, amount in [*blobs, (nose * 0.5, -0.28, 0.2, 0.1, 0.06)]:
        total += amount * np.exp(-(((u - x) / rx) ** 2) - ((v - y) / ry) ** 2)
    return total


def paint_face(canvas: Canvas, rng: Rng, look: Look, head: Frame, made_up: bool) -> None:
    """Eyes with brows, nostrils, smile lines and mouth."""
    iris, gaze, lid = _IRIS[rng.integers(4)], rng.normal(0, 0.12), rng.uniform(0.75, 1.15)
    brow = rng.uniform(0.9, 1.15)
    for x in look.pair(rng.uniform(0.15, 0.17)):
        _eye(canvas, look, head.inner(x, 0.0, 0.0, 0.075), iris, gaze, lid, brow)
    nose, wing = look.turned(0, 1.25), rng.uniform(0.055, 0.08)
    for side in (-1, 1):
        nostril = head.out(disc(nose + side * wing * 0.6, 0.205, 0.02, 0.011, 10))
        canvas.blend(nostril, look.skin * np.float32(0.28), 0.4, 0.85)
        rim = np.array([(0.75 * wing, 0.13), (1.1 * wing, 0.17), (0.95 * wing, 0.21)])
        fold = np.array([(0.1, 0.18), (0.155, 0.24), (0.18, 0.31)])
        for line, blur in ((rim, 0.5), (fold, 1.0)):
            line = head.out(line * (side, 1) + (nose, 0))
            canvas.stroke(line, 0.013 * head.unit, look.skin * np.float32(0.57), blur, 0.6)
    _mouth(canvas, rng, look, head.inner(nose * 0.85, 0.31), made_up)


def _eye(
    canvas: Canvas, look: Look, eye: Frame, iris: Array, gaze: float, lid: float, brow: float
) -> None:
    """One eye and its brow; the frame's unit is half the eye's width."""
    unit = eye.unit
    top = [(-1, 0.08), (-0.5, -0.36 * lid), (0.1, -0.48 * lid), (0.65, -0.28 * lid), (1.0, 0.05)]
    window, u, v, white = canvas.part(eye, smooth([*top, (0.5, 0.3), (-0.4, 0.32)]), 0.2)
    canvas.tint(window, white, _WHITE * np.float32(0.95))
    r = np.hypot(u - gaze, v + 0.05)
    ring = iris * (0.65 + 0.6 * np.clip(r / 0.45, 0, 1) ** 2)[..., None]
    canvas.tint(window, white * np.clip((0.45 - r) * unit / 2 + 0.5, 0, 1), ring)
    pupil = np.clip((0.2 - r) * unit / 2 + 0.5, 0, 1)
    canvas.tint(window, white * np.maximum(pupil, np.clip(-1.2 * v - 0.02, 0, 0.5)), scene.DARK)
    canvas.stroke(eye.out(smooth(top, 4)[:16]), 0.14 * unit, scene.DARK, 0.35, 0.85)
    crease = eye.out(np.array(top) * (1.05, 1.1) - (0, 0.28))
    canvas.stroke(crease, 0.08 * unit, look.skin * np.float32(0.5), 0.5, 0.7)
    canvas.blend(eye.out(disc(gaze + 0.15, -0.18, 0.12, n=8)), _WHITE, 0.2)
    arch = [(-1.3, -0.95), (-0.3, -1.35), (0.7, -1.4), (1.4, -1.0), (0.7, -1.16), (-0.3, -1.08)]
    hairs = eye.out(smooth(np.array(arch) * (1, brow)))
    canvas.blend(hairs, look.hair * np.float32(0.6), 0.06 * unit + 0.3, 0.8)


def _mouth(canvas: Canvas, rng: Rng, look: Look, mouth: Frame, made_up: bool) -> None:
    smile, full = rng.uniform(-0.02, 0.12), rng.uniform(0.03, 0.06)
    x = np.linspace(-1, 1, 11)
    half = rng.uniform(0.12, 0.165) + 0.2 * max(smile, 0)
    line = np.stack([x * half, -smile * x * x * 0.6 + 0.006 * np.cos(x * 9)], 1)
    bow = (full * 0.8 * (1 - x**2) * (1 - 0.35 * np.exp(-((x / 0.16) ** 2))))[:, None] * (0, 1)
    sag = (full * (1 - x**2) ** 0.8)[:, None] * (0, 1)
    gap = sag * (0.9 if rng.random() < 0.3 else 0.0)
    paint = np.array([0.4, 0.08, 0.12] if made_up else [0, 0, 0], np.float32)
    red = look.skin * np.array([0.9, 0.62, 0.62]) * (0.4 if made_up else 1) + paint
    for outer, inner, tone in ((line - bow, line, 0.85), (line + gap + sag, line + gap, 1.0)):
        lip = mouth.out(np.concatenate([inner, outer[::-1]]))
        canvas.blend(lip, red * np.float32(tone), 0.4, 0.9)
    if gap.any():
        canvas.blend(mouth.out(np.concatenate([line, (line + gap)[::-1]]) * 0.9), _WHITE)
    canvas.stroke(mouth.out(line), 0.014 * mouth.unit, look.skin * np.float32(0.25), 0.4, 0.8)


def paint_torso(canvas: Canvas, rng: Rng, look: Look, body: Frame) -> None:
    """Clothed torso with folds, neck, and the neckline's opening and collar."""
    b, waist = look.broad, look.broad * rng.uniform(0.7, 0.95)
    half = [(0.12, -0.16), (0.24, -0.1), (0.5, 0.03), (0.74 * b, 0.12), (0.92 * b, 0.3)]
    half += [(0.9 * b, 0.65), (0.8 * b, 1.0), (waist * 0.8, 1.7), (waist * 0.95, 2.6), (0.95, 5.0)]
    window, u, v, cover = canvas.part(body, mirrored(half))
    rough = scene.noise(rng, window[2] - window[0], window[3] - window[1], 3, 3)
    shade = lit(u / (1.25 * b), np.clip(0.35 - v, 0, 0.4), look.light)
    shade = shade * (1.03 + 0.035 * rough - 0.07 * np.abs(rough))
    canvas.lay(window, cover, look.cloth(u + 0.02 * rough, v + 0.02 * rough) * shade[..., None])
    _paint_neck(canvas, look, body)
    base, other, unit = look.cloth.base, look.cloth.other, body.unit
    if look.neckline == "crew":
        t = np.linspace(0.1, math.pi - 0.1, 14)
        rim = np.stack([0.26 * np.cos(t), -0.1 + 0.21 * np.sin(t)], 1)
        canvas.stroke(body.out(rim), 0.045 * unit, other * np.float32(0.9))
    elif look.neckline == "vee":
        rim = body.out([(-0.27, -0.1), (-0.22, 0.15), (0, 0.5), (0.22, 0.15), (0.27, -0.1)])
        canvas.stroke(rim, 0.04 * unit, base * np.float32(0.8))
    elif look.neckline == "bare":
        for side in (-1, 1):
            strap = body.out([(0.4 * side, 0.6), (0.42 * side, 0.3), (0.36 * side, -0.05)])
            canvas.stroke(strap, 0.06 * unit, base * np.float32(0.9))
    else:
        collar = {"shirt": _shirt, "suit": _suit, "turtle": _turtle}[look.neckline]
        collar(canvas, rng, look, body)


def _paint_neck(canvas: Canvas, look: Look, body: Frame) -> None:
    deep, wide = _OPENINGS[look.neckline]
    low = {"crew": 0.55, "bare": 0.95}.get(look.neckline, 0.4)
    half = [(wide, -0.11), (wide * 0.98, deep * low), (wide * 0.4, deep * 0.97)]
    window, u, v, cover = canvas.part(body, mirrored(half), 0.4)
    bones = 0.05 * np.exp(-(((v - 0.02 - 0.12 * np.abs(u)) / 0.035) ** 2)) * (np.abs(u) > 0.04)
    canvas.tint(window, cover, flesh(look.skin, lit(u / 1.3, v * 0, look.light) + bones - 0.04))
    n = 0.14 + 0.06 * look.broad
    throat = mirrored([(n, -0.62), (n * 0.97, -0.3), (n * 1.12, -0.12), (n * 0.9, 0.02)])
    window, u, v, cover = canvas.part(body, throat)
    canvas.lay(window, cover, flesh(look.skin, lit(u / 0.26, v * 0, look.light) - 0.06))
    canvas.shade(body.out(disc(0.03 * look.light[0], -0.36, 0.3, 0.27)), 0.05 * body.unit, 0.5)


def _flaps(canvas: Canvas, body: Frame, colour: Array, right: list[tuple[float, float]]) -> None:
    """Collar or lapels: a flap and its mirror image, each with a contact shadow."""
    for side in (-1, 1):
        flap = np.array(right, np.float32) * (side, 1)
        canvas.shade(body.out(flap) + 0.02 * body.unit, 0.03 * body.unit, 0.45)
        window, u, _, cover = canvas.part(body, flap, 0.4)
        canvas.lay(window, cover, np.clip((0.97 + 0.1 * side * u)[..., None] * colour, 0, 1))


def _shirt(canvas: Canvas, rng: Rng, look: Look, body: Frame) -> None:
    base = look.cloth.base
    canvas.stroke(body.out([(0, 0.3), (0.02, 1.2), (0, 5)]), 1, base * np.float32(0.6), 0.5)
    for y in np.arange(0.42, 3, rng.uniform(0.24, 0.34)):
        canvas.blend(body.out(disc(0.045, y, 0.018, n=8)), base * np.float32(0.45), 0)
    flap = [(0.18, -0.22), (0.24, -0.11), (0.33, 0.12), (0.17, 0.24), (0.03, 0.32), (0.12, 0.0)]
    _flaps(canvas, body, base * np.float32(1.02), flap)


def _suit(canvas: Canvas, rng: Rng, look: Look, body: Frame) -> None:
    linen = _WHITE * np.float32(rng.uniform(0.75, 1.03))
    front = [(-0.26, -0.05), (0.26, -0.05), (0.24, 0.3), (0.0, 1.25), (-0.24, 0.3)]
    canvas.blend(body.out(front), linen)
    knot = [(-0.07, 0.08), (0.07, 0.08), (0.04, 0.2), (-0.04, 0.2)]
    blade = [(-0.04, 0.2), (0.04, 0.2), (0.1, 1.0), (0, 1.3), (-0.1, 1.0)]
    tie = Fabric.draw(rng)
    for piece in (knot, blade) if rng.random() < 0.65 else ():
        window, u, v, cover = canvas.part(body, piece, 0.4)
        canvas.tint(window, cover, tie(u * 2, v * 2) * (1 - 3 * np.abs(u - 0.02))[..., None])
    collar = [(0.18, -0.2), (0.23, -0.1), (0.24, 0.14), (0.02, 0.1), (0.12, -0.02)]
    _flaps(canvas, body, linen, collar)
    lapel = [(0.24, -0.11), (0.36, 0.02), (0.46, 0.36), (0.38, 0.42), (0.42, 0.5), (0.03, 1.35)]
    _flaps(canvas, body, look.cloth.base * np.float32(0.88), [*lapel, (0.22, 0.3)])


def _turtle(canvas: Canvas, rng: Rng, look: Look, body: Frame) -> None:
    roll = mirrored([(0.2, -0.32), (0.245, -0.2), (0.27, -0.04), (0.2, 0.06)])
    canvas.shade(body.out(roll) + 0.03 * body.unit, 0.04 * body.unit, 0.5)
    window, u, v, cover = canvas.part(body, roll)
    tone = lit(u / 0.32, v * 0, look.light) * (0.95 + 0.08 * np.sin(u * rng.uniform(80, 130)))
    canvas.lay(window, cover, look.cloth.base * tone[..., None])
    canvas.shade(body.out(disc(0, -0.34, 0.28, 0.14)), 0.04 * body.unit, 0.45)


def _limb(
    canvas: Canvas, look: Look, body: Frame, ends: Array, radii: tuple[float, float], cloth: bool
) -> None:
    """Tapered arm segment between two joints (2, 2), in cloth or in skin."""
    (x, y), (dx, dy) = ends[0].tolist(), (ends[1] - ends[0]).tolist()
    length = math.hypot(dx, dy)
    arm = body.inner(x, y, math.atan2(dy, dx))
    a, b = radii
    cap = [(-0.9 * a, 0), (-0.55 * a, a * 0.75), (0.1, a), (length * 0.6, (a + b) / 2), (length, b)]
    cap += [(length + 0.7 * b, b * 0.6), (length + 0.9 * b, 0)]
    far = arm.out([(length * 0.4, -a), (length * 0.4, a), (length + b, b), (length + b, -b)])
    canvas.shade(far + 0.03 * body.unit, 0.06 * body.unit, 0.3)
    window, u, v, cover = canvas.part(arm, smooth(cap + [(p, -q) for p, q in cap[-2:0:-1]]))
    x0, y0, x1, y1 = window
    # The joint fades in over what the person already covers, so that no seam crosses the shoulder.
    fade = np.clip((u + 0.3 * a) / (1.3 * a), 0, 1)
    across = np.clip(v / np.clip(a + (b - a) * u / length, b * 0.8, None), -1, 1) * 0.85
    sunny = look.light[1] * math.cos(arm.angle) - look.light[0] * math.sin(arm.angle)
    shade = 0.9 + fade * (lit(across, across * 0, (sunny, 0.0)) - 0.9)
    if cloth:
        shade = shade * (1 + 0.05 * np.sin(u * 14 + 3 * across + 2 * np.sin(u * 5)))
        tone = look.cloth(v, u) * shade[..., None]
    else:
        tone = flesh(look.skin, shade)
    canvas.lay(window, cover * np.where(canvas.alpha[y0:y1, x0:x1] > 0.999, fade, 1), tone)


def _hand(canvas: Canvas, rng: Rng, look: Look, wrist: Frame) -> None:
    spread, unit = rng.uniform(0.05, 0.22), wrist.unit
    outline = [(-0.1, -0.11), (0.1, -0.15), (0.28, -0.15), (0.3, 0.13), (0.08, 0.14)]
    palm, thumb = wrist.out(smooth(outline)), wrist.out([(0.05, 0.1), (0.2, 0.2), (0.32, 0.23)])
    brush = scene.Brush(canvas.window(palm, 0.4 * unit)).fill(palm).line(thumb, 0.085 * unit)
    for i in (-1.5, -0.5, 0.5, 1.5):
        reach = 0.52 - 0.04 * abs(i + 0.2)
        finger = wrist.out([(0.22, i * 0.075), (reach, i * (0.075 + 0.5 * spread))])
        tip = disc(float(finger[1, 0]), float(finger[1, 1]), 0.037 * unit, n=9)
        brush.line(finger, 0.078 * unit).fill(tip)
    u, v = wrist.grid(brush.window)
    between = 0.12 * np.exp(-(((np.abs(v * 13.3) % 1) / 0.2) ** 2)) * (u > 0.25)
    tone = flesh(look.skin, lit(v * 2.5, u * 0, look.light) - between)
    canvas.lay(brush.window, brush.coverage(0.5), tone)


def paint_arms(canvas: Canvas, rng: Rng, look: Look, body: Frame) -> None:
    """Both arms with hands; of the poses with a raised hand, only one side takes part."""
    raised = rng.choice([-1, 1])
    for side in (-1, 1):
        both = look.pose in ("down", "hip", "crossed") or side == raised
        elbow, wrist, hand = _ARMS[look.pose if both else "down"]
        joints = np.array([(0.75 * look.broad, 0.36), elbow, wrist], np.float32)
        joints[1:, 0] *= look.broad**0.5
        joints = ((joints + rng.normal(0, 0.02, (3, 2))) * (side, 1)).astype(np.float32)
        cut = joints[0] + (joints[1] - joints[0]) * np.float32(min(look.sleeve, 1))
        if look.sleeve < 2:
            _limb(canvas, look, body, np.stack([cut, joints[1]]), (0.19, 0.15), False)
        turn = math.atan2(hand[1], hand[0] * side)
        _hand(canvas, rng, look, body.inner(float(joints[2, 0]), float(joints[2, 1]), turn))
        if look.sleeve < 2:
            _limb(canvas, look, body, joints[1:], (0.15, 0.1), False)
        if look.sleeve > 0:
            _limb(canvas, look, body, np.stack([joints[0], cut]), (0.21, 0.2), True)
        if look.sleeve >= 2:
            _limb(canvas, look, body, joints[1:], (0.19, 0.13), True)
