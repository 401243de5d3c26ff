"""The course that a camera meant to take, told from the one that shakes: rest, steady moves and their sudden starts.

A measured path is cut into stretches in which the camera rests, moves at one speed or gathers speed, by dynamic
programming on least-squares cost (R. Bellman, "On the approximation of curves by line segments using dynamic
programming", 1961). Frame by frame gate weave cannot be told from a slow drift, over a stretch it can: it comes back.
Then one least-squares course is laid through all of the path (E. T. Whittaker, "On a new method of graduation",
1923): stiff where the camera rests or moves steadily, and free to turn where a move begins or ends. The three states
are those of M. Grundmann et al., "Auto-Directed Video Stabilization with Robust L1 Optimal Camera Paths", CVPR 2011.

Whatever is done is done by the weave that is surely there (weave.py): it says how far a camera at rest may seem to
stray, and how stiff the course is where the camera moves freely. A path that could be all camera is its own course.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from restore_utils.restorers.steady.weave import weave

LEAST_NOISE = 0.02
"""Pixels: no path is measured better."""
WANDER = 3.5
"""How many times the size of its jumps from frame to frame weave may wander: an Ornstein-Uhlenbeck path that forgets
within a dozen frames, with a tenth of its variance in jumps, wanders 2.6 times, and less than all of it is sure."""
TURN = 60.0
"""Cost of a further stretch, in squared standard deviations of the weave."""
MOVE = 25.0
"""Further cost where the camera moves in it, and again where its speed changes."""
SHORTEST = 3
"""Frames in a stretch."""
LONGEST = 2000
"""Frames in it at most: the search takes so many steps a frame."""
STEADY = 3.0
"""How many times longer than a free move one at steady speed is smoothed."""
OUTLIER = 6.0
"""Standard deviations off the median of five frames from which a frame has slipped, and does not count."""
_STIFF = 1e7
_WANDERS = (WANDER, WANDER / 2, WANDER / 4)  # a short shot that ends or begins in a fast move seems to weave more


class Stretch(NamedTuple):
    """Frames first <= n < stop in which a path rests (0), moves at one speed (1) or gathers or loses speed (2)."""

    first: int
    stop: int
    degree: int
    begins: float
    ends: float
    """Speed at its first and last frame, pixels per frame."""


def course(path: np.ndarray, smoothing: float, known: np.ndarray | None = None) -> np.ndarray:
    """The smooth course of a path, of the same shape; each axis has its own, so that a pan does not rise and fall.

    Args:
        path: (N, axes), pixels.
        smoothing: frames over which a free move is smoothed; where the camera rests or moves steadily, more are used.
        known: (N,) bool, frames whose place was measured, all by default; the others keep theirs.
    """
    seen = np.arange(len(path)) if known is None else np.flatnonzero(known)
    if len(seen) < 3:
        return path.copy()
    smooth = path.copy()
    for axis in range(path.shape[1]):
        smooth[seen, axis] = _course(path[seen, axis], smoothing)
    return smooth


def _course(path: np.ndarray, smoothing: float) -> np.ndarray:
    noise, clean = jitter(path), _median(path)
    slipped = np.abs(path - clean) > OUTLIER * noise
    clean = np.where(slipped, clean, path)
    maybe = {tuple(n for n, _ in _turns(cut(clean, wander * noise), noise, smoothing)) for wander in _WANDERS}
    sure = weave(clean, sorted(maybe | {()}))
    noise = max(sure.jumps, LEAST_NOISE)
    bend, hold = np.minimum(sure.stiffness, _stiffness(smoothing)), np.zeros(len(path))
    stretches, free = cut(clean, WANDER * noise), np.ones(len(path), bool)
    for first, stop, degree, *_ in stretches:
        # It is a rest or a steady move only if weave alone explains what remains.
        if degree == 2 or stop - first < smoothing or _misfit(clean[first:stop], degree) > WANDER * noise:
            continue
        free[first:stop] = False
        if degree == 0:
            hold[first + 1 : stop] = _STIFF
        bend[first + 1 : stop - 1] = _stiffness(smoothing * (STEADY if stop - first >= STEADY * smoothing else 1))
    for n, turn in _turns(stretches, noise, smoothing):
        bend[[n - 1, n]] = np.minimum(bend[[n - 1, n]], (noise / turn) ** 2)
    bend[[0, -1]] = 0
    # Where the camera moves freely, what slips may be the camera.
    return np.where(slipped & free, path, _graduated(clean, ~slipped + 1e-9, hold, bend))


def _turns(stretches: list[Stretch], noise: float, smoothing: float) -> list[tuple[int, float]]:
    """First frames of the stretches before which a smooth course would cut the corner by more than the noise, and by
    how much the speed changes there."""
    turns = [(after.first, abs(after.begins - before.ends)) for before, after in pairwise(stretches)]
    return [(n, turn) for n, turn in turns if 0.11 * smoothing * turn > noise]


def _misfit(path: np.ndarray, degree: int) -> float:
    """Standard deviation about the best constant or line."""
    time = np.arange(len(path)) - (len(path) - 1) / 2
    off = path - path.mean()
    return float((off - degree * time * (time @ off) / (time @ time)).std())


def _stiffness(frames: float) -> float:
    """What halves a movement that repeats every 2 x `frames`."""
    return (frames / np.pi) ** 4


def jitter(path: np.ndarray) -> float:
    """Standard deviation of the jumps from frame to frame of a path (N,), pixels: from the median second difference."""
    size = np.abs(path[2:] - 2 * path[1:-1] + path[:-2])
    return max(1.4826 * float(np.median(size)) / np.sqrt(6), LEAST_NOISE)


def cut(path: np.ndarray, noise: float) -> list[Stretch]:
    """The stretches of a path (N,) that shakes with a standard deviation `noise`."""
    count = len(path)
    sums = _Sums(path / noise)
    least, begin, kind = np.zeros(count + 1), np.zeros(count + 1, int), np.zeros(count + 1, int)
    cost = TURN + MOVE * np.arange(3)[:, None]
    for stop in range(1, count + 1):
        firsts = np.arange(max(0, stop - LONGEST), max(stop - SHORTEST, 0) + 1)
        total = least[firsts] + sums.misfits(firsts, stop) + cost
        kind[stop], k = np.unravel_index(np.argmin(total), total.shape)
        begin[stop], least[stop] = firsts[k], total[kind[stop], k]
    found: list[Stretch] = []
    stop = count
    while stop:
        first, degree = int(begin[stop]), int(kind[stop])
        begins, ends = sums.speeds(first, stop, degree)
        found.append(Stretch(first, stop, degree, begins * noise, ends * noise))
        stop = first
    return found[::-1]


class _Sums:
    """Sums over the beginnings of a path, from which the best polynomial through any stretch follows at once."""

    def __init__(self, path: np.ndarray) -> None:
        path, time = path - path.mean(), np.arange(len(path), dtype=float)
        powers = (path, path * time, path * time**2, path**2)
        self.totals = [np.concatenate([[0.0], np.cumsum(p)]) for p in powers]

    def misfits(self, first: np.ndarray, stop: int) -> np.ndarray:
        """Squared error of the best constant, line and parabola, (3, len(first))."""
        spread, slope, bend, one, two = self._fitted(first, stop)
        return np.maximum(np.stack([spread, spread - slope * one, spread - slope * one - bend * two]), 0)

    def speeds(self, first: int, stop: int, degree: int) -> tuple[float, float]:
        """Speed at the first and the last frame of the best polynomial of a degree."""
        _, slope, bend, *_ = (float(v) for v in self._fitted(first, stop))
        slope, bend = slope * (degree > 0), bend * (degree > 1)
        return slope - bend * (stop - first - 1), slope + bend * (stop - first - 1)

    def _fitted(self, first: np.ndarray | int, stop: int) -> tuple[np.ndarray, ...]:
        """Squared distance from the mean, what the next two orthogonal polynomials of time are to be multiplied with,
        and their products with the path."""
        n = np.float64(stop) - first
        y, ty, tty, yy = (total[stop] - total[first] for total in self.totals)
        middle = (first + stop - 1) / 2
        one = ty - middle * y
        two = tty - 2 * middle * ty + middle**2 * y - (n * n - 1) / 12 * y
        slope = one / np.maximum(n * (n * n - 1) / 12, 1e-9)
        bend = two / np.maximum(n * (n * n - 1) * (n * n - 4) / 180, 1e-9)
        return np.maximum(yy - y * y / n, 0), slope, bend, one, two


def _median(path: np.ndarray) -> np.ndarray:
    """Median of each five neighbouring frames; the ends are repeated."""
    wide = np.pad(path, 2, mode="edge")
    return np.median(np.stack([wide[k : k + len(path)] for k in range(5)]), axis=0)


def _graduated(path: np.ndarray, trust: np.ndarray, hold: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """The x that is least in trust (x - path)^2 + hold (x' )^2 + bend (x'')^2; a band of five diagonals is solved."""
    count = len(path)
    main, one, two = trust.copy(), np.zeros(count), np.zeros(count)
    main[1:] += hold[1:]
    main[:-1] += hold[1:]
    one[:-1] -= hold[1:]
    b = bend[1:-1]
    main[:-2] += b
    main[1:-1] += 4 * b
    main[2:] += b
    one[:-2] -= 2 * b
    one[1:-1] -= 2 * b
    two[:-2] += b
    x = path * trust
    # L D L' of a symmetric band, then forward and back; plain floats are faster here than arrays.
    d, l1, l2 = np.zeros(count), np.zeros(count), np.zeros(count)
    for n in range(count):
        d[n] = main[n]
        if n > 0:
            d[n] -= l1[n - 1] ** 2 * d[n - 1]
            x[n] -= l1[n - 1] * x[n - 1]
        if n > 1:
            d[n] -= l2[n - 2] ** 2 * d[n - 2]
            x[n] -= l2[n - 2] * x[n - 2]
        coupled = one[n] - (l1[n - 1] * l2[n - 1] * d[n - 1] if n > 0 else 0.0)
        l1[n], l2[n] = coupled / d[n], two[n] / d[n]
    x /= d
    for n in range(count - 2, -1, -1):
        x[n] -= l1[n] * x[n + 1]
        if n + 2 < count:
            x[n] -= l2[n] * x[n + 2]
    return x
