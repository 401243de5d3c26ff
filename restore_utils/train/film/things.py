"""True things that look like damage and are none, drawn into clean windows for training. NumPy and OpenCV.

A restorer that takes whatever is in one frame and not in the next for dirt takes hands, rackets, balls and snow. Each
kind is drawn where it would be at every frame's time, with the shutter open for a part of it; what is drawn belongs to
the picture and has to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from restore_utils.train.film.dirt import noise

_SHIFT = 3


class Painter:
    """Draws into frames (H, W, 3) float32, in place.

    Args:
        frames: of one window.
        times: (T,) of each, in frames, 0 for the middle one.
        textures: `textures(rng, h, w)` gives a piece of another film, (h, w, 3) float32.
        cutouts: `cutouts(rng)` gives a thing and its outline, (h, w, 3) and (h, w) float32, or None.
        still: whether the scene stands.
    """

    def __init__(
        self,
        frames: Sequence[np.ndarray],
        times: np.ndarray,
        rng: np.random.Generator,
        textures: Callable,
        cutouts: Callable,
        still: bool = False,
    ) -> None:
        self.frames, self.times, self.rng, self.textures, self.cutouts = frames, times, rng, textures, cutouts
        self.still = still
        self.height, self.width = frames[0].shape[:2]

    def place(self) -> np.ndarray:
        """A point near the picture's middle more often than at its rim, x and y."""
        return np.array([self.width, self.height]) * self.rng.uniform(0, 1, 2)

    def lay(self, frame: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> None:
        """colour: (3,) or (H, W, 3); cover (H, W)."""
        frame += cover[..., None] * (colour - frame)

    def colour(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        grey = self.rng.uniform(low, high)
        return np.clip(grey + self.rng.normal(0, 0.12, 3) * self.rng.integers(2), 0, 1).astype(np.float32)

    def plane(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.uint8)


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(float(v) * (1 << _SHIFT)) for v in values)


def _streak(dx: float, dy: float) -> np.ndarray | None:
    """Kernel of a movement by that much while the shutter is open."""
    length = min(int(max(abs(dx), abs(dy))) | 1, 61)
    if length < 2:
        return None
    kernel = np.zeros((length, length), np.float32)
    scale = length / max(abs(dx), abs(dy), 1e-6)
    dx, dy, mid = dx * min(scale, 1) / 2, dy * min(scale, 1) / 2, (length - 1) / 2
    cv2.line(kernel, _fixed(mid - dx, mid - dy), _fixed(mid + dx, mid + dy), 1, 1, cv2.LINE_8, _SHIFT)
    return kernel / kernel.sum()


def _mask(rng: np.random.Generator, side: int) -> np.ndarray:
    """The outline of a thing, (side, side): a lump, or a limb of one or two parts."""
    if rng.random() < 0.5:
        y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
        far = np.hypot(x, y * rng.uniform(1, 2.5)) / (side * 0.4)
        field = 1 - far**2 + rng.uniform(0.1, 0.7) * noise(rng, side, side, side * rng.uniform(0.08, 0.25))
        mask = np.clip(field * side * 0.2 + 0.5, 0, 1)
        mask[[0, -1]] = mask[:, [0, -1]] = 0
        return mask.astype(np.float32)
    plane = np.zeros((side, side), np.uint8)
    thick = rng.uniform(0.06, 0.22) * side
    at, heading = np.array([side / 2, side / 2]), rng.uniform(0, 6.3)
    points = [at, at + 0.3 * side * np.array([np.cos(heading), np.sin(heading)])]
    heading += rng.normal(0, 0.8)
    points.insert(0, at - 0.3 * side * np.array([np.cos(heading), np.sin(heading)]))
    line = (np.array(points) * (1 << _SHIFT)).round().astype(np.int32)
    cv2.polylines(plane, [line], False, 255, max(1, round(thick)), cv2.LINE_AA, _SHIFT)
    if rng.random() < 0.6:  # a hand, a foot
        cv2.circle(plane, _fixed(*points[-1]), *_fixed(thick * rng.uniform(0.5, 1.1)), 255, -1, cv2.LINE_AA, _SHIFT)
    return plane.astype(np.float32) / 255


def bodies(p: Painter) -> None:
    """Things with a look, flying, swinging and turning fast; a limb swings about one end."""
    rng = p.rng
    for _ in range(rng.integers(1, 4)):
        side = int(np.exp(rng.uniform(np.log(8), np.log(150))))
        known = p.cutouts(rng) if rng.random() < 0.5 else None
        if known is not None:
            picture, mask = (cv2.resize(v, (side, side), interpolation=cv2.INTER_AREA) for v in known)
        else:
            mask = _mask(rng, side)
            picture = p.textures(rng, side, side)
            if rng.random() < 0.5:  # skin and cloth have less of a texture
                tone = p.colour()
                picture = np.clip(tone + rng.uniform(0.05, 0.5) * (picture - picture.mean((0, 1))), 0, 1)
        sheet = np.dstack((picture * mask[..., None], mask)).astype(np.float32)
        at = p.place()
        speed = rng.normal(0, 1, 2) * np.exp(rng.uniform(np.log(1), np.log(45)))
        bend, turn, growth = rng.normal(0, 2, 2), rng.normal(0, 1) * rng.choice([0.05, 0.5]), rng.normal(0, 0.05)
        arm = rng.choice([0.0, 0.0, 0.45]) * side  # turns about its end
        shutter, angle = rng.uniform(0.1, 0.9), rng.uniform(0, 6.3)
        for frame, t in zip(p.frames, p.times, strict=True):
            x, y = at + speed * t + bend * t * t / 2
            a, scale = angle + turn * t, float(np.exp(np.clip(growth * t, -0.7, 0.7)))
            x, y = x + arm * np.cos(a), y + arm * np.sin(a)
            dx, dy = (speed + bend * t) * shutter
            dx, dy = dx - arm * np.sin(a) * turn * shutter, dy + arm * np.cos(a) * turn * shutter
            reach = 0.72 * side * scale + max(abs(dx), abs(dy)) / 2 + 3
            left, top = max(int(x - reach), 0), max(int(y - reach), 0)
            right, bottom = min(int(x + reach), p.width), min(int(y + reach), p.height)
            if right - left < 2 or bottom - top < 2:
                continue
            c, s = np.cos(a) * scale, np.sin(a) * scale
            matrix = np.array([[c, -s, x - left - (c - s) * side / 2], [s, c, y - top - (s + c) * side / 2]])
            laid = cv2.warpAffine(sheet, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
            if (kernel := _streak(dx, dy)) is not None:
                laid = cv2.filter2D(laid, -1, kernel, borderType=cv2.BORDER_CONSTANT)
            here = frame[top:bottom, left:right]
            here *= 1 - laid[..., 3:]
            here += laid[..., :3]


def balls(p: Painter) -> None:
    rng = p.rng
    for _ in range(rng.integers(1, 4)):
        at, speed = p.place(), rng.normal(0, 1, 2) * rng.choice([2, 8, 25])
        fall, radius = rng.uniform(0, 2), np.exp(rng.uniform(np.log(1), np.log(14)))
        colour, shutter = p.colour(), rng.uniform(0, 0.7)
        for frame, t in zip(p.frames, p.times, strict=True):
            cover = np.zeros((p.height, p.width), np.float32)
            moved = np.hypot(*speed) * shutter
            steps = int(np.clip(moved / max(radius, 1), 1, 8))
            for k in range(steps):
                plane = p.plane()
                s = t + shutter * k / steps
                x, y = at + speed * s + (0, fall * s * s / 2)
                if -50 < x < p.width + 50 and -50 < y < p.height + 50:
                    cv2.circle(plane, _fixed(x, y), *_fixed(radius), 255, -1, cv2.LINE_AA, _SHIFT)
                cover += plane
            if cover.any():
                p.lay(frame, cover / (255 * steps), colour)


def birds(p: Painter) -> None:
    rng = p.rng
    course, colour, opacity = (
        rng.normal(0, 1, 2) * rng.uniform(0.5, 9),
        p.colour(0, rng.choice([0.3, 1])),
        rng.uniform(0.6, 1),
    )
    flock = [
        (p.place(), course + rng.normal(0, 0.6, 2), rng.uniform(1.5, 12), rng.uniform(0.3, 2.2), rng.uniform(0, 6.3))
        for _ in range(rng.integers(1, 9))
    ]
    for frame, t in zip(p.frames, p.times, strict=True):
        plane = p.plane()
        for at, speed, span, beat, phase in flock:
            x, y = at + speed * t
            lift = span * 0.8 * np.sin(phase + beat * t)
            wings = (np.array([[x - span, y - lift], [x, y], [x + span, y - lift]]) * (1 << _SHIFT)).round()
            cv2.polylines(plane, [wings.astype(np.int32)], False, 255, max(1, round(span / 4)), cv2.LINE_AA, _SHIFT)
        p.lay(frame, plane * np.float32(opacity / 255), colour)


def weather(p: Painter) -> None:
    """Snow or rain: many small things, each seen in every frame, at another place."""
    rng = p.rng
    many, rain = int(np.exp(rng.uniform(np.log(15), np.log(250)))), rng.random() < 0.4
    at = rng.uniform(-0.3, 1.3, (many, 2)) * (p.width, p.height)
    fall = np.array([0, rng.uniform(8, 40) if rain else rng.uniform(0.5, 10)])
    speed = fall + rng.normal(0, 2, 2) + rng.normal(0, 1, (many, 2))
    radius, shutter = rng.uniform(0.4, rng.uniform(0.8, 4), many), rng.uniform(0.2, 0.7)
    colour, opacity = p.colour(0.65), rng.uniform(0.2, 1)
    for frame, t in zip(p.frames, p.times, strict=True):
        plane = p.plane()
        for (x, y), v, r in zip((at + speed * t) % (1.3 * np.array([p.width, p.height])), speed, radius, strict=True):
            if rain or shutter * np.hypot(*v) > 2 * r:
                dx, dy = v * shutter
                cv2.line(plane, _fixed(x, y), _fixed(x + dx, y + dy), 255, max(1, round(1.3 * r)), cv2.LINE_AA, _SHIFT)
            else:
                cv2.circle(plane, _fixed(x, y), *_fixed(r), 255, -1, cv2.LINE_AA, _SHIFT)
        p.lay(frame, plane * np.float32(opacity / 255), colour)


def sparks(p: Painter) -> None:
    rng = p.rng
    many, at = int(rng.integers(4, 40)), p.place()
    speed = rng.normal(0, 1, (many, 2)) * rng.uniform(2, 14) - (0, rng.uniform(0, 6))
    born, life = rng.uniform(-8, 3, many), rng.uniform(2, 8, many)
    colour = np.array([1.0, rng.uniform(0.7, 1), rng.uniform(0.3, 1)], np.float32)
    for frame, t in zip(p.frames, p.times, strict=True):
        plane = p.plane()
        for v, b, alive in zip(speed, born, life, strict=True):
            if 0 <= (age := t - b) < alive:
                (x0, y0), (x1, y1) = (at + v * a + (0, 0.4 * a * a) for a in (age, age + 0.5))
                cv2.line(
                    plane, _fixed(x0, y0), _fixed(x1, y1), round(255 * (1 - 0.6 * age / alive)), 1, cv2.LINE_AA, _SHIFT
                )
        p.lay(frame, plane * np.float32(1 / 255), colour)


def glints(p: Painter) -> None:
    """Light on water, on metal, in leaves: crowded bright points that are new in every frame."""
    rng = p.rng
    at, spread = p.place(), rng.uniform(10, 90, 2)
    many, colour = int(rng.integers(8, 90)), p.colour(0.75)
    long, stays = rng.uniform(0.5, 5), rng.random() < 0.5
    spots = rng.normal(0, 1, (many, 2))
    for frame in p.frames:
        plane = p.plane()
        if not stays:
            spots = rng.normal(0, 1, (many, 2))
        for (x, y), lit in zip(at + spread * spots, rng.random(many), strict=True):
            if lit > 0.4:
                cv2.ellipse(
                    plane,
                    _fixed(x, y),
                    _fixed(long * lit, 0.5 * lit + 0.3),
                    0,
                    0,
                    360,
                    round(255 * lit),
                    -1,
                    cv2.LINE_AA,
                    _SHIFT,
                )
        p.lay(frame, plane * np.float32(1 / 255), colour)


def blinks(p: Painter) -> None:
    """Lights that go on for two frames or more, or go out."""
    rng = p.rng
    for _ in range(rng.integers(1, 6)):
        at, drift, radius = p.place(), rng.normal(0, 0.5, 2), np.exp(rng.uniform(np.log(0.7), np.log(10)))
        on, colour, soft = int(rng.integers(2, 6)), p.colour(0.5), rng.uniform(0.3, 3)
        start, out = int(rng.integers(-on, 2)), rng.random() < 0.3
        for frame, t in zip(p.frames, p.times, strict=True):
            if (start <= t < start + on) != out:
                plane = p.plane()
                cv2.circle(plane, _fixed(*(at + drift * t)), *_fixed(radius), 255, -1, cv2.LINE_AA, _SHIFT)
                p.lay(frame, cv2.GaussianBlur(plane.astype(np.float32) / 255, (0, 0), soft), colour)


def titles(p: Painter) -> None:
    rng = p.rng
    letters = list("ABCDEFGHIJKLMNOPRSTUVWYabcdefghiklmnoprstuvwy.,:!'-123")
    size, roll, face = (
        rng.uniform(0.25, 1.3),
        rng.choice([0.0, 0.0, rng.uniform(-4, 4)]),
        int(rng.choice([0, 2, 3, 4, 5])),
    )
    on, fade, thick = rng.choice([-99, -99, rng.integers(-2, 3)]), rng.choice([0.0, 1.0, 3.0]), int(rng.integers(1, 3))
    x, y0, colour = (
        rng.uniform(-20, p.width * 0.4),
        rng.uniform(10, p.height),
        p.colour(0.0 if rng.random() < 0.2 else 0.75),
    )
    lines = ["".join(rng.choice(letters, rng.integers(3, 30))) for _ in range(rng.integers(1, 4))]
    for frame, t in zip(p.frames, p.times, strict=True):
        glow = 255 if t >= on + fade else 0 if t < on else round(255 * (t - on + 1) / (fade + 1))
        plane = p.plane()
        for i, text in enumerate(lines):
            cv2.putText(
                plane, text, (round(x), round(y0 + roll * t + i * 32 * size)), face, size, glow, thick, cv2.LINE_AA
            )
        p.lay(frame, plane * np.float32(1 / 255), colour)


def poles(p: Painter) -> None:
    """Thin upright and level things of the scene: they stand where the scene stands, else they pass as no scratch does.

    One that stood in a scene that moves would be a scratch.
    """
    rng = p.rng
    pan = 0.0 if p.still else rng.choice([-1, 1]) * rng.uniform(1.5, 9)
    drawn = []
    if rng.random() < 0.3:  # a fence, a window's bars
        apart, slant, thick = rng.uniform(5, 60), rng.normal(0, 0.08), int(rng.integers(1, 5))
        low, high = sorted(rng.uniform(-0.3, 1.3, 2) * p.height)
        first = rng.uniform(0, p.width)
        drawn = [(False, first + k * apart, slant, low, high, thick) for k in range(int(rng.integers(3, 16)))]
    else:
        for _ in range(rng.integers(1, 6)):
            across = rng.random() < 0.2
            long, wide = (p.width, p.height) if across else (p.height, p.width)
            low, high = sorted(rng.uniform(-0.3, 1.3, 2) * long)
            drawn.append((across, rng.uniform(0, wide), rng.normal(0, 0.08), low, high, int(rng.integers(1, 6))))
    colour, opacity = p.colour(), rng.uniform(0.1, 1)
    for frame, t in zip(p.frames, p.times, strict=True):
        plane = p.plane()
        for across, at, slant, low, high, thick in drawn:
            ends = [(at + pan * t + slant * s, s) for s in (low, high)]
            cv2.line(plane, *(_fixed(*(e[::-1] if across else e)) for e in ends), 255, thick, cv2.LINE_AA, _SHIFT)
        p.lay(frame, plane * np.float32(opacity / 255), colour)


KINDS: dict[Callable, float] = {
    bodies: 8,
    balls: 2,
    birds: 1,
    weather: 1.5,
    sparks: 0.7,
    glints: 1.2,
    blinks: 1,
    titles: 1.5,
    poles: 2,
}
"""What can be drawn, and how often."""


def draw(p: Painter) -> None:
    """Draw things of one kind, sometimes of two."""
    weights = np.array(list(KINDS.values()))
    for _ in range(1 + (p.rng.random() < 0.15)):
        list(KINDS)[int(p.rng.choice(len(weights), p=weights / weights.sum()))](p)


BY_NAME = {kind.__name__: kind for kind in KINDS}


def drawn(frames: np.ndarray, kind: Callable, rng: np.random.Generator) -> np.ndarray:
    """A run of frames (T, H, W, 3), float32 [0, 1], with things of one kind in it; the frames are not changed."""
    out = [np.ascontiguousarray(frame, np.float32).copy() for frame in frames]

    def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        frame = frames[rng.integers(len(frames))]
        y, x = (int(rng.integers(max(have - want, 0) + 1)) for have, want in zip(frame.shape, (height, width)))
        return cv2.resize(np.ascontiguousarray(frame[y : y + height, x : x + width]), (width, height))

    kind(Painter(out, np.arange(len(out)) - len(out) // 2, rng, texture, lambda _: None))
    return np.stack(out).clip(0, 1)
