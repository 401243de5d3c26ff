"""Motion-compensated temporal median: specks that are on one frame only are replaced by what both neighbours show.

Both neighbours are warped onto the frame. A pixel is a candidate when it lies outside everything that the neighbours
have within one pixel around it (the rank order test of M. J. Nadenau and S. K. Mitra, "Blotch and scratch detection in
image sequences based on rank ordered differences", 1996) by more than the local grain and misfit explain. Then each
blob of candidates has to prove that it is damage:

* around it both neighbours must fit the frame: where the motion could not be followed (limbs, water, leaves) nothing
  is touched;
* it must not be found elsewhere in the neighbours: what the neighbours show and each other do not, at places that a
  moving thing would have passed (a ball, a bird, snow), has the blob's shape, sign and contrast, and is put back.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import FrameModel, Result, Shot
from restore_utils.restorers.median import motion

REACH = 4
"""Frames to each side in which a distinct neighbour is looked for: film run through telecine repeats pictures."""
FLOOR = 6.0
"""Grey levels of 255: smaller specks are never seen."""
MISFIT_FACTOR = 2.0
"""How many times the local misfit of the neighbours a speck must stand out."""
FEW, MANY, MOST = 0.2, 0.8, 1.8
"""Sure specks on 100 x 100 pixels: up to FEW a frame counts as hardly dirty and what is doubtful is left alone; the
second of all pairs here holds at MANY, and what depends on chance goes on in the same way up to MOST."""
RING = (0.25, 0.3)
"""Mean misfit around a blob, as a share of its contrast, above which the motion is held to have failed; on a hardly
dirty and on a dirty frame, as all pairs here."""
RING_CAP = 0.6
"""A pixel's misfit counts in that mean up to this share of the contrast: neighbours have specks of their own."""
RING_OFF = (0.25, 0.3)
"""The motion has failed as well where a larger share of the ring misfits by more than 0.4 of the contrast."""
STAND_OUT = (1.15, 1.0)
"""How many times its limit a blob's mean contrast must be."""
SIZES = (2.6, 3.6, 4.6, 5.6, 6.6, 7.6)
BOTH_ALIKE = (0.72, 0.50, 0.42, 0.36, 0.28, 0.22), (0.78, 0.68, 0.68, 0.60, 0.50, 0.40)
ONE_ALIKE = (1.0, 1.0, 0.97, 0.90, 0.80, 0.55), (1.0, 1.0, 0.97, 0.93, 0.86, 0.78)
"""How alike a blob's counterparts in both neighbours, or in one of them, must be to tell a moving thing, by the binary
logarithm of its area in (reduced) pixels (SIZES): small blobs look alike by chance, and more so among many. Chosen so
that one speck in thirty is taken for a moving thing where a tenth of a percent, and where one percent of the picture is
dust."""
WEATHER = 0.5
"""Where half of the blobs of a frame have counterparts in both neighbours that are more alike than this, it snows."""
LARGEST = 0.03
"""Share of the picture above which a blob is no speck, but a flash, a splice or a failed match."""


class Median(FrameModel):
    """Removes what is on one frame only and leaves everything else exactly as it was.

    Frames at the ends of a shot have a neighbour on one side only and stay untouched.
    """

    name = "median"
    stage = "repair"
    before = after = REACH
    sees_film = False
    memory_per_pixel = 120
    on_host = True

    def __init__(self, strength: float = 1.0) -> None:
        """
        Args:
            strength: above 1 also fainter specks go, below 1 only stronger ones.
        """
        self.strength = strength

    def open(self, shot: Shot) -> np.ndarray:
        """Number of the picture that each frame shows: a repeated frame has its predecessor's, (N,) int64."""
        duplicate = np.asarray(shot.stats.get("duplicate", np.zeros(shot.stop - shot.first)), bool).copy()
        duplicate[:1] = False
        pictures = np.cumsum(~duplicate)
        return np.stack([np.arange(shot.first, shot.stop), pictures])

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: np.ndarray) -> Result:
        """See FrameModel; the mask is the share of each pixel that comes from the neighbours."""
        window = _Window(run)
        frames, masks = run[lo - at : hi - at].clone(), run.new_zeros((hi - lo, 1, *run.shape[-2:]))
        for n in range(lo, hi):
            neighbours = distinct_neighbours(state, n, at, at + len(run))
            if neighbours is None:
                continue
            repaired, mask = window.repair(n - at, neighbours[0] - at, neighbours[1] - at, self.strength)
            if mask.any():
                frames[n - lo] = torch.from_numpy(repaired).permute(2, 0, 1).to(run)
                masks[n - lo, 0] = torch.from_numpy(mask).to(run)
        return Result(frames, masks)


def distinct_neighbours(state: np.ndarray, n: int, at: int, end: int) -> tuple[int, int] | None:
    """The nearest frames before and after n that show another picture; where all in reach show the same, the next ones.

    None when there is no frame on one of the sides.
    """
    first, pictures = int(state[0, 0]), state[1]
    before = range(n - 1, max(at, n - REACH) - 1, -1)
    after = range(n + 1, min(end, n + REACH + 1))
    if not len(before) or not len(after):
        return None
    here = pictures[n - first]
    return (
        next((k for k in before if pictures[k - first] != here), n - 1),
        next((k for k in after if pictures[k - first] != here), n + 1),
    )


class _Window:
    """Some neighbouring frames, with what they share computed once."""

    def __init__(self, run: Tensor) -> None:
        self.run = run
        self._rgb: dict[int, np.ndarray] = {}
        self._luma: dict[int, np.ndarray] = {}
        self._smooth: dict[int, np.ndarray] = {}
        self._flow: dict[tuple[int, int], np.ndarray] = {}

    def rgb(self, i: int) -> np.ndarray:
        if i not in self._rgb:
            self._rgb[i] = self.run[i].permute(1, 2, 0).contiguous().float().cpu().numpy()
        return self._rgb[i]

    def luma(self, i: int) -> np.ndarray:
        if i not in self._luma:
            self._luma[i] = motion.luma(self.rgb(i))
        return self._luma[i]

    def flow(self, i: int, j: int) -> np.ndarray:
        if (i, j) not in self._flow:
            for k in (i, j):
                if k not in self._smooth:
                    self._smooth[k] = motion.despeckled(self.luma(k))
            self._flow[i, j] = motion.flow(self._smooth[i], self._smooth[j])
        return self._flow[i, j]

    def repair(self, i: int, before: int, after: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Frame i without its specks, float32 (H, W, 3), and how far each pixel was changed, float32 (H, W)."""
        here = self.luma(i)
        flows = [self.flow(i, before), self.flow(i, after)]
        off = [motion.inconsistency(f, self.flow(k, i)) for f, k in zip(flows, (before, after))]
        warped = [
            _levelled(motion.warp(self.luma(k), f, cv2.INTER_LINEAR), here) for f, k in zip(flows, (before, after))
        ]
        sides = _Sides(here, *warped, strength)
        # A speck has no counterpart: the flow inside it and close by is taken from what lies around it.
        specks = cv2.dilate((sides.spike > sides.limit).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.float32)
        flows = [motion.mended(f, np.exp(-0.5 * o * o) * (1 - specks)) for f, o in zip(flows, off)]
        warped = [_levelled(motion.warp(self.luma(k), f), here) for f, k in zip(flows, (before, after))]
        mask = _feathered(proven(_Sides(here, *warped, strength)))
        if not mask.any():
            return self.rgb(i), mask
        fill = (motion.warp(self.rgb(before), flows[0]) + motion.warp(self.rgb(after), flows[1])) / 2
        fill += _brightness(here - motion.luma(fill))[..., None] / 255
        return _blend(self.rgb(i), fill, mask), mask


class _Sides:
    """A frame between its two warped neighbours, in luma: where and how much it differs from both."""

    def __init__(self, here: np.ndarray, before: np.ndarray, after: np.ndarray, strength: float) -> None:
        box = np.ones((3, 3), np.uint8)
        high = np.maximum(cv2.dilate(before, box), cv2.dilate(after, box))
        low = np.minimum(cv2.erode(before, box), cv2.erode(after, box))
        self.spike = np.maximum(np.maximum(here - high, low - here), 0)
        """How far a pixel lies outside of all that the neighbours show close to it."""
        self.contrast = here - (before + after) / 2
        self.apart = before - after
        """What one neighbour shows and the other does not."""
        one, other = here - before, here - after
        self.least = np.where(one * other > 0, np.minimum(np.abs(one), np.abs(other)), 0)
        self.misfit = np.maximum(np.abs(one), np.abs(other))
        self.level = _local(np.minimum(self.misfit, 64))
        self.limit = (FLOOR + MISFIT_FACTOR * self.level) / strength


def proven(sides: _Sides) -> np.ndarray:
    """Which pixels are damage, bool (H, W)."""
    apart = np.abs(sides.apart)
    seeds = (sides.spike > sides.limit) & (cv2.GaussianBlur(apart, (0, 0), 1.0) < 0.5 * sides.spike + sides.level)
    region = seeds | (sides.least > np.maximum(0.4 * sides.limit, 2 * apart))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[labels[seeds]] = True
    keep[0] = False
    keep &= boxes[:, cv2.CC_STAT_AREA] <= LARGEST * region.size
    blobs = _Blobs(sides, labels, boxes, keep)
    density = np.clip(np.count_nonzero(blobs.fit(0.0)) / region.size * 1e4, FEW, MOST)
    dirty = float(np.log(density / FEW) / np.log(MANY / FEW))
    keep = blobs.fit(min(dirty, 1.0))
    kept = np.flatnonzero(keep)
    alike = np.array([blobs.counterparts(k) for k in kept]).reshape(-1, 2)
    size = np.log2(boxes[kept, cv2.CC_STAT_AREA] / np.square(blobs.shrink[kept]))
    both, one = (_between([np.interp(size, SIZES, t) for t in tables], dirty) for tables in (BOTH_ALIKE, ONE_ALIKE))
    if len(kept) >= 12 and np.median(alike[:, 0]) > WEATHER:
        both = np.minimum(both, WEATHER)
    keep[kept[(alike[:, 0] > both) | (alike[:, 1] > one)]] = False
    return keep[labels]


class _Blobs:
    """Candidates, each a connected region; `dirty` is 0 to 1, how likely damage is on this frame at all."""

    def __init__(self, sides: _Sides, labels: np.ndarray, boxes: np.ndarray, keep: np.ndarray) -> None:
        self.sides, self.labels, self.boxes, self.keep = sides, labels, boxes, keep
        chosen = np.where(keep[labels], labels, 0)
        rank = chosen.astype(np.float32)  # OpenCV dilates no 32-bit integers; exact up to 2 ** 24 blobs
        near = cv2.dilate(rank, np.ones((5, 5), np.uint8))
        ring = np.where(near == 0, cv2.dilate(rank, np.ones((15, 15), np.uint8)), 0).astype(np.int32)
        side = boxes[:, (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT)].max(1)
        self.shrink = np.select([side <= 24, side <= 56], [1, 2], 4)
        """How far blobs are reduced before their counterparts are looked for."""
        self.surrounded = np.bincount(ring.ravel(), minlength=len(keep)) > 0
        self.contrast = self._mean(np.abs(sides.contrast), chosen)
        self.limit = self._mean(sides.limit, chosen)
        beside = self.contrast[ring]
        self.around = self._mean(np.minimum(sides.misfit, RING_CAP * beside), ring)
        self.off = self._mean(sides.misfit > 0.4 * beside, ring)

    def _mean(self, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
        inside = groups > 0
        n = np.bincount(groups[inside], minlength=len(self.keep))
        return np.bincount(groups[inside], values[inside], len(self.keep)) / np.maximum(n, 1)

    def fit(self, dirty: float) -> np.ndarray:
        """For each blob whether it stands out and both neighbours fit the frame around it."""
        fits = (self.around < _between(RING, dirty) * self.contrast) & (self.off < _between(RING_OFF, dirty))
        return self.keep & self.surrounded & fits & (self.contrast > _between(STAND_OUT, dirty) * self.limit)

    def counterparts(self, k: int) -> tuple[float, float]:
        """How much blob k is like something that both neighbours, at opposite places, and that one of them shows.

        1 is equal in shape and contrast, 0 unlike.
        """
        x, y, width, height = (int(v) for v in self.boxes[k][:4])
        shrink = int(self.shrink[k])
        margin, reach = 2 * shrink, 16 * shrink + 3 * max(width, height)
        close = (x - margin, y - margin, x + width + margin, y + height + margin)
        far = (close[0] - reach, close[1] - reach, close[2] + reach, close[3] + reach)
        weight = cv2.dilate((_cut(self.labels, *close) == k).astype(np.float32), np.ones((3, 3), np.uint8))
        shape, field = _cut(self.sides.contrast, *close) * weight, _cut(self.sides.apart, *far)
        if shrink > 1:
            shape, weight, field = (
                cv2.resize(p, (p.shape[1] // shrink, p.shape[0] // shrink), interpolation=cv2.INTER_AREA)
                for p in (shape, weight, field)
            )
        # 2ab / (aa + bb): 1 where shape and contrast are the same, -1 where the contrast is reversed.
        match = 2 * cv2.matchTemplate(field, shape, cv2.TM_CCORR)
        match /= cv2.matchTemplate(field * field, weight, cv2.TM_CCORR) + float((shape * shape).sum()) + 1e-3
        # What is found after the frame has the opposite sign in `apart` and lies the opposite way.
        opposite = cv2.dilate(-match[::-1, ::-1], np.ones((7, 7), np.uint8))
        return float(np.minimum(match, opposite).max()), float(np.abs(match).max())


def _between(pair: Sequence, share: float):
    return pair[0] + (pair[1] - pair[0]) * share


def _cut(picture: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A part of a picture, zero where it reaches beyond the border."""
    height, width = picture.shape
    inner = picture[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]
    return cv2.copyMakeBorder(
        inner, max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width), cv2.BORDER_CONSTANT, value=0
    )


def _local(values: np.ndarray, block: int = 8) -> np.ndarray:
    """Level of a quantity around each pixel, blind to specks: the median of 5 x 5 means over blocks."""
    height, width = values.shape
    means = cv2.resize(values, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.medianBlur(means, 5), (width, height), interpolation=cv2.INTER_LINEAR)


def _brightness(difference: np.ndarray) -> np.ndarray:
    """The part of a difference between frames that is flicker: slow over the picture, and not too large."""
    return _local(np.clip(difference, -40, 40), block=max(8, difference.shape[1] // 40))


def _levelled(neighbour: np.ndarray, here: np.ndarray) -> np.ndarray:
    return neighbour + _brightness(here - neighbour)


def _feathered(damage: np.ndarray) -> np.ndarray:
    """A soft mask, float32 (H, W), that covers the damage with a margin of two pixels and is exactly 0 elsewhere."""
    wide = cv2.dilate(damage.astype(np.float32), np.ones((5, 5), np.uint8))
    soft = cv2.GaussianBlur(wide, (5, 5), 0)
    soft[soft < 0.02] = 0
    return soft


def _blend(frame: np.ndarray, fill: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The fill where the mask is 1, the frame's own samples, bit for bit, where it is 0."""
    changed = mask > 0
    out = frame.copy()
    out[changed] += (fill[changed] - frame[changed]) * mask[changed, None]
    return np.clip(out, 0, 1)
