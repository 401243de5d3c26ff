"""Random numbers that know their place: a value depends on a seed and a frame number, never on what was drawn before.

A two-hour film then needs no stored curves, and any stretch of it comes out the same whether it is made alone or with
the rest. Everything here is numpy on the CPU, so that a plan means the same on every device.
"""

from __future__ import annotations

import functools

import numpy as np

from restore_utils.errors import OptionError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LARGEST_SEED = 2**32 - 1
EVENT_BLOCK = 256  # frames for which the events of a fault are drawn together


def check_seed(seed: int) -> int:
    """A seed as it was given.

    Raises:
        OptionError: it is not a whole number, or out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise OptionError(f"a seed of {seed!r} is impossible: give a whole number from 0 to {LARGEST_SEED}")
    return seed


def generator(seed: int, n: int) -> np.random.Generator:
    """A generator of its own for frame (or block) `n` of the fault with this seed; `n` may be negative."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, n], dtype=np.int64).view(np.uint64)))


def uniform(seed: int, n: np.ndarray) -> np.ndarray:
    """Uniform values in (0, 1), one for each integer of `n`: the finaliser of SplitMix64 (Steele et al., 2014)."""
    z = np.asarray(n, dtype=np.int64).astype(np.uint64) * _GOLDEN + np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, n: np.ndarray) -> np.ndarray:
    """Standard normal values, one for each integer of `n` (Box and Muller, 1958)."""
    return np.sqrt(-2 * np.log(uniform(seed, n))) * np.cos(2 * np.pi * uniform(seed ^ 0x5DEECE66D, n))


def drift(seed: int, n: np.ndarray, tau: float) -> np.ndarray:
    """An Ornstein-Uhlenbeck path of unit variance at the frames `n`: white noise through a one-sided exponential.

    Args:
        tau: frames after which the correlation has fallen to 1/e; 0 gives white noise.
    """
    if tau < 0.1:
        return normal(seed, n)
    back = np.arange(int(np.ceil(4 * tau)) + 1)
    weights = np.exp(-back / tau)
    weights /= np.sqrt(np.sum(weights**2))
    return normal(seed, np.asarray(n)[:, None] - back) @ weights


def curve(seed: int, s: np.ndarray, period: float) -> np.ndarray:
    """A smooth random curve of about unit variance along the length `s` of the film (in frames, real numbers).

    Args:
        period: distance of the knots in frames; Catmull-Rom splines run through them.
    """
    at = np.asarray(s, dtype=np.float64) / period
    knot = np.floor(at)
    t = at - knot
    knot = knot.astype(np.int64)
    p0, p1, p2, p3 = (normal(seed, knot + k) for k in (-1, 0, 1, 2))
    return p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))


def events(seed: int, rate: float, longest: float, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Things that begin somewhere on the film and may last: all that can touch the frames first <= n < stop.

    Args:
        rate: events per frame.
        longest: frames that an event can last; older ones are left out.

    Returns:
        begin (k,): where each begins, in frames (real numbers); traits (k, 12): uniform values for its properties.
    """
    blocks = range((int(np.floor(first - longest))) // EVENT_BLOCK, (stop - 1) // EVENT_BLOCK + 1)
    parts = [_block(seed, rate, b) for b in blocks]
    begin, traits = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    keep = (begin < stop) & (begin + longest > first)
    return begin[keep], traits[keep]


@functools.lru_cache(maxsize=256)
def _block(seed: int, rate: float, block: int) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed, block)
    count = rng.poisson(rate * EVENT_BLOCK)
    begin = np.sort(rng.random(count)) * EVENT_BLOCK + block * EVENT_BLOCK
    return begin, rng.random((count, 12))
