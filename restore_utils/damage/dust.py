"""Dust, dirt and blotches: things that lie on one frame only."""

from __future__ import annotations

import cv2
import numpy as np

from restore_utils.damage import chance, shapes
from restore_utils.damage.canvas import Canvas
from restore_utils.damage.fault import Par, fault

SCAN_BLUR = 0.4  # pixels: the sampling aperture of any scan

_SHARED = {
    "white": Par((0.2, 0.8), 0, 1, "share that is white: dirt on the negative, printed through; the rest is dark"),
    "opacity": Par((0.5, 1.0), 0.02, 1, "opacity of the most opaque; most are far fainter"),
    "upright": Par((0.0, 0.4), 0, 1, "share of rubbed spots that lie along the film, drawn out up to six times"),
    "rim": Par((0.0, 0.4), 0, 1, "share with a faint rim of the other polarity: edge enhancement, refraction"),
    "clusters": Par((0.0, 0.5), 0, 1, "share that lies near another one"),
    "uneven": Par((0.3, 1.0), 0, 3, "spread (log) of the number from frame to frame"),
    "bursts": Par((0.0, 0.02), 0, 1, "share of frames with five times as much: near splices and ends of reels"),
    "soft": Par((8.0, 25.0), 0, 200, "sigma of the optics' blur, micrometres on the film; the pixel adds its own"),
}


@fault(
    "dust",
    stage="film",
    rate=Par((5, 60), 0, 5000, "pieces per frame", scaled=True, log=True),
    size=Par((40, 90), 2, 2000, "median diameter of a disc of equal area, micrometres on the film", log=True),
    spread=Par((0.45, 0.75), 0, 1.5, "standard deviation of the logarithm of the size"),
    **_SHARED,
)
def dust(canvas: Canvas, n: int, plan, p) -> None:
    """Small specks of one frame, dark on a print, white where they lay on the negative.

    Sizes are lognormal in micrometres, as outlined by hand on scans of empty 35 mm frames (FilmDamageSimulator: 7,633
    pieces of dust, middle half 62-78 micrometres, 5-95 % 58-101) and seen through the pixel pitch of the gauge. One
    frame only and independent of its neighbours: the premise of every dirt detector since Kokaram, Motion Picture
    Restoration (Springer, 1998). Places: a Poisson process with clusters (Neyman and Scott, 1958).
    """
    _scatter(canvas, n, plan, p, "dust")


@fault(
    "blotch",
    stage="film",
    rate=Par((0.1, 2), 0, 500, "blotches per frame", scaled=True, log=True),
    size=Par((150, 350), 10, 5000, "median diameter of a disc of equal area, micrometres on the film", log=True),
    spread=Par((0.5, 0.9), 0, 1.5, "standard deviation of the logarithm of the size"),
    **_SHARED,
)
def blotch(canvas: Canvas, n: int, plan, p) -> None:
    """Larger irregular patches of one frame: dirt, lost emulsion, drops; often half-transparent with thin places.

    Kokaram, Motion Picture Restoration (1998), chapter 6; van Roosmalen, Restoration of Archived Film and Video (1999),
    chapter 4, for blotches and their size; the tail of FilmDamageSimulator's class "dirt" (to 700 micrometres).
    """
    _scatter(canvas, n, plan, p, "blotch")


def _scatter(canvas: Canvas, n: int, plan, p, kind: str) -> None:
    rng = chance.generator(p.seed, n)
    level = np.exp(p.uneven * (chance.drift(p.seed + 1, np.array([n]), 3.0)[0] * 0.5 + rng.standard_normal() * 0.8))
    level *= np.exp(-(p.uneven**2) * 0.445)  # keeps the mean number at the rate
    if rng.random() < p.bursts:
        level *= 5
    margin = 4 * p.size * plan.pixels_per_mm / 1000
    width, height = plan.size[0] + 2 * margin, plan.size[1] + 2 * margin
    count = rng.poisson(p.rate * level * width * height / (plan.frame[0] * plan.frame[1]))
    if not count:
        return
    stock = shapes.real(plan.shapes)[kind] if plan.shapes else shapes.made(kind)
    stock = stock or shapes.made(kind)
    place = rng.random((count, 2)) * (width, height) - margin
    near = rng.random(count) < p.clusters
    parent = rng.integers(0, count, count)
    spots = rng.standard_normal((count, 2)) * 0.03 * plan.frame[1]
    place = np.where(near[:, None], place[parent] + spots, place)
    size = p.size * np.exp(p.spread * rng.standard_normal(count)) * plan.pixels_per_mm / 1000
    traits = rng.random((count, 9))
    for i in range(count):
        shape = stock[int(traits[i, 8] * len(stock))]
        diameter = shape.mm * plan.pixels_per_mm if shape.mm else size[i]
        _one(canvas, plan, p, kind, shape, min(diameter, 0.25 * plan.frame[1]), place[i] + canvas.shift, traits[i])


def _one(canvas: Canvas, plan, p, kind: str, shape, diameter: float, at: np.ndarray, u: np.ndarray) -> None:
    soft = float(np.hypot(p.soft * (0.6 + 0.8 * u[3]) * plan.pixels_per_mm / 1000, SCAN_BLUR))
    if kind == "blotch":
        soft += 0.12 * diameter * u[6] ** 4
    angle, stretch = 2 * np.pi * u[0], 1 + 0.6 * u[1] ** 2
    if u[7] < p.upright:
        angle, stretch = np.pi / 2 + 0.12 * (u[0] - 0.5), 1 + 5 * u[1]
    alpha, x, y = shapes.render(shape, diameter, angle, stretch, u[2] < 0.5, soft, (at[0], at[1]))
    alpha = alpha * (p.opacity * (0.12 + 0.88 * u[4] ** 1.6))
    bright = u[5] < p.white
    if u[6] < p.rim:
        ring = cv2.dilate(alpha, np.ones((3, 3), np.uint8)) - alpha
        canvas.stamp(kind, 0.5 * cv2.blur(ring, (3, 3)), x, y, plan.tone(not bright, u[7]))
    canvas.stamp(kind, alpha, x, y, plan.tone(bright, u[6]))
