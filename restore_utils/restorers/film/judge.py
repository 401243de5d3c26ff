"""Which spots of a frame are damage: a small network that judges each as a whole.

FilmNet judges pixels, and so misses faint dirt that only stands out as a whole, and takes parts of hands that are fast.
A spot has more to go by: its size and outline, how evenly it stands out of each neighbour, how much the motion about it
can be believed, what else goes on nearby. Spots are those that FilmNet sees, and all others that stand out of the
nearest frames on both sides, for which Kokaram's detectors (SDIp, ROD; A. Kokaram, Motion Picture Restoration, 1998)
have a threshold; here what comes of them is learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count as counted
from itertools import takewhile
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.film.align import NEAREST, Window

MAYBE = 0.2
"""A spot that FilmNet sees reaches as far as its chance of damage."""
SEED, EXTENT = 4.0, 2.0
"""Times the noise: how far a spot stands out of both nearest frames somewhere, and everywhere. They are low: what is
too much here is for the judge to tell."""
RIGHT = (0.95, 2 / 3, 0.5)
"""The dial of sensitivity: at 0, 0.5 and 1, this share of the spots that are found on clips held out from the training
is damage. A judge's `dial` are the logits from which on a spot is taken for damage so."""
PREFIX = "spots."  # of the names of the judge's tensors in a weight file
LINES = 480  # rows of the picture that areas are counted in


class Spots(NamedTuple):
    """What may be damage in a frame."""

    labels: np.ndarray  # (H, W) int32; 0: between them
    seen: int  # the labels up to this one are FilmNet's
    areas: np.ndarray  # (K + 1,) pixels of each label
    excess: np.ndarray  # (H, W) float32: how far out of the nearest frames, over noise

    @property
    def count(self) -> int:
        return len(self.areas) - 1


def candidates(chance: np.ndarray, window: Window) -> Spots:
    """The spots of a frame.

    Args:
        chance: (H, W) float32, of damage, as FilmNet has it.
        window: in which it was found.
    """
    height, width = chance.shape
    excess = np.abs(window.planes[7]) / cv2.resize(window.noise, (width, height), interpolation=cv2.INTER_LINEAR)
    seen = (chance > MAYBE).astype(np.uint8)
    first, labels, boxes, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA]
    both = all(window.valid[s] == 1 for s in NEAREST)
    if both:
        # Of one way at a time: a dark spot beside a bright one is another.
        free = cv2.dilate(seen, np.ones((3, 3), np.uint8)) == 0
        for way in (window.planes[7] > 0, window.planes[7] < 0):
            count, more, boxes, _ = cv2.connectedComponentsWithStats(
                ((excess > EXTENT) & free & way).astype(np.uint8), connectivity=8
            )
            seeded = np.zeros(count, bool)
            seeded[more[(excess > SEED) & free & way]] = True
            seeded[0] = False
            number = np.zeros(count, np.int32)
            number[seeded] = len(areas) + np.arange(np.count_nonzero(seeded))
            more = number[more]
            labels = np.where(more > 0, more, labels)
            areas = np.concatenate((areas, boxes[seeded, cv2.CC_STAT_AREA]))
    return Spots(labels, first - 1, areas, excess)


FEATURES = 41
CLIP = 3.0  # standard deviations, beyond which a feature says no more: films are cleaner, or dirtier, than any training
FILL, SLENDER = 27, 28  # of the box around a spot, the share it fills and the logarithm of width over height
CONTRAST = 9  # which of them is the logarithm of how far a spot stands out, six times of white
_SMALLEST, _MOST = 12, 48
"""Pixels of a spot, and spots of a frame, the strongest first, that are looked for elsewhere."""


def features(spots: Spots, logit: np.ndarray, lines: np.ndarray, window: Window) -> np.ndarray:
    """What is known of each spot, (K, FEATURES) float32.

    Args:
        spots: of `candidates`.
        logit: (H, W) float32, FilmNet's chance before the logistic function.
        lines: (H / 16, W) float32, the same of a long scratch.
        window: in which they were found.
    """
    height, width = logit.shape
    count = spots.count
    y, x = np.nonzero(spots.labels)
    of = spots.labels[y, x] - 1
    areas = np.maximum(spots.areas[1:], 1).astype(np.float32)
    scale = LINES / height

    def mean(values: np.ndarray, places: np.ndarray = of, many: np.ndarray = areas) -> np.ndarray:
        return (np.bincount(places, values, count) / many).astype(np.float32)

    def most(values: np.ndarray) -> np.ndarray:
        out = np.full(count, -np.inf, np.float32)
        np.maximum.at(out, of, values)
        return out

    half = y // 2, x // 2
    noise = window.noise[half]
    planes, evidence = window.planes, window.evidence
    near, every = planes[7][y, x], planes[8][y, x]
    apart = [planes[3 + s][y, x] for s in NEAREST]
    apart = np.abs(apart[0] - apart[1]) if all(window.valid[s] for s in NEAREST) else np.zeros_like(near)
    each = [mean(np.abs(planes[3 + s][y, x]) / noise) for s in range(4) if window.valid[s]]
    # About a spot: the pixels that a dilation adds, given to the spot that comes first there.
    ring = cv2.dilate(spots.labels.astype(np.float32), np.ones((9, 9), np.uint8)).astype(np.int32)
    ring[spots.labels > 0] = 0
    ry, rx = np.nonzero(ring)
    ring_of = ring[ry, rx] - 1
    ring_many = np.maximum(np.bincount(ring_of, None, count), 1).astype(np.float32)
    rhalf = ry // 2, rx // 2

    def about(values: np.ndarray) -> np.ndarray:
        return mean(values, ring_of, ring_many)

    left, right = np.full(count, width), np.full(count, -1)
    top, bottom = np.full(count, height), np.full(count, -1)
    np.minimum.at(left, of, x)
    np.maximum.at(right, of, x)
    np.minimum.at(top, of, y)
    np.maximum.at(bottom, of, y)
    wide, high = (right - left + 1).astype(np.float32), (bottom - top + 1).astype(np.float32)
    busy = cv2.boxFilter((spots.labels > 0).astype(np.float32), -1, (65, 65))
    busier = cv2.boxFilter((spots.excess > EXTENT).astype(np.float32), -1, (33, 33))
    luma = planes[0]
    steps = cv2.absdiff(luma, cv2.blur(luma, (3, 3)))
    value = luma[y, x]
    flat = np.sqrt(np.maximum(mean(value**2) - mean(value) ** 2, 0))
    rise = cv2.absdiff(planes[7], cv2.blur(planes[7], (3, 3)))[y, x]
    excess = spots.excess[y, x]
    own = mean(np.abs(near))
    columns = [
        np.log(areas * scale**2),
        (np.arange(count) < spots.seen).astype(np.float32),
        mean(logit[y, x]),
        most(logit[y, x]),
        about(logit[ry, rx]),
        np.log1p(mean(excess)),
        np.log1p(most(excess)),
        np.log1p(mean(np.abs(every) / noise)),
        np.log1p(np.min(each, 0) if each else np.zeros(count)),
        np.log(own + 0.01),
        np.abs(mean(np.sign(near))),
        mean(np.sign(near)),
        mean(np.log(noise)),
        np.log1p(mean(apart / noise)),
        mean(apart) / (own + 0.02),
        mean(evidence[4][half]),
        mean(evidence[5][half]),
        mean(evidence[6][half]),
        mean(evidence[7][half]),
        np.log1p(mean(np.abs(evidence[8][half]) * 1.5 / noise)),
        np.log1p(mean(np.abs(evidence[9][half]) * 1.5 / noise)),
        np.log1p(about(spots.excess[ry, rx])),
        about(evidence[4][rhalf]),
        about(evidence[5][rhalf]),
        about(evidence[6][rhalf]),
        np.log1p(about(np.abs(planes[3 + NEAREST[0]][ry, rx]) / window.noise[rhalf])),
        np.log1p(about(np.abs(planes[3 + NEAREST[1]][ry, rx]) / window.noise[rhalf])),
        areas / (wide * high),
        np.log(wide / high),
        high / height,
        ((left == 0) | (top == 0) | (right == width - 1) | (bottom == height - 1)).astype(np.float32),
        np.sqrt(mean(busy[y, x])),
        np.sqrt(mean(busier[y, x])),
        np.log(mean(rise) / (own + 0.01) + 0.02),
        np.log(flat + 0.01),
        np.log(about(steps[ry, rx]) + 0.003),
        mean(lines[np.minimum(y * len(lines) // height, len(lines) - 1), x]),
        np.sqrt(np.maximum(mean(near**2) - mean(near) ** 2, 0)) / (own + 0.02),
        *_elsewhere(spots, window, (left, top, wide.astype(int), high.astype(int)), areas * own),
    ]
    return np.nan_to_num(np.stack(columns, 1).astype(np.float32))


def _elsewhere(
    spots: Spots, window: Window, boxes: tuple[np.ndarray, ...], strength: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of what makes a spot stand out is found near it in the frame before, in the frame after, and as far to
    one side before as to the other after; (K,) each, [-1, 1].

    Dust is there for one frame. What moves stands beside its place in the frames before and after, and is new there:
    a grey speck on a grey wall is like the wall beside it, but that is not new.
    """
    out = np.full((3, spots.count), -1, np.float32)
    if not all(window.valid[s] == 1 for s in NEAREST):
        return tuple(out)
    height, width = (n // 2 for n in spots.labels.shape)  # at half size, which is plenty and much quicker
    reach = max(height // 6, 12)
    side = 2 * reach + 1
    down, right = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    strongest = np.flatnonzero(spots.areas[1:] >= _SMALLEST)
    strongest = strongest[np.argsort(-strength[strongest])][:_MOST]
    luma = 3 * _halved(window.planes[0])  # in the measure of the differences
    gaps = [_halved(window.planes[3 + slot]) for slot in NEAREST]
    for spot in strongest:
        x, y, wide, high = (int(v[spot]) for v in boxes)
        x, y, wide, high = x // 2, y // 2, (x + wide + 1) // 2 - x // 2, (y + high + 1) // 2 - y // 2
        gone = np.hypot(down / high, right / wide) > 0.6  # nearer, it would cover itself
        if wide > width // 4 or high > height // 4 or not gone.any():
            continue
        there = np.s_[2 * y : 2 * (y + high), 2 * x : 2 * (x + wide)]
        least = _halved(np.where(spots.labels[there] == spot + 1, window.planes[7][there], 0))
        shape, weight = luma[y : y + high, x : x + wide], np.abs(least)
        own = float(np.sum(weight * least**2)) + 1e-6
        top, left = max(y - reach, 0), max(x - reach, 0)
        here = np.s_[top : y + high + reach, left : x + wide + reach]
        above, before = reach - (y - top), reach - (x - left)
        match = []
        for gap in gaps:
            picture, new = luma[here] - gap[here], gap[here] ** 2
            padding = above, high + 2 * reach - above - new.shape[0], before, wide + 2 * reach - before - new.shape[1]
            picture, new = (cv2.copyMakeBorder(part, *padding, cv2.BORDER_CONSTANT) for part in (picture, new))
            error = np.sum(weight * shape**2) - 2 * cv2.matchTemplate(picture, weight * shape, cv2.TM_CCORR)
            error += cv2.matchTemplate(picture**2, weight, cv2.TM_CCORR)
            new = cv2.matchTemplate(new, weight, cv2.TM_CCORR)
            match.append(np.where(gone, 1 - error / np.maximum(np.minimum(new, own), 1e-6), -1).reshape(side, side))
        turn = 2 * (2 + reach // 4) + 1
        behind = cv2.dilate(match[0][::-1, ::-1], np.ones((turn, turn), np.uint8))
        both = np.minimum(match[1], behind)
        out[:, spot] = [max(float(m.max()), -1) for m in (*match, both)]
    return tuple(out)


def _halved(plane: np.ndarray) -> np.ndarray:
    """A plane of even size at half of it, by means."""
    height, width = plane.shape
    return cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


class Judge:
    """How likely each spot is damage: a perceptron on its features, in float32 on the processor.

    Args:
        tensors: mean and std (FEATURES,), N.weight (out, in) and N.bias (out,) of its layers, dial (3,), see RIGHT.
            Without any, as while a network is trained, FilmNet's own mean over a spot is taken, and no spot but its
            own.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.dial = tuple(tensors.get("dial", np.float32([2.0, 0.0, -2.0])).tolist())
        self.mean, self.std = (tensors.get(name) for name in ("mean", "std"))
        names = takewhile(tensors.__contains__, (f"{n}.weight" for n in counted()))
        self.layers = [(tensors[name], tensors[name.replace("weight", "bias")]) for name in names]

    def __call__(self, known: np.ndarray) -> np.ndarray:
        """Logit of each spot (K,) of what is known of it (K, FEATURES)."""
        if not self.layers:
            return np.where(known[:, 1] > 0, known[:, 2], -20)
        x = np.clip((known - self.mean) / self.std, -CLIP, CLIP)
        for n, (weight, bias) in enumerate(self.layers):
            x = x @ weight.T + bias
            if n + 1 < len(self.layers):
                x = np.maximum(x, 0)
        return x[:, 0]
