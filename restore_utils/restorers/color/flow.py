"""Colours carried along the motion from one frame to the next, with how far each pixel of them may be believed.

A flow is float32 (H, W, 2); luma is uint8 (H, W) at the working size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restore_utils.restorers.median.motion import positions, warp

SMALLEST = 16
_OFF = 1.0  # pixels by which forth and back may disagree, and the share of the flow's length that is added
_OFF_SHARE = 0.05
_TONE = 14.0  # grey levels of 255 by which the same thing may differ after the light is evened out
_FORGET = 0.01
"""Trust lost in each frame by what moves a pixel or more: it has been resampled. What stands still keeps its own."""


@dataclass(frozen=True)
class Step:
    """How the colours of one frame come to another."""

    flow: np.ndarray
    """Where each pixel of the frame lies in the other one, (H, W, 2)."""
    trust: np.ndarray
    """(H, W), [0, 1]."""


def steps(one: np.ndarray, other: np.ndarray, *, same: bool = False) -> tuple[Step, Step]:
    """How colours come from `one` to `other`, and from `other` to `one`.

    Args:
        one, other: luma, uint8 (H, W), of neighbouring frames.
        same: the picture is a repeat: nothing moves.
    """
    if same or min(one.shape) < SMALLEST or np.array_equal(one, other):
        still = Step(np.zeros((*one.shape, 2), np.float32), np.ones(one.shape, np.float32))
        return still, still
    alike = _in_light_of(one, other)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back, forth = dis.calc(other, alike, None), dis.calc(alike, other, None)
    return _step(other, alike, back, forth), _step(alike, other, forth, back)


def _in_light_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`one` as bright and as contrasty as `other`: a flash or a fade must not read as motion."""
    a, b, da, db = *(float(p.mean()) for p in (one, other)), *(float(p.std()) for p in (one, other))
    gain = min(max((db + 1) / (da + 1), 0.3), 3.0)
    if abs(gain - 1) < 0.02 and abs(a - b) < 1:
        return one
    return np.clip(one.astype(np.float32) * gain + (b - gain * a), 0, 255).astype(np.uint8)


def _step(here: np.ndarray, there: np.ndarray, to: np.ndarray, back: np.ndarray) -> Step:
    # Lengths by NumPy: OpenCV's may differ in their last bit with where an array lies in memory.
    off = np.linalg.norm(to + warp(back, to, cv2.INTER_LINEAR), axis=-1) / (
        _OFF + _OFF_SHARE * np.linalg.norm(to, axis=-1)
    )
    moved = warp(there, to, cv2.INTER_LINEAR)
    tone = cv2.GaussianBlur(cv2.absdiff(here, moved), (5, 5), 0).astype(np.float32) / _TONE
    height, width = here.shape
    x, y = cv2.split(positions(height, width) + to)
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    return Step(to, np.exp(-(off * off) - tone * tone) * inside)


@dataclass
class Carried:
    """Colours on their way through a shot."""

    ab: np.ndarray
    """float32 (H, W, 2), in units of AB."""
    trust: np.ndarray
    """float32 (H, W), [0, 1]."""

    def along(self, step: Step) -> Carried:
        """They as the next frame has them; trust comes along, and is lost where the motion is not sure."""
        planes = np.dstack((self.ab, self.trust))
        moved = warp(planes, step.flow, cv2.INTER_LINEAR)
        kept = 1 - _FORGET * np.minimum(np.linalg.norm(step.flow, axis=-1), 1)
        return Carried(moved[..., :2], moved[..., 2] * step.trust * kept)


def blended(one: Carried | None, other: Carried | None, share: float) -> Carried:
    """Colours from both sides: each by its trust and by nearness (share: of `other`, by distance, [0, 1])."""
    if one is None or other is None:
        return one or other
    a, b = one.trust * (1 - share) + 1e-6, other.trust * share + 1e-6
    part = (b / (a + b))[..., None]
    ab = one.ab + (other.ab - one.ab) * part
    # Where both are sure and disagree, less is known than each says.
    quarrel = np.exp(-np.square(np.linalg.norm(one.ab - other.ab, axis=-1) / 0.25) * np.minimum(one.trust, other.trust))
    most = np.maximum(one.trust, other.trust)
    mixed = one.trust * (1 - share) + other.trust * share
    return Carried(ab, np.maximum(mixed, most * 0.9) * quarrel)
