"""Lay a film's neighbouring frames over the middle one, and make of them what FilmNet looks at. NumPy and OpenCV.

Motion is DIS optical flow (Kroeger et al. 2016) on half-size luma. Its patches are larger than dust, but a blotch bends
it; so where the middle frame sticks out from both neighbours, the flow is taken from around. A neighbour is brought to
the middle frame's brightness, as a whole and place by place, so that flicker does not look like damage.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import cv2
import numpy as np

SLOTS = 4  # (two before, one before, one after, two after)
PLANES = 9
ROWS = 16
OTHER = -0.3  # flag of a neighbour from the wrong side of the middle frame
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SPIKE = 0.06  # of 1: a pixel this far from both neighbours is no guide to motion
_LEAST = 32  # pixels of half size: below, flow is taken as zero
_FOLD = 1024
_CELL = 16  # pixels of a side within which brightness is one
_SHADE = 0.02  # of 1: less of it is not seen
_DIRTY = 0.25  # share of a cell that is damaged, from which on its brightness is not believed
_PEDESTAL = 0.03  # added before brightness ratios are formed, so that black does not rule them


class Window(NamedTuple):
    """The middle frame with its aligned neighbours, as FilmNet takes them, without the batch axis."""

    planes: np.ndarray
    """(PLANES, H, W) float32: luma, two chroma; difference to each neighbour; least of the nearest two, and of all."""
    valid: np.ndarray
    """(SLOTS,) float32: 1 where there is a neighbour of the slot's own side, OTHER one of the other, 0 none."""
    rows: np.ndarray
    """(SLOTS + 1, H / ROWS, W) float32: high-passed luma of middle frame and unaligned neighbours, row averages."""
    flows: list[np.ndarray | None]
    """For each slot (H / 2, W / 2, 2) float32: x, y from the middle frame to the neighbour, in pixels of half size."""
    lights: list["Light | None"]
    """For each slot what brings the neighbour to the middle frame's brightness."""


class Light(NamedTuple):
    """Brightness of a neighbour against the middle frame: (x + pedestal) * gain - pedestal + lift."""

    gain: float
    cells: np.ndarray  # (H / _CELL, W / _CELL) float32: the lift, a small picture of it

    def beside(self, damage: np.ndarray) -> "Light":
        """The same without the share of damage (H, W; not 0 where there is any): in it, as around it.

        A blotch that is large enough passes for flicker, and what is laid over it would keep a shade of it.
        """
        share = cv2.resize((damage > 0).astype(np.float32), self.cells.shape[::-1], interpolation=cv2.INTER_AREA)
        # The median and the blur in _lift carry it three cells further.
        trusted = (cv2.dilate(share, np.ones((7, 7), np.uint8)) < _DIRTY).astype(np.float32)
        if trusted.all() or not trusted.any():
            return self
        cells = spread(self.cells, trusted)
        return self if np.abs(cells - self.cells).max() < _SHADE else Light(self.gain, cells)


def relit(window: Window, damage: np.ndarray) -> Window:
    """A window whose neighbours' brightness has nothing to do with damage (H, W); itself where that is so already."""
    lights = [light and light.beside(damage) for light in window.lights]
    if all(new is old for new, old in zip(lights, window.lights, strict=True)):
        return window
    planes = window.planes.copy()
    height, width = damage.shape
    for plane, old, new in zip(planes[3:7], window.lights, lights, strict=True):
        if new is not None:
            plane += 6 * _enlarged(old.cells - new.cells, width, height)
    planes[7] = _least([planes[3 + s] for s in (1, 2) if window.valid[s]], height, width)
    planes[8] = _least([planes[3 + s] for s in range(SLOTS) if window.valid[s]], height, width)
    return window._replace(planes=planes, lights=lights)


class View(NamedTuple):
    """What is needed of a frame, wherever it stands in a window; made once per frame."""

    rgb: np.ndarray  # (H, W, 3) float32; in memory channel by channel is best
    luma: np.ndarray  # (H, W) float32
    small: np.ndarray  # (H / 2, W / 2) uint8
    rows: np.ndarray  # (H / ROWS, W) float32


def view(rgb: np.ndarray) -> View:
    """Prepare a frame (H, W, 3), float32 RGB [0, 1]; H and W multiples of 16."""
    height, width = rgb.shape[:2]
    luma = sum(rgb[..., c] * weight for c, weight in enumerate(_LUMA))
    small = cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    high = np.clip(luma - cv2.blur(luma, (31, 1), borderType=cv2.BORDER_REFLECT), -0.06, 0.06)
    rows = cv2.resize(high, (width, height // ROWS), interpolation=cv2.INTER_AREA)
    return View(rgb, luma, cv2.convertScaleAbs(small, alpha=255), rows)


def window(
    middle: View, neighbours: Sequence[View | None], valid: np.ndarray, hidden: np.ndarray | None = None
) -> Window:
    """Align up to four neighbours to the middle frame.

    Args:
        middle: the frame to be repaired.
        neighbours: SLOTS of them; None where the shot has no more distinct frames.
        valid: (SLOTS,) from `sides`.
        hidden: (H, W) bool, where the middle frame is known to be no guide to motion.
    """
    height, width = middle.luma.shape
    flows = _flows(middle, neighbours, hidden)
    lights: list[Light | None] = []
    planes = np.empty((PLANES, height, width), np.float32)
    differences = planes[3:7]
    for slot, other in enumerate(neighbours):
        if other is None:
            lights.append(None)
            differences[slot] = 0
            continue
        place = cv2.scaleAdd(_enlarged(flows[slot], width, height), 2, _grid(width, height))
        laid = cv2.remap(other.luma, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        gain = _gain(middle.luma, laid)
        laid += _PEDESTAL  # in place, here and below: new arrays of this size cost more than the sums
        laid *= gain
        laid -= _PEDESTAL
        difference = np.subtract(middle.luma, laid, out=differences[slot])
        lights.append(Light(gain, _lift(difference)))
        difference -= _enlarged(lights[-1].cells, width, height)
        difference *= 6
    np.multiply(middle.luma, 2, out=planes[0])
    planes[0] -= 1
    for plane, channel in ((planes[1], 2), (planes[2], 0)):
        np.subtract(middle.rgb[..., channel], middle.luma, out=plane)
        plane *= 4
    planes[7] = _least([differences[s] for s in (1, 2) if valid[s]], height, width)
    planes[8] = _least([differences[s] for s in range(SLOTS) if valid[s]], height, width)
    rows = [middle.rows, *(np.zeros_like(middle.rows) if v is None else v.rows for v in neighbours)]
    return Window(planes, valid, np.stack(rows) * 20, flows, lights)


def spread(values: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """A small map (h, w) with what is not trusted (h, w; 0) replaced by the mean of the trusted about it."""
    near, weight = (
        cv2.GaussianBlur(x, (0, 0), 4, borderType=cv2.BORDER_REPLICATE) for x in (values * trusted, trusted)
    )
    return np.where(trusted > 0, values, near / np.maximum(weight, 1e-6)).astype(np.float32)


def lay(rgb: np.ndarray, flow: np.ndarray, light: Light, at: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """A neighbour's pixels at the middle frame's places, at its brightness.

    Args:
        rgb: the neighbour, (H, W, 3) float32.
        flow, light: a Window's for it.
        at: rows and columns of the places asked for, (K,) each; None: all.

    Returns:
        (H, W, 3) or (K, 3) float32, by cubic interpolation, which keeps grain.
    """
    height, width = size = rgb.shape[:2]
    if at is None:
        place = cv2.scaleAdd(_enlarged(flow, width, height), 2, _grid(width, height))
        laid = cv2.remap(rgb, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        lift = _enlarged(light.cells, width, height)
    else:
        x, y = (2 * _reduced(part, *at, size) for part in cv2.split(flow))
        y, x = y + at[0], x + at[1]
        laid = np.stack([_between(rgb[..., c], y, x, cv2.INTER_CUBIC) for c in range(3)], 1)
        lift = _reduced(light.cells, *at, size)
    return (laid + _PEDESTAL) * light.gain - _PEDESTAL + lift[..., None]


def _reduced(small: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What a reduced picture (h, w) has at places (K,) of one of full size: as _enlarged, but at these alone."""
    down, across = (a / b for a, b in zip(small.shape, size, strict=True))
    return _between(small, (rows + 0.5) * down - 0.5, (columns + 0.5) * across - 0.5, cv2.INTER_LINEAR)


def _between(picture: np.ndarray, y: np.ndarray, x: np.ndarray, how: int) -> np.ndarray:
    """A picture (H, W) at places between its pixels, (K,) each; beyond the border it goes on as at the border."""
    count = len(x)  # folded, since OpenCV makes no picture of more than 32,766 rows
    x, y = (np.resize(v.astype(np.float32), (-(-count // _FOLD), _FOLD)) for v in (x, y))
    return cv2.remap(picture, x, y, how, borderMode=cv2.BORDER_REPLICATE).reshape(-1)[:count]


def _flows(middle: View, neighbours: Sequence[View | None], hidden: np.ndarray | None) -> list[np.ndarray | None]:
    """Half-size flow from the middle frame to each neighbour, (h, w, 2), in half-size pixels."""
    height, width = middle.small.shape
    if min(height, width) < _LEAST:
        return [np.zeros((height, width, 2), np.float32)] * len(neighbours)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(1)
    dis.setVariationalRefinementIterations(2)  # without, dirt bends the flow more
    flows = [None if other is None else dis.calc(middle.small, other.small, None) for other in neighbours]
    spike = np.zeros((height, width), np.uint8) if hidden is None else hidden[::2, ::2].astype(np.uint8)
    near = [s for s in (1, 2) if flows[s] is not None]
    if len(near) == 2:
        grid, out = _grid(width, height), []
        for s in near:
            laid = cv2.remap(
                neighbours[s].small, grid + flows[s], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            out.append(middle.small.astype(np.float32) - laid)
        spike |= np.abs(_least(out, height, width)) > _SPIKE * 255
    if not spike.any():
        return flows
    trusted = (1 - cv2.dilate(spike, np.ones((7, 7), np.uint8))).astype(np.float32)
    return _from_around(flows, trusted)


def _from_around(flows: list[np.ndarray | None], trusted: np.ndarray) -> list[np.ndarray | None]:
    """Flows (h, w, 2) with what is not trusted (h, w; 0) replaced by the mean of the trusted flow about it."""
    size = 25
    weight = cv2.boxFilter(trusted, -1, (size, size)) + 1e-4
    share = (1 - trusted) * np.clip(weight * 10, 0, 1)  # deep inside a large hole nothing better than the flow is known
    # As many channels as a flow has: NumPy is slow to stretch an array along a last axis of two.
    trusted, weight, share = (cv2.merge([x, x]) for x in (trusted, weight, cv2.blur(share, (3, 3))))
    out = []
    for flow in flows:
        if flow is not None:
            around = cv2.boxFilter(flow * trusted, -1, (size, size)) / weight
            flow = flow + (around - flow) * share
        out.append(flow)
    return out


@lru_cache(maxsize=2)  # of the whole and the half size
def _grid(width: int, height: int) -> np.ndarray:
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _enlarged(small: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _gain(middle: np.ndarray, laid: np.ndarray) -> float:
    ratio = np.median((middle[::4, ::4] + _PEDESTAL) / (np.maximum(laid[::4, ::4], 0) + _PEDESTAL))
    return float(np.clip(ratio, 0.5, 2.0))


def _lift(difference: np.ndarray) -> np.ndarray:
    """The smooth part of a difference (H, W), reduced: local flicker. Blotches of up to 50 pixels are left out."""
    height, width = difference.shape
    small = cv2.resize(difference, (max(width // _CELL, 1), max(height // _CELL, 1)), interpolation=cv2.INTER_AREA)
    return cv2.blur(cv2.medianBlur(small, 5), (3, 3), borderType=cv2.BORDER_REPLICATE)


def _least(differences: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """The difference nearest to zero where all have one sign, else 0: how far the middle frame sticks out of all."""
    if not differences:
        return np.zeros((height, width), np.float32)
    return np.maximum(reduce(np.minimum, differences), 0) + np.minimum(reduce(np.maximum, differences), 0)


def sides(n: int, slots: Sequence[int | None]) -> np.ndarray:
    """Window.valid for the frames chosen for frame n: what a moving thing uncovers is new to one side only."""
    return np.array([0 if m is None else 1 if (m < n) == (s < 2) else OTHER for s, m in enumerate(slots)], np.float32)


def choose(before: Sequence, after: Sequence) -> list:
    """Which frames go into the slots, from what there is on both sides, nearest first; None where there is no more.

    At the ends of a shot the missing side is filled from the other one, so that four different frames are seen.
    """
    before, after = list(before), list(after)
    if not before:
        before, after = after[1::2], after[0::2]
    elif not after:
        before, after = before[0::2], before[1::2]
    ahead = [*before[:2], *after[2:], None, None]
    behind = [*after[:2], *before[2:], None, None]
    return [ahead[1], ahead[0], behind[0], behind[1]]
