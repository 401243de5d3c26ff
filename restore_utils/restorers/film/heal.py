"""Takes a scratch out of a frame from what is on both sides of it. NumPy.

A scratch is taken for a film laid over the picture, of one opacity and one tone: seen = (1 - opacity cover) picture +
cover tone, where cover depends on the distance from its middle alone. All three are measured along the line and over
the frames that show it, against the picture interpolated from both sides. Where enough shows through, the formula is
turned round; what is hidden is replaced by what lies left and right of it, joined along the slant at which both sides
are alike, as in deinterlacing by edges.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.film.lines import BAND
from restore_utils.restorers.film.scratches import Scratch

_REACH = 14  # pixels of a reduced picture on both sides of the middle of a line
_FLANK = 4  # of them, outermost, that are the scene
_FINE = 0.25  # pixels: steps in which the coverage across is measured
_SOME = 160  # rows of a frame that are enough to measure a line by
_ENOUGH = 40  # pixels from which a median of coverage is taken
_EDGE = 0.1  # of the highest coverage: where a line ends across
_RISE = 0.25  # of the highest coverage: more of a rise is the next thing
_NEAR = 2.5  # pixels of a reduced picture about the path in which its middle is looked for
_ALONG = 49  # rows of a reduced picture over which the strength of a line is one
_STEP = 8  # rows between which it is interpolated
_GONE = 0.15  # of its usual strength: below, there is no line
_FULL = 0.015  # of 1: so near to black or white, nothing can be told
_CLEAR = 0.3  # of the picture must show through, or it is not looked for
_SLANT = 5  # rows of a reduced picture by which both sides are shifted at most, each
_UPRIGHT = 0.004  # of 1: what a slant of one row must win


class Healed(NamedTuple):
    """New pixels of a frame, at rows and columns."""

    places: tuple[np.ndarray, np.ndarray]  # (rows, k) each
    pixels: np.ndarray  # (rows, k, 3) float32
    lacking: np.ndarray  # (rows, k) float32, [0, 1]: share of the variance of grain that they lack
    there: np.ndarray  # (rows, k) bool: where the line is not interrupted


Cover = Callable[[np.ndarray], np.ndarray]
"""Pixels from the middle of a line to how much it covers there, 1 at most."""


class _Strip(NamedTuple):
    """What lies about a line in a frame."""

    seen: np.ndarray  # (rows, 2 reach + 1, 3)
    columns: np.ndarray  # (rows, 2 reach + 1), in the frame
    away: np.ndarray  # (rows, 2 reach + 1), pixels from the middle of the line

    def every(self, step: int) -> "_Strip":
        """Every so many of its rows."""
        return _Strip(*(x[::step] for x in self))

    def about(self, left: float, right: float) -> "_Strip":
        """Its columns that lie between two distances from the middle in any row, and three more on both sides."""
        used = np.flatnonzero(((self.away > left) & (self.away < right)).any(0))
        return _Strip(*(x[:, max(used[0] - 3, 0) : used[-1] + 4] for x in self))

    @property
    def full(self) -> np.ndarray:
        """(rows, 2 reach + 1) bool: so near to black or white that nothing can be told of what is behind."""
        return ((self.seen > 1 - _FULL) | (self.seen < _FULL)).any(2)


class _Overlay(NamedTuple):
    """A line: seen = (1 - opacity cover) picture + cover tone."""

    cover: Cover
    left: float  # where it ends, in pixels from its middle
    right: float
    opacity: float
    tone: np.ndarray  # (3,)


def heal(frames: Sequence[tuple[np.ndarray, int]], scratch: Scratch) -> list[Healed]:
    """The pixels of frames without a scratch.

    Args:
        frames: (H, W, 3) float32, RGB [0, 1], each with its shift, see Scratch.shifts. What is behind the scratch
            differs in them, so the more there are the better it is known.
    """
    scale = scratch.scale
    rows, middle = _course(scratch, frames[0][0].shape[0])
    strips = [_strip(picture, rows, middle + by, scratch) for picture, by in frames]
    clear = (_REACH - _FLANK) * scale + 0.5
    some = [s.every(max(1, len(rows) // _SOME)) for s in strips]
    above = [s.seen - _between(s, -clear, clear, 2 * scale) for s in some]
    cover, left, right = _coverage([s.away for s in some], above, scratch)
    left, right = left - 0.5, right + 0.5
    laid = _Overlay(cover, left, right, *_opacity(some, cover, left, right))
    return [_healed(rows, s.about(left, right), laid, scale) for s in strips]


def _healed(rows: np.ndarray, strip: _Strip, line: _Overlay, scale: int) -> Healed:
    """A strip without a line."""
    behind = _between(strip, line.left, line.right, 2)
    covered = line.cover(strip.away)
    laid = covered[..., None] * (line.tone - line.opacity * behind)
    strength = ((strip.seen - behind) * laid).sum((1, 2)) / np.maximum((laid * laid).sum((1, 2)), 1e-8)
    strength = _running_median(strength, _ALONG * scale)
    through = 1 - strength[:, None] * line.opacity * covered
    lifted = strip.seen - strength[:, None, None] * covered[..., None] * line.tone
    lifted /= np.maximum(through, _CLEAR)[..., None]
    # What is white or black in the line may have been anything.
    full = strip.full & (covered > _EDGE)
    share = np.clip((through - _CLEAR) / (1 - _CLEAR), 0, 1) * (1 - cv2.blur(full.astype(np.float32), (1, 5)))
    joined = _joined(strip, line.left, line.right, scale) if share.min() < 0.9 else behind
    pixels = share[..., None] * lifted + (1 - share[..., None]) * joined
    inside = (strip.away > line.left) & (strip.away < line.right)
    there = inside & (strength > _GONE * np.median(strength))[:, None]
    # Joined pixels are means of two or more, with about a third of the grain's variance.
    lacking = 1 - np.square(share) - 0.35 * np.square(1 - share)
    used = np.flatnonzero(inside.any(0))
    used = slice(used[0], used[-1] + 1)
    places = np.broadcast_to(rows[:, None], strip.columns.shape)[:, used], strip.columns[:, used]
    return Healed(places, pixels[:, used].clip(0, 1).astype(np.float32), lacking[:, used], there[:, used])


def _course(scratch: Scratch, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that a scratch runs through, and its column in each."""
    half = BAND * scratch.scale / 2
    first, last = scratch.rows[0] - half, scratch.rows[-1] + half
    first = 0 if first < 2 * half else first  # an end so near the border is beyond it
    last = height if last > height - 2 * half else last
    rows = np.arange(round(first), min(round(last), height))
    return rows, np.interp(rows, scratch.rows, scratch.columns)


def _strip(picture: np.ndarray, rows: np.ndarray, middle: np.ndarray, scratch: Scratch) -> _Strip:
    scale = scratch.scale
    reach = _REACH * scale
    centre = np.round(middle).astype(int)
    offsets = np.arange(-reach, reach + 1)
    columns = np.clip(centre[:, None] + offsets, 0, picture.shape[1] - 1)
    seen = picture[rows[:, None], columns]
    # The path is known to a pixel; the middle of what sticks out in each band, to a part of one.
    grey = seen.mean(2)
    grey = grey - (grey[:, : _FLANK * scale].mean(1) + grey[:, -_FLANK * scale :].mean(1))[:, None] / 2
    grey = np.maximum(-grey if scratch.dark else grey, 0)
    size = BAND * scale
    bands = len(rows) // size
    line = np.median(grey[: bands * size].reshape(bands, size, -1), axis=1)
    off = _middles(line, offsets, np.zeros(bands), _NEAR * scale)
    # One found near the rim of what was looked at may lie beyond it.
    off = np.where(np.abs(off) > scale, _middles(line, offsets, off, _NEAR * scale), off)
    off = np.median([np.r_[off[:1], off[:-1]], off, np.r_[off[1:], off[-1:]]], axis=0)
    middle = centre + np.interp(np.arange(len(rows)), (np.arange(bands) + 0.5) * size - 0.5, off)
    return _Strip(seen, columns, centre[:, None] + offsets - middle[:, None])


def _middles(line: np.ndarray, offsets: np.ndarray, about: np.ndarray, reach: float) -> np.ndarray:
    """Centre of gravity of what sticks out most in each band of line (bands, k), within reach of a place, (bands,)."""
    near = np.where(np.abs(offsets - about[:, None]) <= reach, line, 0)
    near = np.maximum(near - 0.4 * near.max(1, keepdims=True), 0)
    return (near * offsets).sum(1) / np.maximum(near.sum(1), 1e-6)


def _ends(strip: _Strip, left: float, right: float, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The last column left of a distance from the middle and the first right of another, (rows,) each, with `width`
    columns from them outwards.
    """
    count = strip.away.shape[1]
    first = np.clip((strip.away <= left).sum(1) - 1, width - 1, count - width - 1)
    last = np.minimum((strip.away < right).sum(1), count - width)
    return first, np.maximum(last, first + 1)


def _between(strip: _Strip, left: float, right: float, width: int) -> np.ndarray:
    """A strip's pixels, with those between two distances from the middle interpolated from `width` beside them."""
    first, last = _ends(strip, left, right, width)
    rows = np.arange(len(first))[:, None]
    before = strip.seen[rows, first[:, None] - np.arange(width)].mean(1)[:, None]
    after = strip.seen[rows, last[:, None] + np.arange(width)].mean(1)[:, None]
    t = _way(strip, first, last)
    return np.where((t > 0) & (t < 1), before + (after - before) * t, strip.seen)


def _way(strip: _Strip, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How far each column lies on the way between two, (rows, k, 1), [0, 1]."""
    count = np.arange(strip.away.shape[1])
    return ((count - first[:, None]) / (last - first)[:, None]).clip(0, 1).astype(np.float32)[..., None]


def _coverage(
    aways: Sequence[np.ndarray], aboves: Sequence[np.ndarray], scratch: Scratch
) -> tuple[Cover, float, float]:
    """How much a line covers at each distance from its middle, and where it ends on both sides.

    Args:
        aways: (rows, k) of frames, distances from the middle. aboves: (rows, k, 3), what is seen above what is behind.
    """
    away = np.concatenate(aways).ravel()
    above = np.concatenate(aboves).mean(2).ravel()
    above = -above if scratch.dark else above
    most = (_REACH - _FLANK) * scratch.scale
    bins = np.round(away / _FINE).astype(int) + round(most / _FINE)
    count = 2 * round(most / _FINE) + 1
    order = np.lexsort((above, bins))
    edges = np.searchsorted(bins[order], np.arange(count + 1))
    medians = above[order[np.minimum((edges[1:] + edges[:-1]) // 2, len(order) - 1)]]
    at = (np.arange(count) - count // 2) * _FINE
    filled = edges[1:] - edges[:-1] >= _ENOUGH
    shape = np.interp(at, at[filled], medians[filled])
    shape = np.convolve(shape, [0.25, 0.5, 0.25], "same")
    near = np.flatnonzero(np.abs(at) <= _NEAR * scratch.scale)
    top = near[np.argmax(shape[near])]
    first, last = top - _reached(shape[top::-1]), top + _reached(shape[top:])
    left, right = at[first] - 0.5, at[last] + 0.5
    shape = np.where((at > left) & (at < right), shape / max(shape[top], 1e-6), 0)
    return (lambda where: np.interp(where, at, shape, 0, 0).astype(np.float32)), left, right


def _reached(shape: np.ndarray) -> int:
    """How far a line reaches from its highest coverage on: until there is little, or more again, of the next thing."""
    over = np.flatnonzero((shape < _EDGE * shape[0]) | (shape > np.minimum.accumulate(shape) + _RISE * shape[0]))
    return int(over[0]) - 1 if len(over) else len(shape) - 1


def _opacity(strips: Sequence[_Strip], cover: Cover, left: float, right: float) -> tuple[float, np.ndarray]:
    """Opacity of a line where it covers most, and the tone that it adds there, (3,)."""
    behind = [_between(s, left, right, 2) for s in strips]
    covers = [cover(s.away) for s in strips]
    core = [c > 0.7 for c in covers]
    known = [k & ~s.full for k, s in zip(core, strips, strict=True)]
    if sum(map(np.sum, known)) > 0.2 * sum(map(np.sum, core)):
        core = known
    seen, under = (
        np.concatenate([x[k] for x, k in zip(y, core, strict=True)]) for y in ([s.seen for s in strips], behind)
    )
    cover = np.concatenate([c[k] for c, k in zip(covers, core, strict=True)])
    # What is behind is only interpolated, which alone makes the slope less than 1; beside the line it is as much less.
    width = right - left
    usual = []
    for side in (-1, 1):
        moved = [s._replace(away=s.away - side * (width + 2)) for s in strips]
        truth = np.concatenate([s.seen[np.abs(s.away) < 0.5].mean(1) for s in moved])
        guess = np.concatenate([_between(s, left, right, 2)[np.abs(s.away) < 0.5].mean(1) for s in moved])
        if len(truth):
            usual.append(_slope(guess, truth))
    slope = _slope(under.mean(1), seen.mean(1)) / np.clip(max(usual, default=1), 0.5, 1)
    opacity = float(np.clip((1 - slope) / cover.mean(), 0, 1))
    tone = np.median((seen - under) / cover[:, None] + opacity * under, axis=0)
    return opacity, tone.astype(np.float32)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    power = float((x * x).mean())
    return float((x * y).mean()) / power if power > 1e-4 else 1.0


def _joined(strip: _Strip, left: float, right: float, scale: int) -> np.ndarray:
    """A strip with what is between two distances from the middle interpolated along the slant at which both sides are
    most alike.
    """
    first, last = _ends(strip, left, right, 2)
    rows = np.arange(len(first))
    a = strip.seen[rows[:, None], first[:, None] - np.arange(2)].mean(1)
    b = strip.seen[rows[:, None], last[:, None] + np.arange(2)].mean(1)
    best = None
    for slant in range(-_SLANT * scale, _SLANT * scale + 1):
        above, below = (np.clip(rows + by, 0, len(rows) - 1) for by in (-slant, slant))
        cost = np.abs(a[above] - b[below]).mean(1)
        cost = cv2.blur(cost[:, None], (1, 4 * scale + 1))[:, 0] + _UPRIGHT * abs(slant) / scale
        if best is None:
            best, before, after = cost, a[above], b[below]
            continue
        better = cost < best
        best = np.where(better, cost, best)
        before = np.where(better[:, None], a[above], before)
        after = np.where(better[:, None], b[below], after)
    t = _way(strip, first, last)
    return before[:, None] * (1 - t) + after[:, None] * t


def _running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of `window` values about each, found at every _STEP-th and interpolated."""
    wide = np.pad(values, window // 2, mode="reflect")
    found = np.median(np.lib.stride_tricks.sliding_window_view(wide, window)[::_STEP], axis=1)
    return np.interp(np.arange(len(values)), np.arange(len(found)) * _STEP, found).astype(np.float32)
