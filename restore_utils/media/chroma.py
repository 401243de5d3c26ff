"""Chroma planes made larger and smaller, with every sample where its siting says."""

from __future__ import annotations

from math import ceil, floor

import cv2
import numpy as np


def enlarge(
    plane: np.ndarray, size: tuple[int, int], factors: tuple[int, int], siting: tuple[float, float]
) -> np.ndarray:
    """Linear interpolation of a subsampled plane at the luma positions; the edges are repeated.

    Args:
        plane: float32 (h, w).
        size: width and height of the luma plane.
        factors: luma samples to one chroma sample, horizontally and vertically.
        siting: position of the first chroma sample in luma samples, (x, y).

    Returns:
        float32 (height, width).
    """
    if factors[0] > 1 or siting[0]:
        plane = _enlarge_rows(plane, size[0], factors[0], siting[0])
    if factors[1] > 1 or siting[1]:
        plane = _enlarge_columns(plane, size[1], factors[1], siting[1])
    return plane


def shrink(plane: np.ndarray, factors: tuple[int, int], siting: tuple[float, float]) -> np.ndarray:
    """Means over one chroma sample's area, centred where the siting says; the edges are repeated.

    Args:
        plane: float32 (H, W).
        factors: luma samples to one chroma sample, horizontally and vertically.
        siting: position of the first chroma sample in luma samples, (x, y).

    Returns:
        float32 (ceil(H / factors[1]), ceil(W / factors[0])).
    """
    if factors[1] > 1 or siting[1]:
        plane = _shrink_columns(plane, factors[1], siting[1])
    if factors[0] > 1 or siting[0]:
        plane = _shrink_rows(plane, factors[0], siting[0])
    return plane


def _phases(factor: int, at: float) -> list[tuple[int, float]]:
    """For each luma sample of a group: the chroma sample before it, counted from the group's; the next one's share."""
    places = [(phase - at) / factor for phase in range(factor)]
    return [(floor(place), place - floor(place)) for place in places]


def _between(before: np.ndarray, after: np.ndarray, share: float, out: np.ndarray | None = None) -> np.ndarray:
    return cv2.addWeighted(before, 1 - share, after, share, 0, dst=out)


def _enlarge_rows(plane: np.ndarray, width: int, factor: int, at: float) -> np.ndarray:
    height, count = plane.shape
    phases = _phases(factor, at)
    pad = 1 + max(abs(first) for first, _ in phases)
    wide = cv2.copyMakeBorder(plane, 0, 0, pad, pad, cv2.BORDER_REPLICATE)
    shifted = [wide[:, pad + first : pad + first + count] for first, _ in phases]
    nexts = [wide[:, pad + first + 1 : pad + first + 1 + count] for first, _ in phases]
    parts = [_between(a, b, share) if share else a for a, b, (_, share) in zip(shifted, nexts, phases)]
    return cv2.merge(parts).reshape(height, count * factor)[:, :width]


def _enlarge_columns(plane: np.ndarray, height: int, factor: int, at: float) -> np.ndarray:
    count, width = plane.shape
    phases = _phases(factor, at)
    pad = 1 + max(abs(first) for first, _ in phases)
    tall = cv2.copyMakeBorder(plane, pad, pad, 0, 0, cv2.BORDER_REPLICATE)
    out = np.empty((count * factor, width), np.float32)
    for phase, (first, share) in enumerate(phases):
        before, after = (tall[pad + first + k : pad + first + k + count] for k in (0, 1))
        if share:
            _between(before, after, share, out[phase::factor])
        else:
            out[phase::factor] = before
    return out[:height]


def _taps(factor: int, at: float) -> list[tuple[int, float]]:
    """Luma samples, counted from the group's first, under a box as wide as a chroma sample, with their shares."""
    low, high = at - factor / 2, at + factor / 2
    taps = [(k, min(high, k + 0.5) - max(low, k - 0.5)) for k in range(floor(low), ceil(high) + 1)]
    return [(k, share / factor) for k, share in taps if share > 0]


def _weighted(parts: list[np.ndarray], shares: list[float]) -> np.ndarray:
    total = cv2.addWeighted(parts[0], shares[0], parts[1], shares[1], 0)
    for part, share in zip(parts[2:], shares[2:]):
        total = cv2.scaleAdd(part, share, total)
    return total


def _shrink_columns(plane: np.ndarray, factor: int, at: float) -> np.ndarray:
    count = -(-plane.shape[0] // factor)
    taps = _taps(factor, at)
    above = max(0, -taps[0][0])
    below = max(0, (count - 1) * factor + taps[-1][0] + 1 - plane.shape[0])
    tall = cv2.copyMakeBorder(plane, above, below, 0, 0, cv2.BORDER_REPLICATE) if above or below else plane
    parts = [tall[above + k : above + k + (count - 1) * factor + 1 : factor] for k, _ in taps]
    return _weighted(parts, [share for _, share in taps])


def _shrink_rows(plane: np.ndarray, factor: int, at: float) -> np.ndarray:
    width = plane.shape[1]
    count = -(-width // factor)
    taps = _taps(factor, at)
    before = -(-max(0, -taps[0][0]) // factor)
    groups = before + count + max(0, taps[-1][0]) // factor
    wide = cv2.copyMakeBorder(plane, 0, 0, before * factor, (groups - before) * factor - width, cv2.BORDER_REPLICATE)
    phases = {phase: np.ascontiguousarray(wide[:, phase::factor]) for phase in {k % factor for k, _ in taps}}
    parts = [phases[k % factor][:, before + k // factor : before + k // factor + count] for k, _ in taps]
    return _weighted(parts, [share for _, share in taps])
