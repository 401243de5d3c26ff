"""Horizontal lines and bars, splices, and the cue marks of the projectionist."""

from __future__ import annotations

import cv2
import numpy as np

from restore_utils.damage import chance
from restore_utils.damage.canvas import Canvas
from restore_utils.damage.fault import Par, fault


@fault(
    "line",
    stage="gate",
    rate=Par((0.01, 0.2), 0, 20, "lines per frame", scaled=True, log=True),
    height=Par((0.5, 2.0), 0.3, 20, "height, lines of a 480-line picture", log=True),
    white=Par(0.7, 0, 1, "share that is bright"),
    opacity=Par((0.3, 1.0), 0.02, 1, "opacity of the most opaque"),
    full=Par(0.5, 0, 1, "share that spans the whole width"),
)
def line(canvas: Canvas, n: int, plan, p) -> None:
    """Thin horizontal lines of one frame: drop-outs of a tape copy, or the edge of a splice.

    Level and straight, whole width or a part of it, with ragged ends; drop-outs last some lines' worth of signal
    (van Roosmalen, Restoration of Archived Film and Video, 1999, ch. 2). They belong to the transfer: no weave.
    """
    rng = chance.generator(p.seed, n)
    for _ in range(rng.poisson(p.rate)):
        u = rng.random(8)
        thick = p.height * (0.6 + 0.8 * u[0]) * plan.frame[1] / 480
        y = u[1] * plan.frame[1] - plan.offset[1]
        x0, x1 = (0.0, 1.0) if u[2] < p.full else sorted((u[3], u[4]))
        ends = np.array([x0, x1]) * plan.frame[0] - plan.offset[0]
        _band(canvas, y, thick, ends, p.opacity * (1 - 0.6 * u[5]), plan.tone(u[6] < p.white, u[7]), rng)


@fault(
    "bar",
    stage="gate",
    rate=Par((0.001, 0.02), 0, 2, "bars that begin per frame", scaled=True, log=True),
    height=Par((4, 60), 1, 300, "height, lines of a 480-line picture", log=True),
    lasts=Par((1, 20), 1, 200, "frames that one lasts", log=True),
    roll=Par((-8.0, 8.0), -100, 100, "lines of 480 that it moves per frame"),
    white=Par(0.5, 0, 1, "share that is bright"),
    opacity=Par((0.08, 0.4), 0.02, 1, "opacity"),
)
def bar(canvas: Canvas, n: int, plan, p) -> None:
    """Broad half-transparent bars across the whole width that last some frames and may roll up or down.

    Seen where a film was shot off a screen or a tube, or from a shutter out of step (hum bars); the Star Wars trailer
    that the `star-wars` recipe follows shows one. They belong to the transfer: no weave.
    """
    begin, traits = chance.events(p.seed, p.rate, 400, n, n + 1)
    for start, u in zip(begin, traits):
        age = n - int(np.floor(start))
        if not 0 <= age < max(1, round(p.lasts * (0.5 + u[0]))):
            continue
        thick = p.height * (0.5 + u[1]) * plan.frame[1] / 480
        y = (u[2] * plan.frame[1] + age * p.roll * plan.frame[1] / 480) % plan.frame[1] - plan.offset[1]
        ends = np.array([-1.0, plan.frame[0] + 1.0]) - plan.offset[0]
        rng = chance.generator(p.seed ^ 0xBA12, n)
        _band(canvas, y, thick, ends, p.opacity * (0.5 + u[3]), plan.tone(u[4] < p.white, u[5]), rng)


def _band(canvas: Canvas, y: float, thick: float, ends: np.ndarray, opacity: float, colour, rng) -> None:
    """A level band around row y (pixels) between two columns, soft above and below, uneven along its length."""
    soft = max(0.35, 0.12 * thick)
    top = int(np.floor(y - thick / 2 - 3 * soft))
    rows = np.arange(top, int(np.ceil(y + thick / 2 + 3 * soft)) + 1) + 0.5 - y
    profile = np.clip((thick / 2 + soft - np.abs(rows)) / (2 * soft), 0, 1) * min(1.0, thick)
    x0, x1 = max(int(np.floor(ends[0])), 0), min(int(np.ceil(ends[1])), canvas.width)
    if x1 - x0 < 1 or top >= canvas.height or top + len(rows) < 0:
        return
    ragged = chance.curve(int(rng.integers(2**62)), np.arange(x0, x1), 23.0)
    along = np.clip(1 + 0.25 * ragged, 0, 1)
    middle = np.arange(x0, x1) + 0.5
    along *= np.clip((middle - ends[0]) / 3, 0, 1) * np.clip((ends[1] - middle) / 3, 0, 1)
    canvas.stamp("line", (profile[:, None] * along * min(opacity, 1.0)).astype(np.float32), x0, top, colour)


@fault(
    "cue",
    stage="film",
    rate=Par((0.0002, 0.001), 0, 0.2, "pairs of marks (ends of reels) per frame of film", scaled=True, log=True),
    opacity=Par((0.7, 1.0), 0.02, 1, "opacity"),
    size=Par((0.9, 1.2), 0.3, 4, "diameter, as a multiple of the standard one"),
)
def cue(canvas: Canvas, n: int, plan, p) -> None:
    """Changeover cue marks: a round mark in the upper right corner on four frames, twice at the end of a reel.

    SMPTE 301M-1999 (theatre projection leader): motor cue on 4 frames, 172 frames of picture, changeover cue on 4
    frames, 18 frames to the end; SMPTE 55 has 168 between and 24 after. Scraped into a print it is a light disc or ring
    with a dark rim, punched and inked it is white or black; made by hand, it sits a little differently on each frame.
    """
    begin, traits = chance.events(p.seed, p.rate, 190, n, n + 1)
    for start, u in zip(begin, traits):
        age = n - int(np.floor(start))
        second = 176 if u[6] < 0.5 else 172
        if not (0 <= age < 4 or second <= age < second + 4):
            continue
        rng = chance.generator(p.seed ^ 0xC0E, n)
        width, height = plan.frame
        radius = 0.021 * height * p.size
        jitter = rng.standard_normal(2) * 0.1 * radius
        x = width * (0.925 - 0.02 * u[0]) + jitter[0] - plan.offset[0] + canvas.shift[0]
        y = height * (0.085 + 0.02 * u[1]) + jitter[1] - plan.offset[1] + canvas.shift[1]
        reach = int(np.ceil(1.4 * radius)) + 3
        left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
        yy, xx = np.mgrid[: 2 * reach, : 2 * reach]
        around = np.arctan2(yy + 0.5 - (y - top), xx + 0.5 - (x - left))
        r = np.hypot(xx + 0.5 - (x - left), yy + 0.5 - (y - top)) / radius * (1 + 0.04 * np.sin(2 * around + 6 * u[2]))
        soft = max(radius * 0.12, 0.7) / radius
        disc = np.clip((1 - r) / soft + 0.5, 0, 1)
        rim = np.clip((1.22 - r) / soft + 0.5, 0, 1) - disc
        if u[3] < 0.3:  # scribed as a ring
            disc = disc - np.clip((0.7 - r) / soft + 0.5, 0, 1) * 0.9
        dark = u[4] < 0.25
        for alpha, bright in ((rim * 0.7, dark), (disc, not dark)):
            alpha = cv2.GaussianBlur((alpha * p.opacity).astype(np.float32), (0, 0), 0.5)
            canvas.stamp("cue", alpha, left, top, plan.tone(bright, u[5]))
