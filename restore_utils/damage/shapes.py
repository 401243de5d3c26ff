"""Outlines of dust and dirt: made ones, and those of real defects from label maps in a folder that the user names."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import OptionError

BASE = 64  # pixels of the side of a made outline
MAP_WIDTH_MM = 36.0
"""What the width of a label map shows: the frame of a 35 mm still camera."""
LABELS = {1: "dust", 2: "blotch", 3: "hair", 4: "hair", 5: "scratch"}
"""Label values of a map: 1 dust, 2 dirt, 3 short hair, 4 long hair, 5 scratch."""


@dataclass(frozen=True)
class Shape:
    """An outline as opacity at falling resolutions, each half the one before.

    Attributes:
        levels: (h, w) float32 [0, 1] arrays.
        diameter: of the disc with the area of levels[0], in pixels of levels[0].
        mm: the same in millimetres on the film; 0 for made outlines.
    """

    levels: tuple[np.ndarray, ...]
    diameter: float
    mm: float = 0.0


def _shape(alpha: np.ndarray, width: int = 0) -> Shape:
    levels = [alpha.astype(np.float32)]
    while min(levels[-1].shape) >= 6:
        h, w = levels[-1].shape
        levels.append(cv2.resize(levels[-1], ((w + 1) // 2, (h + 1) // 2), interpolation=cv2.INTER_AREA))
    diameter = 2 * float(np.sqrt(alpha.sum() / np.pi))
    return Shape(tuple(levels), diameter, diameter / width * MAP_WIDTH_MM if width else 0.0)


@functools.lru_cache(maxsize=4)
def made(kind: str, count: int = 160) -> tuple[Shape, ...]:
    """Irregular outlines: lumps, splinters, groups of crumbs; for blotches also drops with a rim and thin places.

    The mix follows what is seen in magnified real defects, which are angular and broken far more often than round. The
    random seed is fixed: this is a stock, and the plan picks, turns, stretches and mirrors.
    """
    rng = np.random.default_rng(20 if kind == "dust" else 21)
    makers = (_lump, _lump, _splinter, _splinter, _crumbs) if kind == "dust" else (_lump, _lump, _splinter, _drop)
    out = []
    while len(out) < count:
        field = makers[len(out) % len(makers)](rng)
        field = field + _noise(rng, 3.0) * rng.uniform(0.03, 0.12) * (field > -0.3)
        field *= np.clip((1 - np.maximum(abs(_X), abs(_Y))) * 8, 0, 1)  # nothing touches the border
        alpha = np.clip(field * rng.uniform(4, 20), 0, 1)
        if kind == "blotch" and rng.random() < 0.5:  # thin places
            alpha *= np.clip(0.7 + 0.35 * _noise(rng, 3.0), 0.1, 1)
        if (alpha > 0.5).sum() < 40:
            continue
        box = cv2.boundingRect((alpha > 0).astype(np.uint8))
        out.append(_shape(alpha[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]))
    return tuple(out)


_Y, _X = np.mgrid[:BASE, :BASE].astype(np.float32) / (BASE / 2) - 1 + 1 / BASE


def _noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    layer = cv2.GaussianBlur(rng.standard_normal((BASE, BASE)).astype(np.float32), (0, 0), sigma)
    return layer / layer.std()


def _lump(rng: np.random.Generator) -> np.ndarray:
    """Positive inside: an ellipse cut up by noise of three sizes; the largest piece."""
    stretch = rng.uniform(1.0, 2.0) ** 0.5
    noise = _noise(rng, 8.0) + 0.6 * _noise(rng, 4.0) + 0.35 * _noise(rng, 2.0)
    field = 0.5 - np.sqrt((_X * stretch) ** 2 + (_Y / stretch) ** 2) + rng.uniform(0.08, 0.26) * noise
    count, labels, stats, _ = cv2.connectedComponentsWithStats((field > 0).astype(np.uint8), connectivity=4)
    return np.where(labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]), field, -0.2) if count > 1 else field


def _splinter(rng: np.random.Generator) -> np.ndarray:
    """Positive inside: a few straight strokes of changing width, end to end or branching."""
    image = np.zeros((BASE * 4, BASE * 4), np.uint8)
    points = [np.array([BASE * 2.0, BASE * 2.0]) + rng.normal(0, 20, 2)]
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 5)):
        start = points[rng.integers(len(points))] if rng.random() < 0.3 else points[-1]
        angle += rng.normal(0, 0.9)
        end = start + rng.uniform(40, 110) * np.array([np.cos(angle), np.sin(angle)])
        points.append(np.clip(end, 28, BASE * 4 - 28))
        side = np.array([-np.sin(angle), np.cos(angle)]) * rng.uniform(12, 50) / 2
        a, b = rng.uniform(0.1, 1.2, 2)
        corners = [start + side, points[-1] + side * a, points[-1] - side * b, start - side]
        cv2.fillPoly(image, [np.round(corners).astype(np.int32)], 255)
    small = cv2.resize(cv2.GaussianBlur(image, (0, 0), 4.0), (BASE, BASE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255 - 0.45


def _crumbs(rng: np.random.Generator) -> np.ndarray:
    """Positive inside: two to five small pieces near each other."""
    field = np.full((BASE, BASE), -0.5, np.float32)
    for _ in range(rng.integers(2, 6)):
        x, y = rng.normal(0, 0.3, 2)
        r = rng.uniform(0.1, 0.3)
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.5) ** 0.5
        u = (_X - x) * np.cos(angle) + (_Y - y) * np.sin(angle)
        v = -(_X - x) * np.sin(angle) + (_Y - y) * np.cos(angle)
        field = np.maximum(field, r - np.sqrt((u * stretch) ** 2 + (v / stretch) ** 2))
    return field + 0.06 * _noise(rng, 3.0)


def _drop(rng: np.random.Generator) -> np.ndarray:
    """Positive inside: a dried drop, thin in the middle with a denser rim that may be open."""
    radius = 0.6 + 0.1 * _noise(rng, 9.0)
    r = np.sqrt(_X**2 + _Y**2) / radius
    rim = np.exp(-(((r - 0.9) / rng.uniform(0.06, 0.2)) ** 2)) * np.clip(0.7 + 0.6 * _noise(rng, 12.0), 0, 1.5)
    inside = np.clip(1.4 * rim + rng.uniform(0.0, 0.5) * (r < 0.9), 0, 1) * 0.2
    return np.where(inside > 0.01, inside, -0.5).astype(np.float32)


@functools.lru_cache(maxsize=2)
def real(folder: str) -> dict[str, tuple[Shape, ...]]:
    """Outlines of real defects from the label maps (PNG, values of LABELS) of a folder, by kind.

    Maps of stills lie sideways against cine film: scratches, which run along the film, are turned by 90 degrees when
    they are wider than tall.

    Raises:
        OptionError: no map in the folder, or a map that cannot be read.
    """
    paths = sorted(Path(folder).glob("*.png"))
    if not paths:
        raise OptionError(f"{folder}: no label maps (*.png) there: name a folder that holds some, or leave shapes out")
    found: dict[str, list[Shape]] = {"dust": [], "blotch": [], "hair": [], "scratch": []}
    for path in paths:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2 or not set(np.unique(labels)) <= {0, *LABELS}:
            raise OptionError(f"{path}: not a label map: it must be a grey PNG with the values 0 to 5")
        for value, kind in LABELS.items():
            count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8))
            for i in range(1, count):
                x, y, w, h, _area = stats[i]
                piece = (parts[y : y + h, x : x + w] == i).astype(np.float32)
                if kind == "scratch" and w > h:
                    piece = np.rot90(piece)
                found[kind].append(_shape(np.pad(piece, 1), labels.shape[1]))
    return {kind: tuple(shapes) for kind, shapes in found.items()}


def render(
    shape: Shape, diameter: float, angle: float, stretch: float, mirror: bool, soft: float, at: tuple[float, float]
) -> tuple[np.ndarray, int, int]:
    """Draws an outline turned, stretched and softened.

    Args:
        diameter: of the disc of equal area, pixels; below 1 the opacity falls with the area.
        angle: radians. stretch: ratio of the axes, area kept. soft: sigma of the optics' blur, pixels.
        at: (x, y) of the middle, pixels.

    Returns:
        alpha (h, w) float32 [0, 1] and the pixel (x, y) of its upper left corner.
    """
    thin = min(1.0, diameter * diameter)
    scale = max(diameter, 1.0) / shape.diameter
    level = min(max(int(np.floor(-np.log2(scale))), 0), len(shape.levels) - 1)
    image = shape.levels[level]
    h, w = image.shape
    sx, sy = scale * 2.0**level * stretch**0.5 * (-1 if mirror else 1), scale * 2.0**level / stretch**0.5
    cos, sin = np.cos(angle), np.sin(angle)
    a, b, c, d = sx * cos, -sy * sin, sx * sin, sy * cos
    reach = 3 * soft + 1
    half_w, half_h = (abs(a) * w + abs(b) * h) / 2 + reach, (abs(c) * w + abs(d) * h) / 2 + reach
    x0, y0 = int(np.floor(at[0] - half_w)), int(np.floor(at[1] - half_h))
    out_w, out_h = int(np.ceil(at[0] + half_w)) - x0, int(np.ceil(at[1] + half_h)) - y0
    mid_x, mid_y = (w - 1) / 2, (h - 1) / 2
    tx, ty = at[0] - 0.5 - x0 - (a * mid_x + b * mid_y), at[1] - 0.5 - y0 - (c * mid_x + d * mid_y)
    alpha = cv2.warpAffine(image, np.array([[a, b, tx], [c, d, ty]]), (out_w, out_h), flags=cv2.INTER_LINEAR)
    if soft > 0.2:
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft)
    return alpha * thin, x0, y0
