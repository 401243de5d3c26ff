"""How a frame differs from its neighbours as a whole: motion, exposure, repeats, dirt. On small luma, uint8 (H, W)."""

from __future__ import annotations

import cv2
import numpy as np

BLOCK = 8
MARGIN = 8
"""An eighth of the picture on each side is left out: the gate, its rounded corners, black bars."""


def middle(picture: np.ndarray) -> np.ndarray:
    """The picture without an eighth of it on each side."""
    height, width = picture.shape[:2]
    return picture[height // MARGIN : height - height // MARGIN, width // MARGIN : width - width // MARGIN]


def shifted(picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The picture moved by a part of a pixel or more, its border repeated."""
    size = picture.shape[1::-1]
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def global_motion(before: np.ndarray, here: np.ndarray) -> tuple[float, float]:
    """dx, dy in pixels by which most of the picture moved from one frame to the next.

    Phase correlation (C. D. Kuglin and D. C. Hines, 1975) finds it to a pixel; least squares on the gradients
    (B. D. Lucas and T. Kanade, 1981), with what moves on its own weighted down, make it sub-pixel.
    """
    one, other = middle(before).astype(np.float32), middle(here).astype(np.float32)
    if min(one.shape) < 16:
        return 0.0, 0.0
    half = (one.shape[1] // 2, one.shape[0] // 2)
    small = [cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in (one, other)]
    # Copies, since OpenCV lays the window over its input where that has a size that needs no padding.
    (dx, dy), _ = cv2.phaseCorrelate(small[0].copy(), small[1].copy(), cv2.createHanningWindow(half, cv2.CV_32F))
    starts = {(0.0, 0.0), (2 * dx, 2 * dy)}
    start = min(
        starts, key=lambda s: float(np.median(np.abs(_difference(shifted(small[0], s[0] / 2, s[1] / 2), small[1]))))
    )
    return _refined(one, other, *start)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = other - one
    return difference - np.median(difference[::4, ::4])


def _refined(one: np.ndarray, other: np.ndarray, dx: float, dy: float, rounds: int = 4) -> tuple[float, float]:
    one, other = cv2.GaussianBlur(one, (5, 5), 0), cv2.GaussianBlur(other, (5, 5), 0)
    edge = int(min(max(abs(dx), abs(dy)) + 2, min(one.shape) // 3))
    for _ in range(rounds):
        moved = shifted(one, dx, dy)
        gx = cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)[edge:-edge, edge:-edge]
        gy = cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)[edge:-edge, edge:-edge]
        error = _difference(moved, other)[edge:-edge, edge:-edge]
        scale = 2 * float(np.median(np.abs(error[::3, ::3]))) + 0.5
        weight = 1 / (1 + np.square(error / scale)) ** 2
        a, b, c = float((weight * gx * gx).sum()), float((weight * gx * gy).sum()), float((weight * gy * gy).sum())
        det = a * c - b * b
        if det < 1e-3 * (a + c) ** 2 + 1e-6:  # one direction only: nothing to hold on to
            break
        p, q = float((weight * gx * error).sum()), float((weight * gy * error).sum())
        step = ((c * p - b * q) / det, (a * q - b * p) / det)
        dx, dy = dx - step[0], dy - step[1]
        if abs(step[0]) + abs(step[1]) < 0.005:
            break
    return dx, dy


def exposure(before: np.ndarray, here: np.ndarray) -> tuple[float, float]:
    """Gain and offset ([0, 1] scale) of the brightness of the same things from one aligned frame to the next.

    A robust line through the means of blocks: what moves or is damaged does not take part. Where the picture has too
    little contrast to tell gain from offset, the gain stays near one.
    """
    one, other = (_blocks(middle(p)).ravel() / 255 for p in (before, here))
    weight = np.ones_like(one)
    gain, offset = 1.0, 0.0
    for _ in range(6):
        total = weight.sum()
        mean, target = float((weight * one).sum() / total), float((weight * other).sum() / total)
        x, y = one - mean, other - target
        prior = 1e-4 * total
        gain = float(((weight * x * y).sum() + prior) / ((weight * x * x).sum() + prior))
        offset = target - gain * mean
        error = other - gain * one - offset
        scale = 2.5 * float(np.median(np.abs(error))) + 0.002
        weight = 1 / (1 + np.square(error / scale)) ** 2
    return gain, offset


def block_difference(before: np.ndarray, here: np.ndarray) -> float:
    """Grey levels of 255 by which two frames differ where they differ most: the largest mean over a block."""
    return float(_blocks(cv2.absdiff(before, here)).max())


def residual(before: np.ndarray, here: np.ndarray, gain: float, offset: float) -> float:
    """Mean square of what an aligned frame, brought to the brightness of the next, differs from it, in grey levels."""
    one, other = (middle(p).astype(np.float32) for p in (before, here))
    return float(np.square(other - gain * one - 255 * offset).mean())


def dirt(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> float:
    """Share of the picture that stands out from both aligned neighbours where these agree."""
    box = np.ones((3, 3), np.uint8)
    one, here, other = (middle(p).astype(np.int16) for p in (before, here, after))
    high = np.maximum(cv2.dilate(one, box), cv2.dilate(other, box))
    low = np.minimum(cv2.erode(one, box), cv2.erode(other, box))
    spike = np.maximum(here - high, low - here)
    apart = np.abs(one - other)
    limit = 10 + 4 * float(apart[::2, ::2].mean())
    return float(np.count_nonzero((spike > limit) & (2 * apart < spike)) / spike.size)


def _blocks(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    size = (max(1, width // BLOCK), max(1, height // BLOCK))
    return cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
