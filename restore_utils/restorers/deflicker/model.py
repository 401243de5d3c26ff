"""Brightness flicker taken out by the light that the analysis measured, with true changes of light kept.

From frame to frame the same things grow brighter and darker by a gain and an offset. Chained over a second or two
these tell how bright what a frame shows was before and will be after. Flicker is what lies off a smooth course through
that: a local parabola with weights that fall off in time and in brightness (a bilateral filter, C. Tomasi and
R. Manduchi, 1998, with local regression, W. S. Cleveland, 1979). It follows fades and does not reach across a switched
lamp, and a flash of lightning, far brighter than the flicker around it, is a course of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import FrameModel, Result, Shot

SPAN = 20
"""Frames on each side that the smooth course looks at."""
PULSE = 8
"""Frames on each side over which the size of the flicker is measured."""
TONES = 0.2
"""A gain and an offset are held as the change of two tones, so far below and above the mean brightness."""
LEAST, MOST = 0.75 / 255, 0.25
"""A shot whose flicker has a smaller standard deviation, in [0, 1] brightness, is held to be steady; where it seems
larger than such a share of the brightness it is no flicker, but titles that come and go on black."""
DEADBAND = 0.4 / 255
"""A frame whose correction is nowhere larger is left as it is."""
LARGEST = 0.25
"""No correction is larger, in [0, 1] brightness."""
HEADROOM = 3.0
"""Corrections ease off from so many times their own size before black and white: nothing is clipped."""


@dataclass(frozen=True)
class _Course:
    """What to do to each frame of a shot: x becomes gain * x + offset; both (N,)."""

    first: int
    gain: np.ndarray
    offset: np.ndarray


class Deflicker(FrameModel):
    """Evens out brightness that jumps from frame to frame; what is steady stays exactly as it is."""

    name = "deflicker"
    stage = "repair"
    sees_film = False
    memory_per_pixel = 60
    on_host = True

    def __init__(self, strength: float = 1.0) -> None:
        """
        Args:
            strength: share of the flicker to take out, 0 to 1.
        """
        self.strength = strength

    def open(self, shot: Shot) -> _Course:
        """Plan the correction of every frame from the shot's stats luma and exposure."""
        gain, offset = corrections(*_light(shot))
        gain = 1 + self.strength * (gain - 1)
        return _Course(shot.first, gain, self.strength * offset)

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: _Course) -> Result:
        """See FrameModel; the mask is the largest change of a pixel's channels."""
        frames = run[lo - at : hi - at]
        out = []
        for n, frame in zip(range(lo, hi), frames, strict=True):
            gain, offset = float(state.gain[n - state.first]), float(state.offset[n - state.first])
            out.append(frame if gain == 1 and offset == 0 else relit(frame, gain, offset))
        result = torch.stack(out)
        return Result(result, (result - frames).abs().amax(1, keepdim=True))


def relit(frame: Tensor, gain: float, offset: float) -> Tensor:
    """A frame (3, H, W) in other light. Colours keep their hue, and what is near black or white moves less."""
    change = (gain - 1) * frame + offset
    size = change.abs().amax(0, keepdim=True).clamp_min(1e-6)
    room = torch.where(change.mean(0, keepdim=True) > 0, 1 - frame.amax(0, keepdim=True), frame.amin(0, keepdim=True))
    return (frame + change * (room / (HEADROOM * size)).clamp(0, 1)).clamp(0, 1)


def corrections(gain: np.ndarray, offset: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset that take the flicker out of each frame of a shot; exactly 1 and 0 where nothing is to be done.

    Args:
        gain, offset: (N,), change of the light from the frame before; those of the first frame are not used.
        level: (N,), mean brightness of each frame, [0, 1].
    """
    count = len(level)
    corrected = np.tile([1.0, 0.0], (count, 1))
    share = flicker(gain, offset, level)
    if share * float(np.median(level)) < LEAST or share > MOST:
        return corrected[:, 0], corrected[:, 1]
    for n in range(count):
        tones = np.array([level[n] - TONES, level[n] + TONES])
        change = _smooth_course(gain, offset, n, tones, max(share * level[n], 1e-3)) - tones
        largest = float(np.abs(change).max())
        if largest >= DEADBAND:
            change *= min(1.0, LARGEST / largest)
            slope = (change[1] - change[0]) / (2 * TONES)
            corrected[n] = 1 + slope, change[0] - slope * tones[0]
    return corrected[:, 0], corrected[:, 1]


def flicker(gain: np.ndarray, offset: np.ndarray, level: np.ndarray) -> float:
    """Robust standard deviation of the light around its own slow course, as a share of the brightness.

    The course is a parabola through some frames on each side, without those that lie far off it: flicker may come in
    pulses of several frames, as in films cranked by hand; what takes longer is a change of light. Flicker also jumps
    from frame to frame: a few flashes or the corners of a fade on steady light are none.
    """
    if len(level) < PULSE:
        return 0.0
    off = np.array([_off_parabola(*_chained(gain, offset, n, level[n], PULSE)) for n in range(len(level))])
    here = level[1:-1]
    jumps = (here - offset[1:-1]) / gain[1:-1] - 2 * here + gain[2:] * here + offset[2:]
    slow, fast = (
        float(np.median(np.abs(change) / np.maximum(of, 0.02))) * 1.4826 for change, of in ((off, level), (jumps, here))
    )
    return min(slow, 3 * fast / np.sqrt(6))  # the variance of a second difference is six times that of a frame


def _off_parabola(values: np.ndarray, here: int) -> float:
    """How far a value lies off the robust parabola through its neighbours, in the scale of independent noise."""
    time = (np.arange(len(values)) - here) / PULSE
    basis = np.stack([np.ones_like(time), time, np.square(time)], 1)
    root = np.ones_like(time)
    for _ in range(3):
        q, r = np.linalg.qr(basis * root[:, None])
        fit = basis @ np.linalg.lstsq(r, q.T @ (values * root), rcond=1e-6)[0]
        spread = 1.4826 * float(np.median(np.abs(values - fit))) + 1e-6
        root = np.sqrt(_near(values - fit, 4.7 * spread))
    leverage = float(q[here] @ q[here])  # the share of a frame's own noise that the fit follows
    return float(values[here] - fit[here]) / np.sqrt(max(1 - leverage, 0.1))


def _chained(gain: np.ndarray, offset: np.ndarray, n: int, tones, span: int) -> tuple[np.ndarray, int]:
    """How bright what has a tone (or several) on frame n is on each frame up to `span` away; and where n is in that."""
    first, stop = max(0, n - span), min(len(gain), n + span + 1)
    ahead, behind = [tones], [tones]
    for j in range(n + 1, stop):
        ahead.append(gain[j] * ahead[-1] + offset[j])
    for j in range(n, first, -1):
        behind.append((behind[-1] - offset[j]) / gain[j])
    return np.stack([*behind[:0:-1], *ahead]), n - first


def _smooth_course(gain: np.ndarray, offset: np.ndarray, n: int, tones: np.ndarray, sigma: float) -> np.ndarray:
    """What the tones (2,) of frame n would be without flicker of standard deviation `sigma`."""
    values, here = _chained(gain, offset, n, tones, SPAN)
    middle = values.mean(1)
    time = (np.arange(len(values)) - here) / SPAN
    in_time = np.exp(-0.5 * np.square(time / 0.5))
    weight = in_time * _near(middle - middle[here], 6 * sigma)
    for _ in range(3):
        course = _parabola(time, middle, weight, sigma)
        weight = in_time * _near(middle - course, 4.7 * sigma)
    return np.array([_parabola(time, v, weight, sigma)[here] for v in values.T])


def _near(distance: np.ndarray, reach: float) -> np.ndarray:
    """Tukey's biweight: 1 where a brightness is the same, 0 from `reach` on."""
    return np.square(np.clip(1 - np.square(distance / reach), 0, 1))


def _parabola(time: np.ndarray, values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """A weighted line through the values, with as much of a parabola as is surely there; its values at `time`."""
    root = np.sqrt(weight)
    q, r = np.linalg.qr(np.stack([np.ones_like(time), time, np.square(time)], 1) * root[:, None])
    along = q.T @ (values * root)
    along[2] *= max(0.0, 1 - (2.5 * sigma / max(abs(along[2]), 1e-12)) ** 2)
    # A frame alone in its light (a flash) leaves the slopes undetermined: the least ones are taken.
    solved = np.linalg.lstsq(r, along, rcond=1e-6)[0]
    return solved[0] + solved[1] * time + solved[2] * np.square(time)


def _light(shot: Shot) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gain and offset against the frame before, and mean brightness, each (N,)."""
    level = np.asarray(shot.stats.get("luma", np.full(shot.stop - shot.first, 0.5)), float)
    if "exposure" not in shot.stats:
        return np.ones_like(level), np.diff(level, prepend=level[:1]), level
    exposure = np.asarray(shot.stats["exposure"], float)
    return np.clip(exposure[:, 0], 1 / 16, 16), exposure[:, 1], level
