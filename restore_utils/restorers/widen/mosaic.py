"""What other key frames of the camera's move saw of a key frame's sides, and how far that can be trusted.

Each neighbour is registered to the key frame, the next one beginning where the last one ended. What the homography
leaves over - parallax, the lens - is measured inside the overlap and carried outwards smoothly. The light of each is
fitted to the key frame. A pixel is the mean of what the neighbours show, again and again without those that differ, so
that somebody who walked by is left out. Trust falls where they differ, where few saw it, and where even inside the
overlap they did not fit: where there is parallax a homography is far off, and it is the trust that finds this out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.spreading import spread_out
from restore_utils.restorers.widen.camera import Fit, moved, register, scaled
from restore_utils.restorers.widen.canvas import Canvas

MOST = 10
"""Key frames looked at in each direction."""
LEAST = 0.01
"""Share of the hidden that a neighbour must show..."""
PATIENCE = 3
"""...and after so many that do not, no further ones are looked at."""
COARSE = 4
"""Residual motion is carried outwards on pictures so many times smaller than the registered ones."""
TRUSTING = 8.0
"""Grey levels by which a neighbour that is off near the seam counts for less (1/e)."""
DISTANCE = 4.0
"""Key frames of distance by which a neighbour counts for less (1/e): errors of the path and changes of the scene."""
ROBUST = (40.0, 20.0, 12.0)
"""Grey levels of three rounds in which views that differ from the mean lose their weight."""
ENOUGH = 4.0
"""Weight of views by which trust grows: 1 - exp(-ENOUGH x weight)."""
SPREAD = 14.0
"""Grey levels of difference among views by which trust falls (1/e)."""


class Key(NamedTuple):
    """A key frame's known picture."""

    gray: np.ndarray
    """Luma at the registered size, uint8 (h, w)."""
    small: np.ndarray
    """RGB at the registered size, uint8 (h, w, 3)."""
    picture: np.ndarray
    """RGB at the working size, uint8 (H, W, 3)."""


class Sides(NamedTuple):
    """A picture of the whole canvas at working size, of which only what lies outside the known box counts."""

    colour: np.ndarray
    """RGB in grey levels of 255, float32 (H2, W2, 3)."""
    trust: np.ndarray
    """float32 (H2, W2), [0, 1]; 0 in the known box."""


def recover(number: int, key: Callable[[int], Key], links: Sequence[np.ndarray | None], canvas: Canvas) -> Sides:
    """The sides of a key frame as its neighbours in the same move of the camera show them.

    Args:
        number: of the key frame.
        key: gives key frames by number.
        links: from each key frame to the next; None where the thread was lost.
    """
    gather = Gather(key(number), canvas)
    for direction in (1, -1):
        nothing = 0
        for views, (other, fit) in enumerate(_outwards(number, key, links, direction)):
            seen = gather.add(key(other), fit, np.exp(-(views + 1) / DISTANCE))
            nothing = nothing + 1 if seen < LEAST else 0
            if nothing == PATIENCE:
                break
    return gather.result()


def _outwards(
    number: int, key: Callable[[int], Key], links: Sequence[np.ndarray | None], direction: int
) -> Iterator[tuple[int, Fit]]:
    """Neighbours one after the other, until they no longer overlap with the key frame."""
    here, so_far = key(number).gray, np.eye(3)
    for step in range(1, MOST + 1):
        other = number + direction * step
        if not 0 <= other <= len(links):
            return
        link = links[other - 1] if direction > 0 else links[other]
        if link is None:
            return
        guess = (link if direction > 0 else np.linalg.inv(link)) @ so_far
        fit = register(here, key(other).gray, guess)
        if fit is None:
            return
        so_far = fit.homography
        yield other, fit


class Gather:
    """Views of what is hidden beside a picture, gathered and made one."""

    def __init__(self, here: Key, canvas: Canvas) -> None:
        self.here, self.canvas = here, canvas
        self.scale = here.picture.shape[1] / here.gray.shape[1]
        self.views: list[list[np.ndarray]] = [[] for _ in canvas.strips]
        self.weights: list[list[np.ndarray]] = [[] for _ in canvas.strips]

    def add(self, other: Key, fit: Fit, weight: float) -> float:
        """Take what another picture shows of it; answers which share of the hidden it showed."""
        residual, error = carried_outwards(fit, self.canvas, self.scale)
        homography = scaled(fit.homography, self.scale)
        gain = light(self.here.small, other.small, fit)
        high, wide = other.picture.shape[:2]
        seen_pixels = 0
        for k, strip in enumerate(self.canvas.strips):
            where = self.canvas.positions(strip)
            at = moved(where + residual[strip.slices], homography)
            inside = (at[..., 0] >= 1) & (at[..., 0] <= wide - 2) & (at[..., 1] >= -1) & (at[..., 1] <= high)
            count = np.count_nonzero(inside)
            if not count:
                continue
            seen_pixels += count
            view = cv2.remap(other.picture, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            self.views[k].append(np.clip(view * gain, 0, 255).astype(np.float32))
            trusted = np.exp(-error[strip.slices] / TRUSTING) * inside * np.float32(weight)
            self.weights[k].append(trusted.astype(np.float32))
        return seen_pixels / sum(strip.width * strip.height for strip in self.canvas.strips)

    def result(self) -> Sides:
        """All views as one picture."""
        colour = np.zeros((self.canvas.height, self.canvas.width, 3), np.float32)
        trust = np.zeros((self.canvas.height, self.canvas.width), np.float32)
        for strip, views, weights in zip(self.canvas.strips, self.views, self.weights, strict=True):
            if views:
                colour[strip.slices], trust[strip.slices] = _agreed(views, weights)
        return Sides(colour, trust)


def light(here: np.ndarray, there: np.ndarray, fit: Fit) -> np.ndarray:
    """By how much the light of `there` is to be multiplied to be that of `here`, float32 (3,).

    Args:
        here, there: RGB at the registered size, uint8 (h, w, 3).
    """
    height, width = fit.weight.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    brought = cv2.warpPerspective(there, fit.homography, (width, height), flags=flags)
    weight = fit.weight * ((brought > 8) & (brought < 247)).all(-1)
    sums = [np.tensordot(weight, picture.astype(np.float32), 2) for picture in (here, brought)]
    return np.clip((sums[0] + 1) / (sums[1] + 1), 0.6, 1.7).astype(np.float32)


def _agreed(views: list[np.ndarray], weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of views without those that differ, and how far to trust it."""
    total = np.sum(weights, axis=0)
    mean = sum(v * w[..., None] for v, w in zip(views, weights, strict=True)) / np.maximum(total, 1e-9)[..., None]
    for robust in ROBUST:
        sums, share = np.zeros_like(mean), np.zeros_like(total)
        for view, weight in zip(views, weights, strict=True):
            near = weight * (np.exp(-np.square(np.abs(view - mean).mean(-1) / robust)) + 1e-6)
            sums += view * near[..., None]
            share += near
        mean = sums / np.maximum(share, 1e-12)[..., None]
    spread = sum(np.abs(v - mean).mean(-1) * w for v, w in zip(views, weights, strict=True))
    spread /= np.maximum(total, 1e-9)
    trust = (1 - np.exp(-ENOUGH * total)) * np.exp(-np.square(spread / SPREAD)) * (total > 0)
    return mean, trust


def carried_outwards(fit: Fit, canvas: Canvas, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Residual motion, (H2, W2, 2) in pixels of the canvas, and error, (H2, W2), beyond where they were measured.

    Args:
        scale: working pixels to a registered one.
    """
    width, height = canvas.width, canvas.height
    small = max(2, round(width / scale / COARSE)), max(2, round(height / scale / COARSE))
    x, y = (round(c * n / side) for c, n, side in zip((canvas.x, canvas.y), small, (width, height), strict=True))
    inner_height, inner_width = (max(1, round(n / COARSE)) for n in fit.weight.shape)
    weight, total = np.zeros(small[::-1], np.float32), np.zeros((*small[::-1], 3), np.float32)
    inside = slice(y, min(y + inner_height, small[1])), slice(x, min(x + inner_width, small[0]))
    reached = (fit.weight > 0).astype(np.float32)
    values = np.dstack((fit.residual * scale * fit.weight[..., None], fit.error * reached))
    shape = weight[inside].shape[::-1]
    weight[inside] = cv2.resize(fit.weight, shape, interpolation=cv2.INTER_AREA)
    total[inside] = cv2.resize(values, shape, interpolation=cv2.INTER_AREA)
    residual = spread_out(total[..., :2], weight)
    weight[inside] = cv2.resize(reached, shape, interpolation=cv2.INTER_AREA)
    error = spread_out(total[..., 2:], weight)
    both = cv2.resize(np.dstack((residual, error)), (width, height), interpolation=cv2.INTER_LINEAR)
    return both[..., :2], np.maximum(both[..., 2], 0)
