"""Grain for repairs: as coarse and as strong as around them, so that they do not show when the film runs."""

from functools import lru_cache

import cv2
import numpy as np

from restore_utils.restorers.film.align import spread

BLOCK = 32  # pixels: grain is measured in squares of this side
_LEAST = 0.004  # of 1: weaker noise is left alone
_HURT = 0.05  # share of a square that is damaged, from which on it tells nothing
_LAID = 0.55  # share of its own grain's variance that an interpolated neighbour keeps
_SIDE = 512


def measure(differences: np.ndarray, damage: np.ndarray) -> tuple[np.ndarray, float]:
    """Strength and size of the grain from differences of the frame to its nearest aligned neighbours.

    Args:
        differences: (k, H, W) of luma, k >= 1. Motion that was not followed makes them larger, so the least counts.
        damage: (H, W), not 0 where the frame is damaged: there the grain is that of what is around.

    Returns:
        sigma (H / BLOCK, W / BLOCK) float32, and the correlation of pixels beside each other, 0 to 0.95.
    """
    count, height, width = differences.shape
    rows, columns = max(height // BLOCK, 1), max(width // BLOCK, 1)
    some = differences[:, : rows * BLOCK : 2, : columns * BLOCK]
    blocks = some.reshape(count, rows, -1, columns, some.shape[2] // columns).swapaxes(2, 3)
    blocks = blocks.reshape(count, rows, columns, -1)
    blocks = blocks - np.median(blocks[..., ::4], axis=-1, keepdims=True)
    sigma = 1.4826 * np.median(np.abs(blocks[..., ::2]), axis=-1).min(0) / np.sqrt(1 + _LAID)
    hurt = cv2.resize((damage > 0).astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    if 0 < (trusted := (hurt < _HURT).astype(np.float32)).sum() < trusted.size:
        sigma = spread(sigma.astype(np.float32), trusted)
    limit = 3 * max(float(np.median(sigma)), 1e-4)
    sigma = np.minimum(sigma, limit / 2).astype(np.float32)
    calm = differences[0, ::2]
    calm = np.where(np.abs(calm) < 2 * limit, calm, 0)
    power = float((calm * calm).mean())
    along = float((calm[:, 1:] * calm[:, :-1]).mean()) / power if power else 0.0
    return cv2.blur(sigma, (3, 3)), float(np.clip(along, 0, 0.95))


def grain(n: int, sigma: np.ndarray, correlation: float, width: int, height: int) -> np.ndarray | None:
    """Grain (height, width) float32 for frame n, of the measured strength and size; None where there is next to none.

    The same for the same n, whatever was asked before.
    """
    if float(np.median(sigma)) < _LEAST:
        return None
    tile = _tile(round(correlation * 20))
    dx, dy = np.random.default_rng(n).integers(0, _SIDE, 2)
    rows = (np.arange(height) + dy) % _SIDE
    columns = (np.arange(width) + dx) % _SIDE
    return tile[rows[:, None], columns] * cv2.resize(sigma, (width, height), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=21)
def _tile(twentieths: int) -> np.ndarray:
    """White noise blurred until pixels beside each other correlate so; variance 1."""
    noise = np.random.default_rng(twentieths).standard_normal((_SIDE, _SIDE), np.float32)
    if twentieths:
        sigma = min(np.arange(0.2, 3, 0.05), key=lambda s: abs(_correlation(s) - twentieths / 20))
        noise = cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return noise / noise.std()


def _correlation(sigma: float) -> float:
    """Of pixels beside each other in white noise after a Gaussian blur."""
    kernel = cv2.getGaussianKernel(25, sigma)[:, 0]
    return float((kernel[1:] * kernel[:-1]).sum() / np.square(kernel).sum())


def missing(weights: np.ndarray) -> np.ndarray:
    """Share of the grain's variance that repairs lack, (K,), from weights (K, SLOTS + 1): averaging thins grain."""
    kept = _LAID * np.square(weights[:, :-1]).sum(1) + 0.7 * np.square(weights[:, -1])
    return np.clip(1 - kept, 0, 1)
