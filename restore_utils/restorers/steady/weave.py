"""How much of a path is weave for sure: told from the camera by how its speed changes.

A film that jumps in the gate jumps back; a hand that moves a camera has weight, and cannot turn from one frame to the
next. So the second differences of weave reverse their sign (with 0.3 of its variance in jumps and a wander that forgets
in 5 frames they correlate by -0.65 from each to the next), those of a camera do not. Both are taken as Gaussian, with
the size of the weave the same all through a shot (it belongs to the film and its gate) and the camera's as it may be in
each run of frames. What is likely follows from Bayes' rule; what is sure is the low end of it. That matters more than
the best guess: weave left in is a film as it was, a camera's own move taken out is harm.

The ratio of both is what a Wiener filter needs (N. Wiener, 1949): here as the stiffness of the course (course.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

DOUBT = 0.02
"""Chance that there is less weave than is taken for sure."""
JUMPS, FORGETS = 0.3, 5.0
"""Weave's variance that changes from each frame to the next, as a share, and frames over which the rest wanders."""
LONGEST = 64
"""Frames that are looked at together."""
_SIZES = np.geomspace(0.003, 30, 100)  # standard deviation of the weave in question, pixels
_SHARES = np.array([1e-4, 1e-3, 0.01, 0.05, *np.arange(1, 10) / 10, 0.95, 0.98, 0.99, 0.997, 0.999])
_HANDS = (0.0, 0.5, 0.8)  # correlation of the camera's acceleration from a frame to the next
_LEAST = 1e-3  # pixels: accelerations below count as such


class Weave(NamedTuple):
    """What of a path (N,) is weave."""

    jumps: float
    """Standard deviation of jumps from frame to frame, pixels, that would accelerate as the sure part of it does."""
    stiffness: np.ndarray
    """(N,): variance of these jumps by that of the camera's acceleration, at the least."""


def weave(path: np.ndarray, turns: Sequence[Sequence[int]] = ((),)) -> Weave:
    """The weave of a path.

    Args:
        path: (N,), pixels, N > 2.
        turns: where the camera may have begun or ended a move, as one or more possibilities: frames n such that its
            acceleration at n - 1 and n says nothing. They are weighed by how well they explain the path.
    """
    found = [_explained(path, t) for t in turns]
    evidence = np.array([f[0] for f in found])
    chances = np.exp(evidence - evidence.max())
    chances /= chances.sum()
    size = _SIZES[_low(sum(c * f[1] for c, f in zip(chances, found, strict=True)))]
    share = _SHARES[_low(sum(c * f[2] for c, f in zip(chances, found, strict=True)))]
    return Weave(float(np.sqrt(_covariance(1)[0] / 6) * size), share / (1 - share) / 6)


def _explained(path: np.ndarray, turns: Sequence[int]) -> tuple[float, np.ndarray, np.ndarray]:
    """How well weave and camera explain a path with these turns (a logarithm), the chance of each size of the weave,
    (sizes,), and of each share of it at each frame, (N, shares)."""
    bends = np.zeros(len(path))
    bends[1:-1] = np.diff(path, 2)
    free = np.zeros(len(path), bool)
    for n in turns:
        free[[n - 1, n]] = True
    free[[0, -1]] = False
    # A turn may be anywhere in the path, and of any speed.
    evidence = -len(turns) * np.log(len(path))
    evidence -= (np.log(np.maximum(np.abs(bends[free]), _LEAST) * np.sqrt(2 * np.pi)) + 0.5).sum()
    likely = np.zeros(len(_SIZES))
    runs = list(_runs(free))
    tables = [_likelihood(bends[a:b]) for a, b in runs]
    for most, table in tables:
        evidence += most
        likely += np.log(table.sum(1))
    chances = np.exp(likely - likely.max())
    evidence += likely.max() + np.log(chances.mean())
    chances /= chances.sum()
    shares = np.zeros((len(path), len(_SHARES)))
    shares[:, 0] = 1
    for (a, b), (_, table) in zip(runs, tables, strict=True):
        shares[a:b] = chances @ (table / table.sum(1, keepdims=True))
    return float(evidence), chances, shares


def _runs(free: np.ndarray):
    """First frame and the one after the last of each run whose acceleration says something."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], free[1:-1], [1]])))
    for a, b in edges.reshape(-1, 2) + 1:
        yield from pairwise(np.linspace(a, b, -(-(b - a) // LONGEST) + 1).astype(int))


def _likelihood(bends: np.ndarray) -> tuple[float, np.ndarray]:
    """How likely accelerations (N,) are for each size of the weave and each share of it: a logarithm, and the ratio to
    that, (sizes, shares)."""
    inverses, logs, shares = _models(len(bends))
    misfit = np.einsum("kij,i,j->k", inverses, bends, bends)
    variance = (_SIZES[:, None] ** 2 * _covariance(1)[0] + _LEAST**2) / shares
    table = -0.5 * (logs + len(bends) * np.log(2 * np.pi * variance) + misfit / variance)
    most = float(table.max())
    ratio = np.exp(table - most).reshape(len(_SIZES), len(_HANDS), -1).mean(1) / len(_SHARES)
    return most, ratio + 1e-300


@lru_cache(8)
def _models(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each kind of camera and each share of weave: the inverse correlation of `count` accelerations, the logarithm
    of its determinant, and the share."""
    lag = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    ours = _covariance(count)
    ours, shares = (ours / ours[0])[lag], _SHARES[:, None, None]
    matrices = np.concatenate([shares * ours + (1 - shares) * hand**lag for hand in _HANDS])
    return np.linalg.inv(matrices), np.linalg.slogdet(matrices)[1], np.tile(_SHARES, len(_HANDS))


def _covariance(count: int) -> np.ndarray:
    """Of the second differences of weave of one pixel, at distances of 0 to count - 1 frames."""
    lag = np.abs(np.arange(-2, count + 2))
    own = JUMPS * (lag == 0) + (1 - JUMPS) * np.exp(-lag / FORGETS)
    return np.convolve(own, (1, -4, 6, -4, 1), "valid")


def _low(chances: np.ndarray) -> np.ndarray:
    """The number below which only DOUBT of the chance lies, along the last axis."""
    total = np.cumsum(chances, -1) / chances.sum(-1, keepdims=True)
    return np.minimum((total < DOUBT).sum(-1), chances.shape[-1] - 1)
