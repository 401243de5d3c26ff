"""The canvas on which a key frame's sides are worked out: the known picture, the strips beside it, and a margin.

The margin is there because other frames look past the key frame's own sides. All sizes are in working pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from torch import Tensor

from restore_utils.restorers.widen.camera import STEP
from restore_utils.restorers.widen.geometry import Box

LINES, COLUMNS = 576, 1024
"""The largest picture that is worked on as it is; of a larger one the sides are worked out smaller and enlarged."""


@dataclass(frozen=True)
class Canvas:
    """Where things lie on the canvas.

    Args:
        known: width and height of the known picture.
        before, after: pixels missing to its left and right, or above and below it.
        across: whether they are missing at left and right.
    """

    known: tuple[int, int]
    before: int
    after: int
    across: bool

    @classmethod
    def of(cls, out: tuple[int, int], box: Box) -> Canvas:
        """For a result of that size in which `box` is known, in the film's pixels."""
        across = box.height == out[1]
        scale = working_scale(box)
        ends = (box.left, out[0] - box.right) if across else (box.top, out[1] - box.bottom)
        known = max(1, round(box.width * scale)), max(1, round(box.height * scale))
        return cls(known, *(math.ceil(end * scale) for end in ends), across)

    @property
    def margin(self) -> int:
        return math.ceil(1.2 * STEP * max(self.known))

    @property
    def x(self) -> int:
        """Where the known picture begins."""
        return self.margin + (self.before if self.across else 0)

    @property
    def y(self) -> int:
        return self.margin + (0 if self.across else self.before)

    @property
    def width(self) -> int:
        return self.known[0] + 2 * self.margin + (self.before + self.after if self.across else 0)

    @property
    def height(self) -> int:
        return self.known[1] + 2 * self.margin + (0 if self.across else self.before + self.after)

    @property
    def box(self) -> Box:
        """The known picture."""
        return Box(self.x, self.y, self.x + self.known[0], self.y + self.known[1])

    @cached_property
    def strips(self) -> tuple[Box, ...]:
        """What is missing: one strip for each side where anything is, as long as the canvas, its margin included."""
        box, found = self.box, []
        if self.before:
            found.append(Box(0, 0, box.left, self.height) if self.across else Box(0, 0, self.width, box.top))
        if self.after:
            found.append(
                Box(box.right, 0, self.width, self.height)
                if self.across
                else Box(0, box.bottom, self.width, self.height)
            )
        return tuple(found)

    def positions(self, part: Box) -> np.ndarray:
        """(x, y) of a part's pixels, counted from the first pixel of the known picture, float32 (H, W, 2)."""
        x = np.arange(part.left, part.right, dtype=np.float32) - self.x
        y = np.arange(part.top, part.bottom, dtype=np.float32) - self.y
        return np.dstack(np.meshgrid(x, y))

    def laid(self, picture: np.ndarray) -> np.ndarray:
        """A known picture on the canvas, its last rows and columns repeated over all that is missing."""
        box = self.box
        sides = ((box.top, self.height - box.bottom), (box.left, self.width - box.right), (0, 0))
        return np.pad(picture, sides, mode="edge")


def working_scale(box: Box) -> float:
    """Working pixels to a pixel of the film."""
    return min(1.0, LINES / box.height, COLUMNS / box.width)


def working(frame: Tensor, box: Box, canvas: Canvas) -> np.ndarray:
    """The known part of a frame, (3, H, W), [0, 1], at the working size: RGB, uint8 (h, w, 3)."""
    known = frame[(slice(None), *box.slices)].permute(1, 2, 0).float().cpu().numpy() * 255
    picture = np.clip(np.rint(known), 0, 255).astype(np.uint8)
    if working_scale(box) != 1:
        picture = cv2.resize(picture, canvas.known, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture)
