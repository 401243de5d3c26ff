"""Hairs and fibres: thin curved lines, on one frame or stuck in the gate."""

from __future__ import annotations

import cv2
import numpy as np

from restore_utils.damage import chance, shapes
from restore_utils.damage.canvas import Canvas
from restore_utils.damage.dust import SCAN_BLUR
from restore_utils.damage.fault import Par, fault

_FINE = 4  # bits of sub-pixel positions for OpenCV


@fault(
    "hair",
    stage="film",
    rate=Par((0.05, 1.0), 0, 200, "hairs and fibres per frame", scaled=True, log=True),
    length=Par((300, 700), 20, 20000, "median length, micrometres on the film", log=True),
    spread=Par((0.5, 0.8), 0, 1.5, "standard deviation of the logarithm of the length"),
    width=Par((15, 40), 2, 300, "width, micrometres", log=True),
    curl=Par((0.5, 3.0), 0, 20, "bend, radians per length of the hair"),
    white=Par((0.1, 0.6), 0, 1, "share that is white"),
    opacity=Par((0.4, 0.95), 0.02, 1, "opacity of the most opaque"),
    soft=Par((6.0, 20.0), 0, 200, "sigma of the optics' blur, micrometres on the film"),
)
def hair(canvas: Canvas, n: int, plan, p) -> None:
    """Hairs and textile fibres that lie on one frame: an arc whose bend wanders.

    Lengths and widths after FilmDamageSimulator's hand-drawn outlines (1,719 short and long hairs: median box 0.2 mm
    and 0.6 mm on a side, outlines about 40 micrometres wide, the pen included).
    """
    rng = chance.generator(p.seed, n)
    margin = p.length * plan.pixels_per_mm / 1000
    across, down = plan.size[0] + 2 * margin, plan.size[1] + 2 * margin
    stock = shapes.real(plan.shapes)["hair"] if plan.shapes else ()
    soft = float(np.hypot(p.soft * plan.pixels_per_mm / 1000, SCAN_BLUR))
    for _ in range(rng.poisson(p.rate * across * down / (plan.frame[0] * plan.frame[1]))):
        u = rng.random(8)
        x, y = u[0] * across - margin + canvas.shift[0], u[1] * down - margin + canvas.shift[1]
        if stock:
            shape = stock[int(u[2] * len(stock))]
            diameter = shape.mm * plan.pixels_per_mm
            alpha, left, top = shapes.render(shape, diameter, 2 * np.pi * u[3], 1.0, u[4] < 0.5, soft, (x, y))
        else:
            length = p.length * np.exp(p.spread * rng.standard_normal()) * plan.pixels_per_mm / 1000
            points = _fibre(rng, min(length, plan.frame[1]), p.curl * (0.3 + 1.4 * u[2]), 2 * np.pi * u[3])
            width = p.width * (0.7 + 0.6 * u[4]) * plan.pixels_per_mm / 1000
            alpha, left, top = _stroke(points + np.array([x, y]), width, soft)
        alpha = alpha * (p.opacity * (0.15 + 0.85 * u[6] ** 1.3))
        canvas.stamp("hair", alpha, left, top, plan.tone(u[7] < p.white, u[5]))


@fault(
    "gate-hair",
    stage="gate",
    rate=Par((0.0002, 0.002), 0, 0.2, "hairs caught in the gate per frame of film", scaled=True, log=True),
    length=Par((800, 3000), 50, 20000, "length, micrometres on the film", log=True),
    width=Par((20, 50), 2, 300, "width, micrometres", log=True),
    lasts=Par((20, 400), 1, 2000, "frames that one stays", log=True),
    opacity=Par((0.6, 1.0), 0.02, 1, "opacity"),
    soft=Par((15.0, 40.0), 0, 200, "sigma of the optics' blur, micrometres on the film: it is out of focus"),
)
def gate_hair(canvas: Canvas, n: int, plan, p) -> None:
    """A hair caught at the edge of the gate: it stays for seconds while the film runs past, and trembles.

    It hangs into the picture from an edge (most from above and below, where the film carries it), is black, stands
    still against the scan while the film weaves, and its free end swings.
    """
    pixel = plan.pixels_per_mm / 1000
    begin, traits = chance.events(p.seed, p.rate, 2000, n, n + 1)
    for start, u in zip(begin, traits):
        if not start <= n < start + p.lasts * (0.5 + u[0]):
            continue
        rng = chance.generator(p.seed ^ 0x6A7E, int(u[1] * 2**52))
        length = min(p.length * (0.4 + u[2]) * pixel, 0.5 * plan.frame[1])
        side = int(u[3] * 10)  # 0..3 top, 4..7 bottom, 8 left, 9 right
        along = 0.05 + 0.9 * u[4]
        w, h = plan.frame
        root, inward = {0: ((along * w, 0), np.pi / 2), 1: ((along * w, h), -np.pi / 2)}.get(
            side // 4, ((0, along * h), 0.0) if side == 8 else ((w, along * h), np.pi)
        )
        swing = 0.06 * chance.curve(p.seed + int(u[5] * 2**40), np.array([float(n)]), 6.0)[0]
        points = _fibre(rng, length, 1.5 * u[6] + 0.3, inward + (u[7] - 0.5) * 1.2)
        bend = swing * np.linspace(0, 1, len(points))
        cos, sin = np.cos(bend), np.sin(bend)
        turned = np.stack([points[:, 0] * cos - points[:, 1] * sin, points[:, 0] * sin + points[:, 1] * cos], 1)
        turned += np.array(root) - plan.offset + canvas.shift
        alpha, left, top = _stroke(turned, p.width * pixel, float(np.hypot(p.soft * pixel, SCAN_BLUR)))
        canvas.stamp("hair", alpha * p.opacity, left, top, plan.tone(False, u[8]))


def _fibre(rng: np.random.Generator, length: float, curl: float, angle: float) -> np.ndarray:
    """Points (k, 2) of a curve that starts at (0, 0) in direction `angle`; its bend is a random walk."""
    steps = int(np.clip(length / 3, 6, 48))
    bend = curl / steps * (rng.choice((-1, 1)) + np.cumsum(rng.standard_normal(steps)) * 2.0 / np.sqrt(steps))
    heading = angle + np.cumsum(bend)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * (length / steps)
    return np.concatenate([np.zeros((1, 2)), path])


def _stroke(points: np.ndarray, width: float, soft: float) -> tuple[np.ndarray, int, int]:
    """Draws a curve of the given width in pixels; below a pixel it is drawn one wide and fainter."""
    fine = 2  # twice the size, so that the width has half a pixel's steps
    reach = int(np.ceil(width / 2 + 3 * soft + 2))
    low = np.floor(points.min(0)).astype(int) - reach
    high = np.ceil(points.max(0)).astype(int) + reach
    w, h = high - low
    image = np.zeros((h * fine, w * fine), np.uint8)
    at = np.round((points - low) * fine * 2**_FINE - 2 ** (_FINE - 1)).astype(np.int32)
    thick = max(1, round(width * fine))
    cv2.polylines(image, [at[:, None]], False, 255, thick, cv2.LINE_AA, _FINE)
    alpha = cv2.resize(image, (int(w), int(h)), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    alpha *= min(1.0, width * fine / thick)
    if soft > 0.2:
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft)
    return alpha, int(low[0]), int(low[1])
