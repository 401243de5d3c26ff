"""How a picture lies on another: shift, turn and scale to a few hundredths of a pixel, whatever else differs.

Least squares on the gradients of a reference (B. D. Lucas and T. Kanade, 1981), in the inverse compositional form
(S. Baker and I. Matthews, "Lucas-Kanade 20 Years On", IJCV 56, 2004), coarse to fine. Gain and offset of the light are
solved for with the motion, so that flicker is no motion; what moves on its own, dust and burnt-in titles are weighted
down (S. Geman and D. E. McClure, 1987). Phase correlation (C. D. Kuglin and D. C. Hines, 1975) proposes large shifts.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

LEVELS = 3
ROUNDS = (6, 6, 5)
"""Steps at most on each level, coarse to fine."""
SMALLEST = 48
"""Pixels a side, below which a coarse level says too little."""
STRIDE = 2
"""Of so many pixels each way one takes part."""
BLUR = 1.5
"""Sigma in pixels by which pictures are blurred: what linear interpolation loses is then small."""
MARGIN = 24
"""Such a part of the picture on each side does not take part: soft edges of the gate."""
ALIKE = 0.5
"""Share of the reference's contrast that the other picture must explain."""
UNSURE = 9.0
"""A shift was not found if its standard error in pixels is more than so much by the picture's longer side. On 640
pixels good ones have 0.003 to 0.011, and those where blur or several moving things led astray 0.015 and more."""
_CORRELATED = 4.0  # neighbouring samples err together: as if there were so many times fewer
_STEP = 32  # OpenCV takes pictures apart into such fractions of a pixel, and no finer


class Pose(NamedTuple):
    """Where a picture's content lies against a reference's: q - centre = turn (p - centre) + shift, as x + iy."""

    shift: complex = 0j
    """Pixels, right + i down."""
    turn: complex = 1 + 0j
    """Scale times e to the i angle."""

    def of(self, other: Pose) -> Pose:
        """This pose, measured against a picture that has the `other` pose itself."""
        return Pose(self.turn * other.shift + self.shift, self.turn * other.turn)


class Reference:
    """A picture that others are registered to."""

    def __init__(self, picture: np.ndarray) -> None:
        """
        Args:
            picture: float32 (H, W), grey levels of 255.
        """
        self.picture = picture
        sizes = _pyramid(picture)
        self.levels = [_Level(p) for p in reversed(sizes) if min(p.shape) >= (8 if p is sizes[0] else SMALLEST)]

    def pose(self, picture: np.ndarray, guesses: tuple[Pose, ...] = (Pose(),)) -> Pose | None:
        """How another picture of that size lies against this one; None where that cannot be told.

        Args:
            picture: float32 (H, W), grey levels of 255.
            guesses: the best of them, and of what phase correlation proposes, is where the search begins.
        """
        others = _pyramid(picture)[::-1][-len(self.levels) :] if self.levels else []
        found, fit = None, _Fit(Pose(), 0, np.inf)
        for k, (level, other) in enumerate(zip(self.levels, others, strict=True)):
            share = 2.0 ** (k + 1 - len(self.levels))
            if found is None:
                starts = [Pose(g.shift * share, g.turn) for g in guesses]
                starts.append(Pose(_phase_shift(level.picture, other), guesses[0].turn))
                found = min(starts, key=lambda start: level.distance(other, start))
            else:
                found = Pose(2 * found.shift, found.turn)
            fit = level.fit(other, found, ROUNDS[k - len(self.levels)], turning=k > 0 or len(self.levels) == 1)
            found = fit.pose
        return found if fit.alike >= ALIKE and fit.error <= UNSURE / max(picture.shape) else None


class _Fit(NamedTuple):
    pose: Pose
    alike: float  # share of the contrast that is explained
    error: float  # standard error of the shift, pixels


class _Level:
    """A reference at one size: its samples, and how they change with shift, angle, scale, gain and offset."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        height, width = picture.shape
        self.size = np.array([width, height])
        inset_x, inset_y = width // MARGIN + 2, height // MARGIN + 2
        rows, columns = slice(inset_y, height - inset_y, STRIDE), slice(inset_x, width - inset_x, STRIDE)
        gx = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)[rows, columns]
        gy = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)[rows, columns]
        x, y = np.meshgrid(
            np.arange(inset_x, width - inset_x, STRIDE, dtype=np.float32) - (width - 1) / 2,
            np.arange(inset_y, height - inset_y, STRIDE, dtype=np.float32) - (height - 1) / 2,
        )
        self.place = x + 1j * y
        self.radius = float(np.hypot(width, height)) / 2
        turned, scaled = (x * gy - y * gx) / self.radius, (x * gx + y * gy) / self.radius
        here = picture[rows, columns]
        self.slopes = np.stack([v.ravel() for v in (gx, gy, here, np.ones_like(here), turned, scaled)], 1)

    def fit(self, other: np.ndarray, pose: Pose, rounds: int, turning: bool) -> _Fit:
        """Refine a pose; angle and scale only where `turning`."""
        slopes = self.slopes if turning else self.slopes[:, :4]
        alike, error = 0.0, np.inf
        light = None
        for _ in range(rounds):
            pose = Pose(complex(*(np.round(np.array([pose.shift.real, pose.shift.imag]) * _STEP) / _STEP)), pose.turn)
            seen, inside = self._seen(other, pose)
            if np.count_nonzero(inside) < 64:
                return _Fit(pose, 0.0, np.inf)
            if light is None:
                light = self._light(seen, inside)
            off = seen - light[0] * slopes[:, 2] - light[1]
            scale = 2 * float(np.median(np.abs(off[inside][::5]))) + 0.5
            weight = np.where(inside, 1 / (1 + np.square(off / scale)) ** 2, 0).astype(np.float32)
            weighted = slopes * weight[:, None]
            normal = (weighted.T @ slopes).astype(float)
            normal[np.diag_indices_from(normal)] *= 1 + 1e-9
            try:
                inverse = np.linalg.inv(normal)
            except np.linalg.LinAlgError:
                return _Fit(pose, 0.0, np.inf)
            solved = inverse @ (weighted.T @ seen)
            light = solved[2:4]
            if not 0.05 < light[0] < 20:
                return _Fit(pose, 0.0, np.inf)
            total = float(weight.sum())
            rest = float(weight @ np.square(seen - slopes @ solved.astype(np.float32)))
            mean = float(weight @ seen) / total
            alike = 1 - rest / max(float(weight @ np.square(seen - mean)), 1e-6)
            spread = max(inverse[0, 0], inverse[1, 1], 0.0) * rest / total / light[0] ** 2
            error = float(np.sqrt(spread) * _CORRELATED)
            step = solved / light[0]
            turn = np.exp((step[5] + 1j * step[4]) / self.radius) if turning else 1.0
            shift = complex(step[0], step[1])
            pose = Pose(pose.shift - pose.turn * shift / turn, pose.turn / turn)
            if abs(shift) < 0.004:
                break
        return _Fit(pose, alike, error)

    def distance(self, other: np.ndarray, pose: Pose) -> float:
        """How unlike the other picture is at a pose: the mean difference in the light of the reference."""
        seen, inside = self._seen(other, pose)
        if np.count_nonzero(inside) < 0.2 * inside.size:
            return np.inf
        gain, offset = self._light(seen, inside)
        return float(np.abs(seen - gain * self.slopes[:, 2] - offset)[inside].mean()) / gain

    def _light(self, seen: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
        """Gain and offset by mean and spread."""
        here, there = self.slopes[inside, 2], seen[inside]
        gain = float(np.clip((there.std() + 1) / (here.std() + 1), 0.25, 4))
        return gain, float(np.median(there) - gain * np.median(here))

    def _seen(self, other: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """The other picture at the samples' places, and whether these lie in it; (N,) each."""
        width, height = self.size
        there = pose.turn * self.place + pose.shift
        x, y = (there.real + (width - 1) / 2).astype(np.float32), (there.imag + (height - 1) / 2).astype(np.float32)
        seen = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (x >= 2) & (y >= 2) & (x <= width - 3) & (y <= height - 3)
        return seen.ravel(), inside.ravel()


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The picture, and smaller ones, each blurred a little, fine to coarse."""
    sizes = [picture]
    for _ in range(LEVELS - 1):
        height, width = sizes[-1].shape
        sizes.append(cv2.resize(sizes[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA))
    return [cv2.GaussianBlur(p, (0, 0), BLUR) for p in sizes]


def _phase_shift(one: np.ndarray, other: np.ndarray) -> complex:
    if min(one.shape) < 16:
        return 0j
    # Copies: pictures whose size suits the Fourier transform are multiplied by the window in place.
    (dx, dy), _ = cv2.phaseCorrelate(one.copy(), other.copy(), cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F))
    return complex(dx, dy)
