"""The pass itself: frames are decoded in one thread and measured, small, in another; nothing is kept but numbers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.analyse import pictures
from restore_utils.analyse.analysis import PERCENTILES, Analysis
from restore_utils.analyse.cuts import CutFinder
from restore_utils.analyse.tint import chroma
from restore_utils.core.prefetch import prefetch
from restore_utils.errors import SourceError
from restore_utils.media.fields import FieldOrder
from restore_utils.media.inspect import Clip
from restore_utils.media.read import Reader

SIDE = 320
"""Longer side in pixels of the pictures that are measured."""
PROGRESS_EVERY = 10
SAME = 0.4
"""Grey levels of 255: the largest mean difference of a block between two frames that are surely the same picture."""
NEARLY_SAME = 3.0
"""The same where the frames around differ five times as much: a repeat that was compressed again."""
AGAIN = 0.35
"""Of what is left between frames when motion and light are made alike: the most, against the frame before and the frame
after, that a repeat leaves. Grain and dirt are new in every other frame."""
STILL = 0.15
"""Pixels of the small picture by which a repeat seems to move at most."""


class Measured(NamedTuple):
    """What is known of pictures that are no film in a file; see Analysis."""

    shots: list[tuple[int, int]]
    stats: dict[str, np.ndarray]
    border: tuple[int, int, int, int]


FIRST = (0.0, 0.0, 1.0, 0.0, 255.0, 255.0**2)
"""What is measured between frames, of a frame that none is before: motion, gain, offset, difference, residual."""


def analyse(clip: Clip, *, progress: Callable[[int, int | None], None] | None = None) -> Analysis:
    """Read a film once and measure every frame.

    Memory grows by about 100 bytes a frame. The reader's own index of the film is part of the result.

    Args:
        clip: from probe.
        progress: told now and then how many frames are done, and of how many (None: unknown).

    Raises:
        SourceError: no frame of the film can be decoded.
    """
    survey, fields = _Survey(clip.video.width, clip.video.height, clip.video.rate), FieldOrder()
    tints = array("f")
    total = clip.video.frames or (round(clip.duration * clip.video.rate) if clip.duration else None)
    with Reader(clip) as reader:
        with prefetch(_small(reader, survey.size, fields, tints), depth=8) as frames:
            for n, gray in enumerate(frames):
                survey.add(gray)
                if progress and n % PROGRESS_EVERY == 0:
                    progress(n, max(total, n) if total else None)
        if not survey.count:
            raise SourceError(f"no frame of {clip.path.name} can be decoded: the file is damaged, get another copy")
        index = reader.index()
    if progress:
        progress(survey.count, survey.count)
    return Analysis(
        index=index,
        shots=survey.cuts.shots(),
        stats=survey.stats() | {"chroma": np.frombuffer(tints, np.float32).reshape(-1, 3)[: survey.count].copy()},
        border=survey.border(),
        interlaced=fields.verdict(clip.video.field_order),
        lost=reader.lost,
        messages=tuple(reader.messages),
    )


def measure(frames: Iterable[np.ndarray], width: int, height: int, rate: Fraction) -> Measured:
    """The same measurements of pictures that come from elsewhere than a file.

    Args:
        frames: RGB, uint8, (height, width, 3) each.
        rate: frames per second; how long a flash may be before it is a cut depends on it.
    """
    survey = _Survey(width, height, rate)
    for frame in frames:
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        survey.add(cv2.resize(gray, survey.size, interpolation=cv2.INTER_AREA))
    return Measured(survey.cuts.shots(), survey.stats(), survey.border())


def _small(reader: Reader, size: tuple[int, int], fields: FieldOrder, tints: array) -> Iterator[np.ndarray]:
    """Small luma of each frame; on the way its lines are looked at for fields, and its chroma is measured."""
    for frame in reader:
        fields.add(frame.planes)
        tints.extend(chroma(frame.planes))
        yield frame.gray(*size)


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of the pictures that are measured of a film of that size."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class _Survey:
    """What has been measured so far."""

    def __init__(self, width: int, height: int, rate: Fraction) -> None:
        self.full = (width, height)
        self.size = small_size(width, height)
        self.cuts = CutFinder(rate)
        self.count = 0
        self._light, self._pairs, self._dirt = array("f"), array("f"), array("f")
        self._before: np.ndarray | None = None  # the last frame
        self._aligned: np.ndarray | None = None  # the one before it, moved onto it
        self._sum = np.zeros(self.size[::-1], np.float64)
        self._summed = 0

    def add(self, gray: np.ndarray) -> None:
        """Measure the next frame."""
        self.cuts.add(gray)
        self._light.extend(_light(gray))
        if self._before is None:
            self._pairs.extend(FIRST)
        else:
            self._pair(self._before, gray)
        if self._summed == 0 or gray.mean() > 24:
            self._sum += gray
            self._summed += 1
        self._before = gray
        self.count += 1

    def _pair(self, before: np.ndarray, here: np.ndarray) -> None:
        dx, dy = pictures.global_motion(before, here)
        aligned = pictures.shifted(before, dx, dy)
        gain, offset = pictures.exposure(aligned, here)
        left = pictures.residual(aligned, here, gain, offset)
        self._pairs.extend((dx, dy, gain, offset, pictures.block_difference(before, here), left))
        if self._aligned is not None:
            self._dirt.append(pictures.dirt(self._aligned, before, pictures.shifted(here, -dx, -dy)))
        else:
            self._dirt.append(0.0)
        self._aligned = aligned

    def stats(self) -> dict[str, np.ndarray]:
        """See Analysis."""
        light = np.frombuffer(self._light, np.float32).reshape(self.count, -1)
        pairs = np.frombuffer(self._pairs, np.float32).reshape(self.count, -1).copy()
        dirt = np.append(np.frombuffer(self._dirt, np.float32), 0.0)[: self.count].astype(np.float32)
        still = np.hypot(pairs[:, 0], pairs[:, 1]) < STILL
        pairs[:, 0] *= self.full[0] / self.size[0]
        pairs[:, 1] *= self.full[1] / self.size[1]
        starts = [first for first, _ in self.cuts.shots()]
        pairs[starts] = FIRST
        dirt[starts] = 0
        dirt[[first - 1 for first in starts if first]] = 0
        return {
            "luma": light[:, 0].copy(),
            "luma_std": light[:, 1].copy(),
            "luma_percentiles": light[:, 2:].copy(),
            "exposure": pairs[:, 2:4].copy(),
            "motion": pairs[:, :2].copy(),
            "duplicate": repeated(pairs[:, 4], pairs[:, 5], still),
            "dirt": dirt,
        }

    def border(self) -> tuple[int, int, int, int]:
        """Columns and rows that are black throughout, at most a quarter of each side: left, top, right, bottom."""
        mean = self._sum / max(self._summed, 1)
        limit = min(20.0, 0.25 * float(np.median(pictures.middle(mean))))
        columns = np.percentile(mean, 80, axis=0) < limit
        rows = np.percentile(mean, 80, axis=1) < limit

        def run(dark: np.ndarray, full: int) -> int:
            length = int(np.argmin(dark)) if not dark.all() else 0
            return int(np.ceil(min(length, len(dark) // 4) * full / len(dark)))

        width, height = self.full
        return run(columns, width), run(rows, height), run(columns[::-1], width), run(rows[::-1], height)


def repeated(differences: np.ndarray, residuals: np.ndarray, still: np.ndarray, window: int = 12) -> np.ndarray:
    """Which frames show the same picture as the one before, bool (N,).

    A repeat that was compressed again differs a little: it counts as one where the frames around differ far more.

    Args:
        differences: (N,) block differences to the frame before.
        residuals: (N,) what is left of them, see pictures.residual.
        still: (N,) bool, nothing has moved as a whole.
    """
    n = len(differences)
    wide = np.pad(residuals, 1, constant_values=np.inf)
    same = (differences < SAME) | still & (residuals < AGAIN * np.minimum(wide[:-2], wide[2:]))
    for i in np.flatnonzero(~same & (differences < NEARLY_SAME)):
        around = differences[max(0, i - window) : min(n, i + window + 1)]
        around = around[around > 2 * differences[i]]
        same[i] = len(around) >= 4 and differences[i] < 0.2 * np.median(around)
    return same


def _light(gray: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and percentiles of a picture's brightness, [0, 1]."""
    part = pictures.middle(gray)
    counts = cv2.calcHist([part], [0], None, [256], [0, 256]).ravel()
    levels = np.arange(256)
    total = counts.sum()
    mean = float(counts @ levels / total)
    deviation = float(np.sqrt(max(counts @ np.square(levels - mean) / total, 0)))
    below = np.concatenate([[0], np.cumsum(counts)]) / total * 100
    # Within a grey level the pixels are taken to be spread evenly: percentiles move by fractions of a level.
    percentiles = np.interp(PERCENTILES, below, np.arange(257) - 0.5)
    return np.concatenate([[mean, deviation], np.clip(percentiles, 0, 255)]) / 255
