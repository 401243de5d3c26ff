"""Where one shot ends and the next begins: PySceneDetect proposes, a look at both sides decides.

The detector sees small pictures without specks and with equalised tones, so that dust, grain and flicker weigh little
and a dark shot as much as a bright one. A flash, a burst of dust or a jump of the gate ends with the old picture again,
or with the same picture at another place: what is alike on both sides of a proposed cut is one shot.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ThresholdDetector

WIDTH, HEIGHT = 64, 48
SHORTEST = 5
"""Frames: nothing shorter is a shot."""
LOOK = 3
"""Frames on each side of a proposed cut that are held against each other."""
ALIKE = 0.8
"""Correlation above which two pictures show the same scene."""
BLANK = 4
"""Standard deviation in grey levels of 255 below which a picture is blank: a fade has ended there."""


def small(gray: np.ndarray) -> np.ndarray:
    """What is looked at of a frame, uint8 (H, W): uint8 (HEIGHT, WIDTH), without specks."""
    return cv2.medianBlur(cv2.resize(gray, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), 3)


class CutFinder:
    """Finds cuts in a stream of small pictures; frame n is the n-th that it is given."""

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate if rate > 0 else Fraction(24)
        self._hard = AdaptiveDetector(
            adaptive_threshold=2.0, min_scene_len=SHORTEST, window_width=2, min_content_val=18.0, luma_only=True
        )
        self._fades = ThresholdDetector(threshold=BLANK, min_scene_len=SHORTEST, fade_bias=0.0)
        self._recent: deque[np.ndarray] = deque(maxlen=2 * LOOK)
        self._n = 0
        self._cuts: set[int] = set()

    def add(self, gray: np.ndarray) -> None:
        """Look at the next frame, uint8 (H, W)."""
        self.add_small(small(gray))

    def add_small(self, small: np.ndarray) -> None:
        """The same of what `small` makes of it."""
        equal = cv2.equalizeHist(small)
        self._recent.append(equal)
        time = FrameTimecode(self._n, fps=self._rate)
        self._n += 1
        for cut in self._hard.process_frame(time, cv2.merge([equal] * 3)):
            if self._parted(cut.frame_num):
                self._cuts.add(cut.frame_num)
        # The detector compares a mean with its threshold: given the contrast it knows black and white, dim or fogged.
        contrast = np.full((1, 1, 3), float(small.std()))
        self._cuts.update(cut.frame_num for cut in self._fades.process_frame(time, contrast))

    def shots(self) -> list[tuple[int, int]]:
        """(first, stop) of each shot among the frames seen."""
        starts = [0]
        for cut in sorted(self._cuts):
            if cut - starts[-1] >= SHORTEST and self._n - cut >= 1:
                starts.append(cut)
        return list(zip(starts, [*starts[1:], self._n])) if self._n else []

    def _parted(self, cut: int) -> bool:
        """Whether nothing shortly before a cut is like anything shortly after it."""
        oldest = self._n - len(self._recent)
        before = [self._recent[n - oldest] for n in range(max(oldest, cut - LOOK), cut)]
        after = [self._recent[n - oldest] for n in range(cut, self._n)]
        return not any(_alike(a, b) for a in before for b in after)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two small pictures show the same, also shifted by up to an eighth of the picture."""
    patch = other[HEIGHT // 8 : -HEIGHT // 8, WIDTH // 8 : -WIDTH // 8]
    return float(cv2.matchTemplate(one, patch, cv2.TM_CCOEFF_NORMED).max()) > ALIKE
