"""What other shots show of a shot's sides: in a scene the same set-up returns, panned a little or from further back.

Shots near in the film and alike in their light are looked at in a few frames each. Features (ORB; E. Rublee et al.,
ICCV 2011) find the homography between the two pictures, dense flow refines it, and what fits lends its sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np

from restore_utils.core.model import Shot
from restore_utils.restorers.widen.camera import register
from restore_utils.restorers.widen.canvas import Canvas, working
from restore_utils.restorers.widen.geometry import Box
from restore_utils.restorers.widen.mosaic import Gather, Key, Sides

NEAR = 12
"""Shots before and after that may lend."""
ALIKE = 0.08
"""Mean difference in percentiles of the light, [0, 1], up to which two shots may be of one set."""
SHOTS = 6
"""Shots looked at, the most alike ones."""
PLACES = (0.1, 0.5, 0.9)
"""Frames looked at in each, by their place in it."""
FEATURES = 800
AGREE = 30
"""Features that must agree on one homography."""
WEIGHT = 0.5
"""Of what a shot lends, beside a view of the shot's own camera."""
LACKING = 0.1
"""Share of the sides that must be lacking."""


class Sisters:
    """Lends a shot's key frames what other shots of its film show."""

    def __init__(self, shot: Shot, box: Box, canvas: Canvas, size: tuple[int, int]) -> None:
        """
        Args:
            box: what is known of the shot's frames, in their pixels.
            size: width and height of the pictures that are registered.
        """
        self.shot, self.box, self.canvas, self.size = shot, box, canvas, size

    def __call__(self, key: Key, wanted: np.ndarray) -> Sides | None:
        """What other shots show of a key frame's sides; None where they show nothing.

        Args:
            wanted: (H2, W2), [0, 1]: how far nothing is known yet.
        """
        lacking = np.mean([wanted[strip.slices].mean() for strip in self.canvas.strips])
        if lacking < LACKING or not self.lenders:
            return None
        points, marks = _features(key.gray)
        gather, seen = Gather(key, self.canvas), 0.0
        for other, (their_points, their_marks) in self.lenders:
            guess = _matched(points, marks, their_points, their_marks)
            fit = None if guess is None else register(key.gray, other.gray, guess)
            if fit is not None:
                seen += gather.add(other, fit, WEIGHT)
        return gather.result() if seen else None

    @cached_property
    def lenders(self) -> list[tuple[Key, tuple[np.ndarray, np.ndarray | None]]]:
        """Frames of other shots, with their features."""
        keys = (self._key(n) for other in self._alike() for n in _places(other))
        return [(key, _features(key.gray)) for key in keys]

    def _alike(self) -> Iterator[Shot]:
        """Shots that may be of the same set, the most alike first."""
        shots = self.shot.film.shots
        own = next(k for k, other in enumerate(shots) if other.first == self.shot.first)
        near = [shots[k] for k in range(max(0, own - NEAR), min(len(shots), own + NEAR + 1)) if k != own]
        light = _light(self.shot)
        if light is None:
            return
        far = [(float(np.abs(_light(other) - light).mean()), k) for k, other in enumerate(near)]
        for distance, k in sorted(far)[:SHOTS]:
            if distance < ALIKE:
                yield near[k]

    def _key(self, n: int) -> Key:
        picture = working(self.shot.film.peek(n), self.box, self.canvas)
        small = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        return Key(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), small, picture)


def _light(shot: Shot) -> np.ndarray | None:
    """Percentiles of a shot's light, (9,), [0, 1]; None where they were not measured."""
    found = shot.stats.get("luma_percentiles")
    return None if found is None or not len(found) else np.asarray(found, float).mean(0)


def _places(shot: Shot) -> list[int]:
    length = shot.stop - shot.first - 1
    return sorted({shot.first + round(place * length) for place in PLACES})


def _features(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Places (N, 2) and descriptors (N, 32) of a picture's features; None where it has none."""
    points, marks = cv2.ORB_create(FEATURES, fastThreshold=8).detectAndCompute(gray, None)
    return np.float32([p.pt for p in points]).reshape(-1, 2), marks


def _matched(
    points: np.ndarray, marks: np.ndarray | None, their_points: np.ndarray, their_marks: np.ndarray | None
) -> np.ndarray | None:
    """The homography on which enough features agree."""
    if marks is None or their_marks is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(marks, their_marks)
    if len(matches) < AGREE:
        return None
    start = points[[m.queryIdx for m in matches]]
    end = their_points[[m.trainIdx for m in matches]]
    cv2.setRNGSeed(1)
    found, agreed = cv2.findHomography(start, end, cv2.RANSAC, 2.5, maxIters=2000)
    return found if found is not None and int(agreed.sum()) >= AGREE else None
