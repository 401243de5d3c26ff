"""Grain of the centre, measured and made anew for the sides: else the sides look painted."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

BLOCK = 12
QUIET = 0.04
"""Share of the blocks that vary least: there grain is nearly all that varies."""
BIAS = 1.15
"""The quietest of blocks that vary by chance vary so much less than the mean of them."""
LEAST = 8
"""Blocks that must be left."""


class Grain(NamedTuple):
    """Of luma."""

    strength: float
    """Standard deviation in grey levels of 255."""
    alike: float
    """Correlation of a pixel with the next: 0 for single pixels, more for coarse grain."""


def measure(gray: np.ndarray, again: np.ndarray | None = None) -> Grain:
    """The grain of a picture, by its quietest blocks with their slope taken out.

    Args:
        gray: luma, (H, W), grey levels of 255.
        again: the same scene on another frame, brought to where it lies in this one: what is on both is no grain.
    """
    height, width = (n // BLOCK * BLOCK for n in gray.shape)

    def blocks(plane: np.ndarray) -> np.ndarray:
        cut = plane[:height, :width].astype(np.float32).reshape(height // BLOCK, BLOCK, -1, BLOCK)
        return cut.swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)

    here = blocks(gray)
    mean = here.mean((1, 2))
    lit = (mean > 16) & (mean < 240)
    if np.count_nonzero(lit) < LEAST:
        return Grain(0.0, 0.0)
    found = _quietest(here[lit])
    if again is not None:
        differing = _quietest((here[lit] - blocks(again)[lit]) / np.sqrt(2))
        found = min(found, differing, key=lambda grain: grain.strength)
    return found


def _quietest(blocks: np.ndarray) -> Grain:
    line = np.linspace(-1, 1, BLOCK, dtype=np.float32)
    rest = blocks - blocks.mean((1, 2), keepdims=True)
    power = float(np.square(line).sum() * BLOCK)
    rest -= (rest * line).sum((1, 2), keepdims=True) / power * line
    rest -= (rest * line[:, None]).sum((1, 2), keepdims=True) / power * line[:, None]
    quiet = rest[np.argsort(rest.std((1, 2)))[: max(LEAST, round(QUIET * len(rest)))]]
    variance = float(np.square(quiet).mean())
    along = float((quiet[:, :, 1:] * quiet[:, :, :-1]).mean()) / max(variance, 1e-6)
    return Grain(BIAS * float(np.sqrt(variance)), float(np.clip(along, 0, 0.95)))


def made(shape: tuple[int, int], grain: Grain, seed: tuple[int, ...]) -> np.ndarray:
    """Grain of that kind, float32 (H, W), grey levels of 255; the same for the same seed."""
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    if grain.alike > 0.05:
        # White noise blurred by sigma s has a correlation of exp(-1 / (4 s^2)) from pixel to pixel.
        noise = cv2.GaussianBlur(noise, (0, 0), float(np.sqrt(-0.25 / np.log(grain.alike))))
        noise /= max(float(noise.std()), 1e-6)
    return noise * grain.strength


def lacking(centre: Grain, side: Grain) -> Grain:
    """What a side lacks of the centre's grain."""
    return Grain(float(np.sqrt(max(centre.strength**2 - side.strength**2, 0.0))), centre.alike)
