"""Whether frames are woven from two fields of different times, and which field comes first."""

from __future__ import annotations

import numpy as np

MOVED = 12
"""Grey levels of 255 that a pixel must change by between two frames to tell anything."""
ENOUGH = 2000
"""Pixels that must have moved before a verdict is given."""


class FieldTest:
    """Collects evidence from pairs of consecutive frames.

    In a moving place of a woven frame a line differs more from the lines next to it, which are of the other field, than
    from those two lines away. Which field is older shows when fields of two frames are woven the other way: those that
    are neighbours in time comb less.
    """

    def __init__(self) -> None:
        self._moved = 0
        self._across = self._along = 0.0
        self._top_first = self._bottom_first = 0.0

    def add(self, before: np.ndarray, here: np.ndarray) -> None:
        """Two consecutive frames' luma, 8-bit scale, every line, (H, W)."""
        height = here.shape[0] // 4 * 4
        if height < 16:
            return
        one, other = before[:height].astype(np.float32), here[:height].astype(np.float32)
        moved = (np.abs(one - other) > MOVED)[2:-2]
        self._moved += int(np.count_nonzero(moved))
        centre = 2 * other[2:-2]
        self._across += float(np.abs(centre - other[1:-3] - other[3:-1])[moved].sum())
        self._along += float(np.abs(centre - other[:-4] - other[4:])[moved].sum())
        self._top_first += _combing(top=other, bottom=one, where=moved)
        self._bottom_first += _combing(top=one, bottom=other, where=moved)

    def verdict(self) -> str:
        """'tff', 'bff' or, where nothing tells otherwise, 'progressive'."""
        if self._moved < ENOUGH or self._across < 1.05 * self._along:
            return "progressive"
        return "tff" if self._top_first < self._bottom_first else "bff"


def _combing(top: np.ndarray, bottom: np.ndarray, where: np.ndarray) -> float:
    woven = bottom.copy()
    woven[::2] = top[::2]
    return float(np.abs(2 * woven[2:-2] - woven[1:-3] - woven[3:-1])[where].sum())
