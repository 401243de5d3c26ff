"""Lay a film's neighbouring frames over the middle one, and make of them what FilmNet looks at. NumPy and OpenCV.

Motion is DIS optical flow (Kroeger et al. 2016) on half-size luma. Its patches are larger than dust, but a blotch bends
it; so where the middle frame sticks out from both neighbours, the flow is taken from around. A neighbour is brought to
the middle frame's brightness, as a whole and place by place, so that flicker does not look like damage.

Beside the differences stands how far they can be believed (Window.evidence): noise and grain about them, whether the
flow comes back to where it began, whether the motions of five frames agree (Corrigan, Harte, Kokaram 2008: where
vectors scatter, a difference is motion that was not followed), and what the frames show without being laid over each
other, in which a thing that moves stands beside its old place and dirt does not.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import cv2
import numpy as np

SLOTS = 4  # (two before, one before, one after, two after)
PLANES = 9
EVIDENCE = 10
DISTANT = (-6, -4, 4, 6)  # frames of which only row averages are seen
ROWS = 16
OTHER = -0.3  # flag of a neighbour from the wrong side of the middle frame
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SPIKE = 0.06  # of 1: a pixel this far from both neighbours is no guide to motion
_LEAST = 32  # pixels of half size: below, flow is taken as zero
_FOLD = 1024
_CELL = 16  # pixels of a side within which brightness is one
_SHADE = 0.02  # of 1: less of it is not seen
_DIRTY = 0.25  # share of a cell that is damaged, from which on its brightness is not believed
_CAP = 6 * 0.05  # of 1, times 6 as in Window.planes: a larger difference is no noise
_QUIET = 6 * 0.004  # the same: noise of a film without any, as rounding and compression leave it
_PEDESTAL = 0.03  # added before brightness ratios are formed, so that black does not rule them


class Window(NamedTuple):
    """The middle frame with its aligned neighbours, as FilmNet takes them, without the batch axis."""

    planes: np.ndarray
    """(PLANES, H, W) float32: luma, two chroma; difference to each neighbour; least of the nearest two, and of all."""
    valid: np.ndarray
    """(SLOTS,) float32: 1 where there is a neighbour of the slot's own side, OTHER one of the other, 0 none."""
    evidence: np.ndarray
    """(EVIDENCE, H / 2, W / 2) float32, all within about -2 and 2: how far the middle frame sticks out of the nearest
    two and of all, over noise; disagreement of the nearest two, over noise; noise (logarithm); error of the flow there
    and back, of the frame before and the frame after; scatter of the motions; speed (logarithm); difference to the
    frame before and the frame after where they are, not laid over."""
    rows: np.ndarray
    """(SLOTS + 1 + len(DISTANT), H / ROWS, W) float32: high-passed luma of the middle frame, the unaligned neighbours
    and the distant frames, row averages; 0 where there is no such frame."""
    flows: list[np.ndarray | None]
    """For each slot (H / 2, W / 2, 2) float32: x, y from the middle frame to the neighbour, in pixels of half size."""
    lights: list["Light | None"]
    """For each slot what brings the neighbour to the middle frame's brightness."""

    @property
    def noise(self) -> np.ndarray:
        """(H / 2, W / 2) float32: the noise about each place, in the measure of the differences."""
        return np.exp(2 * (self.evidence[3] - 1))


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
    planes[7] = _least([planes[3 + s] for s in NEAREST if window.valid[s]], height, width)
    planes[8] = _least([planes[3 + s] for s in range(SLOTS) if window.valid[s]], height, width)
    evidence = window.evidence.copy()
    _standing_out(planes, window.valid, evidence[:4])
    return window._replace(planes=planes, lights=lights, evidence=evidence)


class View(NamedTuple):
    """What is needed of a frame, wherever it stands in a window; made once per frame."""

    rgb: np.ndarray  # (H, W, 3) float32; in memory channel by channel is best
    luma: np.ndarray  # (H, W) float32
    small: np.ndarray  # (H / 2, W / 2) uint8
    rows: np.ndarray  # (H / ROWS, W) float32


def view(rgb: np.ndarray) -> View:
    """Prepare a frame (H, W, 3), float32 RGB [0, 1]; H and W multiples of 16."""
    height, width = rgb.shape[:2]
    grey = luma(rgb)
    small = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return View(rgb, grey, cv2.convertScaleAbs(small, alpha=255), row_averages(grey))


def luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W) of a frame (H, W, 3)."""
    return sum(rgb[..., c] * weight for c, weight in enumerate(_LUMA))


def row_averages(grey: np.ndarray) -> np.ndarray:
    """What is upright and thin in a luma (H, W): without what is broad, limited, averaged over ROWS; (H / ROWS, W)."""
    height, width = grey.shape
    high = np.clip(grey - cv2.blur(grey, (31, 1), borderType=cv2.BORDER_REFLECT), -0.06, 0.06)
    return cv2.resize(high, (width, height // ROWS), interpolation=cv2.INTER_AREA)


class Motion(NamedTuple):
    """Flows as they were found, (H / 2, W / 2, 2) float32 in pixels of half size; None where a frame is missing."""

    ahead: list[np.ndarray | None]  # from the middle frame to each slot's
    back: list[np.ndarray | None]  # from the frames of NEAREST to the middle one


NEAREST = SLOTS // 2 - 1, SLOTS // 2  # slots of the frame before and the frame after


def motion(middle: View, neighbours: Sequence[View | None], flow: Callable[[View, View], np.ndarray]) -> Motion:
    """The flows that `window` needs, each found by `flow(of, to)`: `follow`, or something that remembers."""
    ahead = [None if other is None else flow(middle, other) for other in neighbours]
    return Motion(ahead, [None if neighbours[s] is None else flow(neighbours[s], middle) for s in NEAREST])


def follow(one: View, other: View) -> np.ndarray:
    """Half-size flow from one frame to another, (H / 2, W / 2, 2), in half-size pixels."""
    height, width = one.small.shape
    if min(height, width) < _LEAST:
        return np.zeros((height, width, 2), np.float32)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(1)
    dis.setVariationalRefinementIterations(2)  # without, dirt bends the flow more
    return dis.calc(one.small, other.small, None)


def window(
    middle: View,
    neighbours: Sequence[View | None],
    times: Sequence[int],
    hidden: np.ndarray | None = None,
    *,
    flows: Motion | None = None,
    distant: Sequence[np.ndarray | None] = (),
) -> Window:
    """Align up to four neighbours to the middle frame.

    Args:
        middle: the frame to be repaired.
        neighbours: SLOTS of them; None where the shot has no more distinct frames.
        times: (SLOTS,) how many frames after the middle one each is; 0 where there is none.
        hidden: (H, W) bool, where the middle frame is known to be no guide to motion.
        flows: from `motion`; found here if not given.
        distant: View.rows of the frames that are DISTANT from the middle one; None where there is none.
    """
    height, width = middle.luma.shape
    valid = sides(times)
    raw = flows or motion(middle, neighbours, follow)
    flows = _steadied(middle, neighbours, raw.ahead, hidden)
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
    planes[7] = _least([differences[s] for s in NEAREST if valid[s]], height, width)
    planes[8] = _least([differences[s] for s in range(SLOTS) if valid[s]], height, width)
    evidence = np.empty((EVIDENCE, height // 2, width // 2), np.float32)
    _standing_out(planes, valid, evidence[:4])
    _moving(middle, neighbours, times, raw, evidence[4:])
    blank = np.zeros_like(middle.rows)
    rows = [middle.rows, *(blank if v is None else v.rows for v in neighbours)]
    rows += [blank if r is None else r for r in distant or [None] * len(DISTANT)]
    return Window(planes, valid, evidence, np.stack(rows) * 20, flows, lights)


def _standing_out(planes: np.ndarray, valid: np.ndarray, out: np.ndarray) -> None:
    """Window.evidence[:4] of planes: differences over the noise about them."""
    size = out.shape[:0:-1]
    least, least_of_all = (cv2.resize(planes[k], size, interpolation=cv2.INTER_AREA) for k in (7, 8))
    near = [cv2.resize(planes[3 + s], size, interpolation=cv2.INTER_AREA) for s in NEAREST if valid[s]]
    if not near:
        out[...] = 0
        return  # noise reads as 1 / e ** 2: unknown
    # The nearer to the middle frame the less it is motion; the cap leaves out what is damage.
    noise = cv2.boxFilter(np.minimum(reduce(np.minimum, [np.abs(d) for d in near]), _CAP), -1, (33, 33))
    noise *= 2
    noise += _QUIET
    np.clip(least / noise, -8, 8, out=out[0])
    np.clip(least_of_all / noise, -8, 8, out=out[1])
    apart = cv2.boxFilter(np.abs(near[0] - near[-1]), -1, (5, 5))
    np.clip(apart / noise, 0, 8, out=out[2])
    out[:3] *= 0.25
    np.log(noise, out=out[3])
    out[3] *= 0.5
    out[3] += 1


def _moving(
    middle: View, neighbours: Sequence[View | None], times: Sequence[int], raw: Motion, out: np.ndarray
) -> None:
    """Window.evidence[4:]: how far the flow can be believed, and what moves where frames are not laid over."""
    out[...] = 0
    height, width = middle.small.shape
    grid = _grid(width, height)
    for k, slot in enumerate(NEAREST):
        if (other := neighbours[slot]) is None:
            continue
        back = cv2.remap(raw.back[k], grid + raw.ahead[slot], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        back += raw.ahead[slot]
        error = cv2.magnitude(*cv2.split(back))
        np.divide(error, 1 + error, out=out[k])
        cv2.subtract(middle.small, other.small, dst=out[4 + k], dtype=cv2.CV_32F)
        out[4 + k] *= 4 / 255
    steps = [flow * np.float32(1 / time) for flow, time in zip(raw.ahead, times, strict=True) if flow is not None]
    if not steps:
        return
    mean = sum(steps) / len(steps)
    scatter = np.sqrt(sum(cv2.add(*map(np.square, cv2.split(step - mean))) for step in steps) / len(steps))
    np.divide(scatter, 1 + scatter, out=out[2])
    np.log1p(cv2.magnitude(*cv2.split(mean)), out=out[3])
    out[3] *= 1 / 3


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


def _steadied(
    middle: View,
    neighbours: Sequence[View | None],
    flows: list[np.ndarray | None],
    hidden: np.ndarray | None,
) -> list[np.ndarray | None]:
    """Flows from the middle frame to its neighbours, taken from around where it is damaged."""
    height, width = middle.small.shape
    if min(height, width) < _LEAST:
        return flows
    spike = np.zeros((height, width), np.uint8) if hidden is None else hidden[::2, ::2].astype(np.uint8)
    near = [s for s in NEAREST if flows[s] is not None]
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


def sides(times: Sequence[int]) -> np.ndarray:
    """Window.valid for the slots' `times`, see `window`: what a moving thing uncovers is new to one side only."""
    return np.array([0 if t == 0 else 1 if (t < 0) == (s < 2) else OTHER for s, t in enumerate(times)], np.float32)


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


def around(n: int, picture: Sequence[int], first: int, stop: int, reach: int) -> list[int | None]:
    """Numbers of the frames for the slots of frame n: of different pictures, nearest first; None where there is none.

    Args:
        picture: for each frame of the shot first <= n < stop that of its picture: frames that repeat each other have
            the same.
        reach: frames on each side among which they are looked for.
    """
    own = picture[n - first]

    def side(numbers: range) -> list[int]:
        kept: dict[int, int] = {}
        for m in numbers:
            if (shown := picture[m - first]) != own:
                kept.setdefault(shown, m)
        return list(kept.values())

    before = side(range(n - 1, max(n - reach, first) - 1, -1))
    return choose(before, side(range(n + 1, min(n + reach + 1, stop))))
