"""Film damage for training, drawn fast and without a signature of its own. NumPy and OpenCV.

A network that sees one generator learns the generator. So every mark is drawn by one of many: level sets of noise,
outlines, curves, rings, clusters, outlines of real defects; its size and its contrast are uniform in their logarithms,
its edge hard or soft, its tone grey or tinted, lighter or darker than what it lies on. Marks are kept in a bank and
laid down turned and scaled, since drawing costs more than laying.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

LARGEST = 160  # pixels of a mark's side
_SHIFT = 3
_DRAWN = 500  # marks that a bank begins with


def noise(rng: np.random.Generator, height: int, width: int, size: float) -> np.ndarray:
    """Smooth noise (height, width), variance about 1; `size` is the sigma of its blur in pixels."""
    step = max(int(size / 2), 1)  # drawn small where it is smooth
    shape = height // step + 3, width // step + 3
    small = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), size / step)
    small /= small.std() + 1e-6
    return cv2.resize(small, (shape[1] * step, shape[0] * step), interpolation=cv2.INTER_LINEAR)[:height, :width]


def _level_set(rng: np.random.Generator, radius: float) -> np.ndarray:
    side = int(3.2 * radius) + 6
    y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
    far = np.hypot(x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / squeeze) / radius
    field = 1 - far**2 + noise(rng, side, side, max(radius * rng.uniform(0.15, 0.6), 0.7)) * rng.uniform(0.1, 0.9)
    return np.clip(field * radius * rng.uniform(0.4, 3) + 0.5, 0, 1)


def _outline(rng: np.random.Generator, radius: float) -> np.ndarray:
    side = int(3.4 * radius) + 6
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    far = np.ones_like(angle)
    for k in range(2, 8):
        far += rng.normal(0, rng.uniform(0.05, 0.5) / k) * np.cos(k * angle + rng.uniform(0, 6.3))
    points = radius * np.clip(far, 0.1, 1.6)[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1)
    points = (points * (1, rng.uniform(0.4, 1)) + side / 2) * (1 << _SHIFT)
    plane = np.zeros((side, side), np.uint8)
    cv2.fillPoly(plane, [points.round().astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    return plane.astype(np.float32) / 255


def _curve(rng: np.random.Generator, radius: float) -> np.ndarray:
    """A hair or a fibre: a walk whose turning changes slowly."""
    count = 24
    heading = rng.uniform(0, 6.3) + np.cumsum(rng.normal(0, rng.uniform(0.02, 0.3), count) + rng.normal(0, 0.12))
    points = np.cumsum(np.stack((np.cos(heading), np.sin(heading)), 1), 0) * (4 * radius / count)
    points -= points.min(0) - 4
    width, height = np.minimum(points.max(0) + 5, LARGEST).astype(int)
    plane = np.zeros((height, width), np.uint8)
    thick = int(rng.choice([1, 1, 1, 2, 2, 3]))
    cv2.polylines(plane, [(points * (1 << _SHIFT)).round().astype(np.int32)], False, 255, thick, cv2.LINE_AA, _SHIFT)
    plane = plane.astype(np.float32) / 255
    return plane * np.clip(0.8 + 0.4 * noise(rng, height, width, 8), 0.2, 1) if rng.random() < 0.4 else plane


def _ring(rng: np.random.Generator, radius: float) -> np.ndarray:
    """What a drop leaves: little inside, more at the rim."""
    full = _outline(rng, radius) if rng.random() < 0.5 else _level_set(rng, radius)
    inner = cv2.GaussianBlur(full, (0, 0), max(radius * rng.uniform(0.08, 0.3), 0.6))
    return np.clip(4 * full * (1 - inner) + full * rng.uniform(0, 0.4), 0, 1)


def _cluster(rng: np.random.Generator, radius: float) -> np.ndarray:
    side = int(4 * radius) + 6
    plane = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(2, 9)):
        at = np.clip(rng.normal(side / 2, side / 5, 2), 2, side - 3)
        axes = np.maximum(radius * rng.uniform(0.06, 0.45, 2), 0.4)
        fixed = [tuple((v * (1 << _SHIFT)).round().astype(int).tolist()) for v in (at, axes)]
        cv2.ellipse(plane, *fixed, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA, _SHIFT)
    return plane.astype(np.float32) / 255


_GENERATORS = (_level_set, _level_set, _outline, _outline, _curve, _ring, _cluster)


class Bank:
    """Marks, each (h, w) float32 [0, 1], drawn anew little by little.

    Args:
        shapes: outlines of real defects, (h, w) uint8 each, may be empty.
    """

    def __init__(self, rng: np.random.Generator, shapes: list[np.ndarray]) -> None:
        self.rng, self.shapes = rng, shapes
        self.marks = [self._draw() for _ in range(_DRAWN)]

    def mark(self) -> np.ndarray:
        """One of the marks, turned."""
        rng = self.rng
        at = int(rng.integers(len(self.marks)))
        mark = self.marks[at]
        if rng.random() < 0.1:
            self.marks[at] = self._draw()
        turn = int(rng.integers(8))
        mark = mark.T if turn & 1 else mark
        mark = mark[::-1] if turn & 2 else mark
        return mark[:, ::-1] if turn & 4 else mark

    def _draw(self) -> np.ndarray:
        rng = self.rng
        largest = 48 if rng.random() < 0.12 else 9
        radius = float(np.exp(rng.uniform(np.log(0.5), np.log(largest))))
        if self.shapes and rng.random() < 0.35:
            shape = self.shapes[rng.integers(len(self.shapes))]
            scale = np.clip(2 * radius / np.sqrt(np.count_nonzero(shape)), 0.02, 1.5)
            size = [max(2, round(n * scale)) for n in shape.shape[::-1]]
            mark = cv2.resize(shape, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            mark = np.pad(mark.astype(np.float32) / 255, 3)
            if mark.max() > 0.05:
                mark /= mark.max()
        else:
            mark = _GENERATORS[rng.integers(len(_GENERATORS))](rng, radius).astype(np.float32)
        if rng.random() < 0.7:
            mark = cv2.GaussianBlur(mark, (0, 0), rng.uniform(0.3, 1.1 if rng.random() < 0.8 else 0.5 + radius / 3))
        if radius > 4 and rng.random() < 0.4:
            mark = mark * np.clip(0.7 + 0.3 * noise(rng, *mark.shape, radius / 3), 0, 1)
        return np.ascontiguousarray(mark[:LARGEST, :LARGEST])


class Tone:
    """Which way and how far damage is off what it lies on, drawn once for a window and then for each mark."""

    def __init__(self, rng: np.random.Generator, tinted: float) -> None:
        self.rng = rng
        self.dark = float(rng.choice([0.97, 0.05, 0.5, rng.random()]))
        self.tinted = tinted * (0.5 if rng.random() < 0.2 else 0.05)
        self.least = float(rng.choice([0.03, 0.03, 0.06]))
        self.most = float(rng.choice([1.0, 1.0, 1.0, 0.2]))

    def draw(self, around: float) -> tuple[float, np.ndarray]:
        """Opacity and colour (3,) of a mark on a picture of that brightness."""
        rng = self.rng
        contrast = float(np.exp(rng.uniform(np.log(self.least), np.log(self.most))))
        dark = rng.random() < self.dark
        room = around if dark else 1 - around
        if room < contrast * 0.7:  # no black mark on black
            dark, room = not dark, 1 - room
        end = max(contrast, room * rng.uniform(0.3, 1)) if rng.random() < 0.5 else contrast
        end = min(end, room + 0.05)
        tone = np.full(3, around - end if dark else around + end, np.float32)
        if rng.random() < self.tinted:
            tone += rng.normal(0, 0.15, 3).astype(np.float32)
        return min(contrast / max(end, 1e-3), 1.0), np.clip(tone, 0, 1)


def _lay(
    frame: np.ndarray, cover: np.ndarray, mark: np.ndarray, y: int, x: int, alpha: float, tone: np.ndarray
) -> None:
    """Lay a mark over a frame (H, W, 3) with its upper left corner at y, x; cover (H, W) takes its opacity."""
    height, width = cover.shape
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + mark.shape[0], height), min(x + mark.shape[1], width)
    if bottom <= top or right <= left:
        return
    part = mark[top - y : bottom - y, left - x : right - x] * np.float32(alpha)
    here = frame[top:bottom, left:right]
    here += part[..., None] * (tone - here)
    spot = cover[top:bottom, left:right]
    np.maximum(spot, part, out=spot)


def _around(frame: np.ndarray, y: float, x: float) -> float:
    height, width = frame.shape[:2]
    y, x = int(np.clip(y, 2, height - 3)), int(np.clip(x, 2, width - 3))
    return float(frame[y - 2 : y + 3 : 2, x - 2 : x + 3 : 2, 1].mean())


def spots(
    frames: list[np.ndarray], cover: np.ndarray, bank: Bank, rng: np.random.Generator, tint: float, many: float
) -> None:
    """Marks of one frame on each of the frames (H, W, 3), in place; cover (T, H, W) takes their opacity.

    A few stay for a second frame or lie where the frame beside has one too: that is no reason to leave them.
    """
    height, width = cover.shape[1:]
    tone = Tone(rng, tint)
    last: list = []
    for frame, over in zip(frames, cover, strict=True):
        for mark, y, x, alpha, colour in last:
            _lay(frame, over, mark, y + int(rng.integers(-1, 2)), x + int(rng.integers(-1, 2)), alpha, colour)
        last = []
        for _ in range(min(int(rng.poisson(many * np.exp(rng.normal(0, 0.4)))), 60)):
            mark = bank.mark()
            y, x = (
                int(rng.uniform(-mark.shape[0] / 2, height - mark.shape[0] / 2)),
                int(rng.uniform(-mark.shape[1] / 2, width - mark.shape[1] / 2)),
            )
            alpha, colour = tone.draw(_around(frame, y + mark.shape[0] / 2, x + mark.shape[1] / 2))
            _lay(frame, over, mark, y, x, alpha, colour)
            if rng.random() < 0.02:
                last.append((mark, y, x, alpha, colour))


def scratches(
    frames: list[np.ndarray], cover: np.ndarray, times: np.ndarray, rng: np.random.Generator, tint: float, many: int
) -> None:
    """Long scratches, upright or nearly, that stay over frames and sway; in place.

    Args:
        frames: each (H, W, 3).
        cover: (T, H, W).
        times: (T,) when each frame is, in frames.
    """
    height, width = cover.shape[1:]
    tone = Tone(rng, tint)
    down = np.arange(height, dtype=np.float32)
    for _ in range(many):
        x0, drift = rng.uniform(-0.02, 1.02) * width, rng.normal(0, 1) * rng.choice([0.0, 0.2, 0.8])
        slant = rng.normal(0, 1) * rng.choice([0.0, 0.004, 0.03, 0.12])
        bend, period = rng.choice([0.0, rng.uniform(0, 3)]), rng.uniform(60, 500)
        sway, phase = rng.choice([0.0, 0.3, 1.2]), rng.uniform(0, 6.3)
        half = float(np.exp(rng.uniform(np.log(0.25), np.log(4))))
        top, bottom = (0, height) if rng.random() < 0.6 else np.sort(rng.uniform(-0.2, 1.2, 2)) * height
        around = _around(frames[len(frames) // 2], rng.uniform(0, height), x0)
        alpha, colour = tone.draw(around)
        broken = noise(rng, height + 240, 1, rng.uniform(4, 60))[:, 0] if rng.random() < 0.6 else None
        holes, flows = rng.uniform(-1.2, 0.8), rng.choice([0.0, 20.0])
        rim = rng.choice([0.0, 0.0, rng.uniform(-0.6, 0.6)])
        on, off = (-99, 99) if rng.random() < 0.7 else np.sort(rng.uniform(-7, 7, 2))
        here = (down >= top) & (down <= bottom)
        for frame, over, t in zip(frames, cover, times, strict=True):
            if not on <= t <= off:
                continue
            at = x0 + drift * t + slant * (down - height / 2) + bend * np.sin(down / period + phase + 0.3 * t)
            at += rng.normal(0, sway)
            left, right = int(max(at.min() - half - 4, 0)), int(min(at.max() + half + 5, width))
            if right <= left:
                continue
            away = np.abs(np.arange(left, right, dtype=np.float32)[None] - at[:, None].astype(np.float32))
            strength = alpha * here * np.exp(0.15 * rng.normal())
            if broken is not None:
                first = int((phase * 30 + flows * t) % 240)
                strength = strength * np.clip(broken[first : first + height] - holes, 0, 1)
            strength = np.clip(strength, 0, 1).astype(np.float32)[:, None]
            share = np.clip(half + 0.5 - away, 0, 1) * strength
            part = frame[:, left:right]
            part += share[..., None] * (colour - part)
            if rim:
                glow = np.exp(-((away - half - 1) ** 2)) * strength * np.float32(rim)
                part += glow[..., None] * (np.float32(glow.mean() < 0) - part) * 0.5
                share = np.maximum(share, np.abs(glow) * 0.5)
            spot = over[:, left:right]
            np.maximum(spot, share, out=spot)


def bars(frames: list[np.ndarray], cover: np.ndarray, rng: np.random.Generator, tint: float) -> None:
    """Horizontal lines and bars, for one frame or for all, standing, jumping or rolling; in place."""
    height, width = cover.shape[1:]
    tone = Tone(rng, tint)
    for _ in range(rng.integers(1, 4)):
        y, half = rng.uniform(0, height), float(np.exp(rng.uniform(np.log(0.4), np.log(12))))
        left, right = (0, width) if rng.random() < 0.7 else np.sort(rng.uniform(-0.2, 1.2, 2)) * width
        alpha, colour = tone.draw(_around(frames[len(frames) // 2], y, width / 2))
        stays, rolls, jumps = rng.random() < 0.5, rng.choice([0.0, 0.0, rng.normal(0, 8)]), rng.choice([0.0, 1.0, 20.0])
        only, soft = int(rng.integers(len(frames))), rng.uniform(0.4, 1 + half)
        columns = np.clip(np.minimum(np.arange(width) - left, right - np.arange(width)) / rng.uniform(1, 30), 0, 1)
        ragged = np.clip(0.8 + rng.choice([0.0, 0.5]) * noise(rng, 1, width, rng.uniform(3, 40))[0], 0, 1)
        for n, (frame, over) in enumerate(zip(frames, cover, strict=True)):
            if not stays and n != only:
                continue
            at = (y + rolls * n + rng.normal(0, jumps)) % height
            top, bottom = int(max(at - half - soft - 1, 0)), int(min(at + half + soft + 2, height))
            away = np.abs(np.arange(top, bottom) - at)
            share = (np.clip((half - away) / soft + 0.5, 0, 1)[:, None] * (columns * ragged * alpha)).astype(np.float32)
            part = frame[top:bottom]
            part += share[..., None] * (colour - part)
            spot = over[top:bottom]
            np.maximum(spot, share, out=spot)


def load_shapes(folder: Path, most: int = 2500, threads: int = 1) -> list[np.ndarray]:
    """Outlines of single defects from label maps (PNG, 0 = film), (h, w) uint8 0 or 255, the larger ones reduced."""
    paths = sorted(Path(folder).glob("*.png"))
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return [shape for found in pool.map(lambda p: _shapes(p, most // max(len(paths), 1)), paths) for shape in found]


def _shapes(path: Path, most: int) -> list[np.ndarray]:
    plane, out = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8), []
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
    for k in range(1, count):
        x, y, w, h, area = boxes[k]
        if area < 6 or max(w, h) > 1200:
            continue
        shape = (labels[y : y + h, x : x + w] == k).astype(np.uint8) * 255
        scale = 96 / max(w, h)
        if scale < 1:
            size = max(2, round(w * scale)), max(2, round(h * scale))
            shape = cv2.resize(shape, size, interpolation=cv2.INTER_AREA)
        out.append(shape)
        if len(out) >= most:
            break
    return out
