"""True things that look like damage: balls, birds, snow, sparks, blinking lights, titles, poles, the gate.

A restorer that takes whatever is in one frame and not in the next for dirt eats tennis balls and snow. These are drawn
into clean footage before it is damaged, so that they belong to what must stay: for training, and for the test of it.
Each is seen in other frames too, at its place or moved on; else nothing could tell it from dirt. NumPy and OpenCV.
"""

from collections.abc import Callable

import cv2
import numpy as np

SHIFT = 4  # binary places of OpenCV's sub-pixel coordinates
_SHUTTER = (0.0, 0.16, 0.33, 0.5)  # when the shutter is open, of a frame

Paint = Callable[[np.ndarray, float], None]
"""Draws a thing at time t (frames from the middle one) into a plane (H, W) uint8 of opacity."""


def draw_things(frames: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Draw things of one kind into a run of frames.

    Args:
        frames: (T, H, W, 3) float32 RGB [0, 1]; not changed.
        kind: one of KINDS.
        rng: draws number, place, size, speed, colour.

    Returns:
        The frames with the things in them, float32.
    """
    count, height, width = frames.shape[:3]
    out = frames.copy()
    for paint, colour, opacity, blurred in KINDS[kind](rng, width, height):
        for n in range(count):
            at = n - (count - 1) / 2
            times = [at + s for s in _SHUTTER] if blurred else [at]
            cover = np.zeros((height, width), np.float32)
            for t in times:
                plane = np.zeros((height, width), np.uint8)
                paint(plane, t)
                cover += plane
            cover *= opacity / (255 * len(times))
            out[n] += cover[..., None] * (colour - out[n])
    return out


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(v * (1 << SHIFT)) for v in values)


def _colour(rng: np.random.Generator, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    grey = rng.uniform(low, high)
    return np.clip(grey + rng.normal(0, 0.12, 3) * rng.integers(2), 0, 1).astype(np.float32)


def _place(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    return rng.uniform(0, 1, 2) * (width, height)


def _balls(rng: np.random.Generator, width: int, height: int):
    for _ in range(rng.integers(1, 5)):
        at, speed = _place(rng, width, height), rng.normal(0, 1, 2) * rng.choice([2, 6, 14])
        fall, radius = rng.uniform(0, 1.5), rng.uniform(1.5, 3 + 9 * rng.random())

        def paint(plane: np.ndarray, t: float, at=at, speed=speed, fall=fall, radius=radius) -> None:
            x, y = at + speed * t + (0, fall * t * t / 2)
            cv2.circle(plane, _fixed(x, y), *_fixed(radius), 255, -1, cv2.LINE_AA, SHIFT)

        yield paint, _colour(rng), 1.0, True


def _birds(rng: np.random.Generator, width: int, height: int):
    course = rng.normal(0, 1, 2) * rng.uniform(0.5, 6)
    for _ in range(rng.integers(1, 8)):
        at, speed = _place(rng, width, height), course + rng.normal(0, 0.5, 2)
        span, beat, phase = rng.uniform(2, 10), rng.uniform(0.3, 1.6), rng.uniform(0, 6.3)

        def paint(plane: np.ndarray, t: float, at=at, speed=speed, span=span, beat=beat, phase=phase) -> None:
            x, y = at + speed * t
            lift = span * 0.7 * np.sin(phase + beat * t)
            wings = np.array([[x - span, y - lift], [x, y], [x + span, y - lift]])
            points = (wings * (1 << SHIFT)).round().astype(np.int32)
            cv2.polylines(plane, [points], False, 255, max(1, round(span / 4)), cv2.LINE_AA, SHIFT)

        yield paint, _colour(rng, 0.0, rng.choice([0.3, 1.0])), rng.uniform(0.7, 1), False


def _snow(rng: np.random.Generator, width: int, height: int):
    many = rng.integers(20, 160)
    at = rng.uniform(-0.2, 1.2, (many, 2)) * (width, height)
    fall = np.array([0, rng.uniform(1, 8)])
    speed = rng.normal(0, 3, 2) + fall + rng.normal(0, 0.8, (many, 2))
    radius = rng.uniform(0.6, rng.uniform(1, 3), many)

    def paint(plane: np.ndarray, t: float) -> None:
        for (x, y), r in zip(at + speed * t, radius, strict=True):
            cv2.circle(plane, _fixed(x, y), *_fixed(r), 255, -1, cv2.LINE_AA, SHIFT)

    yield paint, _colour(rng, 0.75), rng.uniform(0.4, 1), True


def _sparks(rng: np.random.Generator, width: int, height: int):
    many, at = rng.integers(4, 30), _place(rng, width, height)
    speed = rng.normal(0, 1, (many, 2)) * rng.uniform(2, 12) - (0, rng.uniform(0, 6))
    born, life = rng.uniform(-5, 0.5, many), rng.uniform(2, 6, many)

    def paint(plane: np.ndarray, t: float) -> None:
        for v, b, alive in zip(speed, born, life, strict=True):
            age = t - b
            if 0 <= age < alive:
                (x0, y0), (x1, y1) = (at + v * a + (0, 0.4 * a * a) for a in (age, age + 0.5))
                glow = round(255 * (1 - 0.6 * age / alive))
                cv2.line(plane, _fixed(x0, y0), _fixed(x1, y1), glow, 1, cv2.LINE_AA, SHIFT)

    yield paint, np.array([1.0, rng.uniform(0.7, 1), rng.uniform(0.3, 1)], np.float32), 1.0, False


def _blinks(rng: np.random.Generator, width: int, height: int):
    for _ in range(rng.integers(1, 7)):
        at, drift = _place(rng, width, height), rng.normal(0, 0.4, 2)
        radius, on = rng.uniform(0.8, 6), rng.integers(2, 6)
        start = rng.integers(-on, 2)

        def paint(plane: np.ndarray, t: float, at=at, drift=drift, radius=radius, start=start, on=on) -> None:
            if start <= t < start + on:
                cv2.circle(plane, _fixed(*(at + drift * t)), *_fixed(radius), 255, -1, cv2.LINE_AA, SHIFT)

        yield paint, _colour(rng, 0.6), rng.uniform(0.6, 1), False


def _titles(rng: np.random.Generator, width: int, height: int):
    letters = list("ABCDEFGHIJKLMNOPRSTUVWYabcdefghiklmnoprstuvwy.,:!'-123")
    size, roll = rng.uniform(0.3, 1.2), rng.choice([0.0, 0.0, rng.uniform(-3, 3)])
    face, thick = int(rng.choice([0, 2, 3, 4, 5])), int(rng.integers(1, 3))
    on = rng.choice([-9, -9, rng.integers(-2, 3)])
    fade = rng.choice([0.0, 1.0, 3.0])
    x, y0 = rng.uniform(-20, width * 0.4), rng.uniform(10, height)
    lines = ["".join(rng.choice(letters, rng.integers(3, 24))) for _ in range(rng.integers(1, 4))]

    def paint(plane: np.ndarray, t: float) -> None:
        glow = 255 if t >= on + fade else 0 if t < on else round(255 * (t - on + 1) / (fade + 1))
        for i, text in enumerate(lines):
            y = y0 + roll * t + i * 32 * size
            cv2.putText(plane, text, (round(x), round(y)), face, size, glow, thick, cv2.LINE_AA)

    yield paint, _colour(rng, 0.8), 1.0, False


def _poles(rng: np.random.Generator, width: int, height: int):
    pan = rng.choice([-1, 1]) * rng.uniform(0.7, 5)
    for _ in range(rng.integers(1, 6)):
        x, slant = rng.uniform(0, width), rng.normal(0, 0.08)
        top, bottom = sorted(rng.uniform(-0.3, 1.3, 2) * height)
        thick = int(rng.integers(1, 5))

        def paint(plane: np.ndarray, t: float, x=x, slant=slant, top=top, bottom=bottom, thick=thick) -> None:
            ends = [_fixed(x + pan * t + slant * y, y) for y in (top, bottom)]
            cv2.line(plane, *ends, 255, thick, cv2.LINE_AA, SHIFT)

        yield paint, _colour(rng), rng.uniform(0.15, 1), False


def _gates(rng: np.random.Generator, width: int, height: int):
    insets = rng.integers(0, 28, 4) * (rng.random(4) < 0.5)
    radius, shake = int(rng.integers(0, 40)), rng.choice([0.0, 0.7])
    jumps = rng.normal(0, shake, (64, 2))
    soft = rng.uniform(0.4, 2)

    def paint(plane: np.ndarray, t: float) -> None:
        dx, dy = jumps[round(t * 2) % 64]
        left, top, right, bottom = insets + np.array((dx, dy, -dx, -dy))
        inner = np.zeros_like(plane)
        x0, y0, x1, y1 = left + radius, top + radius, width - 1 - right - radius, height - 1 - bottom - radius
        open_left, open_top, open_right, open_bottom = ((i == 0) * 2 * radius for i in insets)
        corners = (x0 - open_left, y0 - open_top), (x1 + open_right, y1 + open_bottom)
        cv2.rectangle(inner, *(_fixed(*c) for c in corners), 255, max(1, 2 * radius), cv2.LINE_AA, SHIFT)
        cv2.rectangle(inner, *(_fixed(*c) for c in corners), 255, -1, cv2.LINE_AA, SHIFT)
        np.subtract(255, cv2.GaussianBlur(inner, (0, 0), soft), out=plane)

    yield paint, _colour(rng, 0.0, 0.08), 1.0, False


KINDS: dict[str, Callable] = {
    "balls": _balls,
    "birds": _birds,
    "snow": _snow,
    "sparks": _sparks,
    "blinks": _blinks,
    "titles": _titles,
    "poles": _poles,
    "gates": _gates,
}
"""kind -> what yields (paint, colour (3,) float32, opacity, whether it moves while the shutter is open)."""
