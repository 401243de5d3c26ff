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
from restore_utils.analyse.cuts import CutFinder, small
from restore_utils.analyse.tint import chroma
from restore_utils.core.prefetch import prefetch
from restore_utils.errors import SourceError
from restore_utils.media.fields import FieldOrder, FieldPair, FieldPairs
from restore_utils.media.inspect import Clip
from restore_utils.media.read import Frame, FrameIndex, Reader

SIDE = 320
"""Longer side in pixels of the pictures that are measured."""
PROGRESS_EVERY = 10
DARK = 24
"""Mean grey level of 255 up to which a picture is too dark to tell where the gate ends."""
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


class Seen(NamedTuple):
    """What is looked at of one frame by itself, and of its fields beside those of the frame before."""

    gray: np.ndarray
    """uint8 (h, w), the small picture that is measured."""
    tint: tuple[float, float, float]
    fields: FieldPair | None


class Fact(NamedTuple):
    """What is measured of one frame and its two neighbours; all that is known of a film follows from these in turn."""

    gray: np.ndarray
    small: np.ndarray
    """uint8 (HEIGHT, WIDTH) of analyse.cuts."""
    light: np.ndarray
    pair: tuple[float, ...]
    """As FIRST: against the frame before."""
    dirt: float
    tint: tuple[float, float, float]
    fields: FieldPair | None


def analyse(clip: Clip, *, progress: Callable[[int, int | None], None] | None = None) -> Analysis:
    """Read a film once and measure every frame.

    Memory grows by about 100 bytes a frame. The reader's own index of the film is part of the result.

    Args:
        clip: from probe.
        progress: told now and then how many frames are done, and of how many (None: unknown).

    Raises:
        SourceError: no frame of the film can be decoded.
    """
    survey = Survey(clip.video.width, clip.video.height, clip.video.rate)
    total = clip.video.frames or (round(clip.duration * clip.video.rate) if clip.duration else None)
    with Reader(clip) as reader:
        with prefetch(look(reader, survey.size), depth=8) as frames:
            for n, fact in enumerate(facts(frames)):
                survey.add(fact)
                if progress and n % PROGRESS_EVERY == 0:
                    progress(n, max(total, n) if total else None)
        if not survey.count:
            raise SourceError(f"no frame of {clip.path.name} can be decoded: the file is damaged, get another copy")
        index = reader.index()
    if progress:
        progress(survey.count, survey.count)
    return survey.analysis(clip, index, reader.lost, reader.messages)


def measure(frames: Iterable[np.ndarray], width: int, height: int, rate: Fraction) -> Measured:
    """The same measurements of pictures that come from elsewhere than a file.

    Args:
        frames: RGB, uint8, (height, width, 3) each.
        rate: frames per second; how long a flash may be before it is a cut depends on it.
    """
    survey = Survey(width, height, rate)

    def seen() -> Iterator[Seen]:
        for frame in frames:
            gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            yield Seen(cv2.resize(gray, survey.size, interpolation=cv2.INTER_AREA), (0.0, 0.0, 0.0), None)

    for fact in facts(seen()):
        survey.add(fact)
    return Measured(survey.cuts.shots(), survey.stats(), survey.light.border(survey.full))


def look(frames: Iterable[Frame], size: tuple[int, int]) -> Iterator[Seen]:
    """Small luma of each frame; on the way its lines are looked at for fields, and its chroma is measured."""
    pairs = FieldPairs()
    for frame in frames:
        fields = pairs.measure(frame.planes)
        yield Seen(frame.gray(*size), chroma(frame.planes), fields)


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of the pictures that are measured of a film of that size."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def facts(frames: Iterable[Seen]) -> Iterator[Fact]:
    """Measure frames that follow one another; each fact comes when the frame behind it has been seen."""
    before: Seen | None = None
    aligned: np.ndarray | None = None  # the frame before the last, moved onto it
    waiting: Fact | None = None
    for here in frames:
        pair = FIRST
        if before is not None:
            dx, dy = pictures.global_motion(before.gray, here.gray)
            moved = pictures.shifted(before.gray, dx, dy)
            gain, offset = pictures.exposure(moved, here.gray)
            left = pictures.residual(moved, here.gray, gain, offset)
            pair = (dx, dy, gain, offset, pictures.block_difference(before.gray, here.gray), left)
            if aligned is not None:
                dirt = pictures.dirt(aligned, before.gray, pictures.shifted(here.gray, -dx, -dy))
                waiting = waiting._replace(dirt=dirt)
            aligned = moved
            yield waiting
        waiting = Fact(here.gray, small(here.gray), _light(here.gray), pair, 0.0, here.tint, here.fields)
        before = here
    if waiting is not None:
        yield waiting


class Light:
    """The mean picture of a film, by which the black around its gate is known."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.sum = np.zeros(size[::-1], np.float64)  # of whole numbers: exact, in whatever order they come
        self.count = 0

    def add(self, gray: np.ndarray, *, first: bool) -> None:
        """Take a frame; dark ones do not count, but for the first of the film."""
        if first or gray.mean() > DARK:
            self.sum += gray
            self.count += 1

    def border(self, full: tuple[int, int]) -> tuple[int, int, int, int]:
        """Columns and rows that are black throughout, at most a quarter of each side: left, top, right, bottom.

        Args:
            full: width and height of the film.
        """
        mean = self.sum / max(self.count, 1)
        limit = min(20.0, 0.25 * float(np.median(pictures.middle(mean))))
        columns = np.percentile(mean, 80, axis=0) < limit
        rows = np.percentile(mean, 80, axis=1) < limit

        def run(dark: np.ndarray, full: int) -> int:
            length = int(np.argmin(dark)) if not dark.all() else 0
            return int(np.ceil(min(length, len(dark) // 4) * full / len(dark)))

        width, height = full
        return run(columns, width), run(rows, height), run(columns[::-1], width), run(rows[::-1], height)


class Survey:
    """What the facts of a film's frames, taken in turn, say of it."""

    def __init__(self, width: int, height: int, rate: Fraction) -> None:
        self.full = (width, height)
        self.size = small_size(width, height)
        self.cuts, self.fields, self.light = CutFinder(rate), FieldOrder(), Light(self.size)
        self.count = 0
        self._light, self._pairs = array("f"), array("f")
        self._dirt, self._tints = array("f"), array("f")

    def add(self, fact: Fact) -> None:
        """Take the next frame."""
        self.light.add(fact.gray, first=self.count == 0)
        self.add_measured(fact.small, fact.light, fact.pair, fact.dirt, fact.tint, fact.fields)

    def add_measured(
        self,
        small: np.ndarray,
        light: Iterable[float],
        pair: Iterable[float],
        dirt: float,
        tint: Iterable[float],
        fields: FieldPair | None,
    ) -> None:
        """Take the next frame, whose light is counted already."""
        self.cuts.add_small(small)
        self.fields.count(fields)
        self._light.extend(light)
        self._pairs.extend(pair)
        self._dirt.append(dirt)
        self._tints.extend(tint)
        self.count += 1

    def analysis(self, clip: Clip, index: FrameIndex, lost: int, messages: Iterable[str]) -> Analysis:
        """All of it, when all frames were taken."""
        return Analysis(
            index=index,
            shots=self.cuts.shots(),
            stats=self.stats() | {"chroma": np.frombuffer(self._tints, np.float32).reshape(-1, 3).copy()},
            border=self.light.border(self.full),
            interlaced=self.fields.verdict(clip.video.field_order),
            lost=lost,
            messages=tuple(messages),
        )

    def stats(self) -> dict[str, np.ndarray]:
        """See Analysis."""
        light = np.frombuffer(self._light, np.float32).reshape(self.count, -1)
        pairs = np.frombuffer(self._pairs, np.float32).reshape(self.count, -1).copy()
        dirt = np.frombuffer(self._dirt, np.float32).copy()
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
