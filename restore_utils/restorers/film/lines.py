"""Looks for lines in a frame: thin, nearly upright, brighter or darker than what is on both sides. NumPy and OpenCV.

As in Joyeux et al. (Reconstruction of degraded image sequences, Image and Vision Computing 19(8), 2001) and Newson et
al. (Robust Automatic Line Scratch Detection in Films, IEEE Trans. Image Processing 23(3), 2014) a line too weak to be
seen pixel by pixel is strong along its length: contrast to both sides is averaged over a few rows and measured in the
deviation of what is about, and lines are the best paths from top to bottom through that, by dynamic programming.
"""

from typing import NamedTuple

import cv2
import numpy as np

BAND = 16  # rows in one average
CAP, LEAST, PRICE = 4.0, -1.5, 1.2  # evidence of a band lies between the first two; a path pays the third for each
_WIDEST = 1080  # pixels of width: larger pictures are looked at reduced
_WIDTHS = (1, 3, 5, 9)  # pixels of lines that are looked for
_CLIP = 0.08  # of 1: a stronger contrast counts as this, or one bright thing would be a line
_FLOOR = 0.0008  # of 1: deviation below which it is no measure
_BEND, _BENT = 2, 0.4  # pixels that a path may move from band to band, and what it pays for each
_MOST = 6  # lines of a kind in a frame
_SCORE = 1.1  # of a path per band, at least
_APART = 5  # pixels, at least, between two paths


class Evidence(NamedTuple):
    """What a frame shows of lines, at the size at which they are looked for."""

    lines: np.ndarray  # (2, bands, width) float32: of bright and of dark ones, in deviations
    grey: np.ndarray  # (bands, width) float32: averages of the picture
    small: np.ndarray  # (height / 4, width / 4) uint8, for the motion
    scale: int  # by which the frame was reduced


class Path(NamedTuple):
    score: float
    top: int
    columns: np.ndarray

    @property
    def bands(self) -> np.ndarray:
        return np.arange(self.top, self.top + len(self.columns))


def evidence(grey: np.ndarray) -> Evidence:
    """Evidence of lines in a frame (H, W) float32 [0, 1], H a multiple of 16."""
    # A picture that is very wide and low is reduced less, so that a band of it is left.
    scale = min(-(-grey.shape[1] // _WIDEST), max(1, grey.shape[0] // BAND))
    if scale > 1:
        grey = cv2.resize(grey, (grey.shape[1] // scale, grey.shape[0] // scale), interpolation=cv2.INTER_AREA)
    height, width = grey.shape[0] // BAND * BAND, grey.shape[1]
    grey = np.ascontiguousarray(grey[:height])
    low = cv2.resize(grey, (width, height // 4), interpolation=cv2.INTER_AREA)
    best = np.full((2, height // BAND, width), -np.inf, np.float32)
    for line in _WIDTHS:
        contrast = cv2.resize(_contrast(low, line), (width, height // BAND), interpolation=cv2.INTER_AREA)
        contrast /= 1.25 * cv2.blur(np.abs(contrast), (65, 3)) + _FLOOR
        np.maximum(best[0], contrast, out=best[0])
        np.maximum(best[1], -contrast, out=best[1])
    # Without lines, which would hold the motion back.
    small = cv2.medianBlur(cv2.resize(low, (width // 4, height // 4), interpolation=cv2.INTER_AREA), 5)
    bands = cv2.resize(low, (width, height // BAND), interpolation=cv2.INTER_AREA)
    # A little more for what is above the cap, so that a path keeps to the middle of a strong line.
    best = np.clip(best, LEAST, CAP) + 0.01 * np.clip(best - CAP, 0, 50)
    return Evidence(best, bands, cv2.convertScaleAbs(small, alpha=255), scale)


def _contrast(grey: np.ndarray, line: int) -> np.ndarray:
    """How far each place sticks out of both sides, the nearer of the two; 0 where it lies between them."""
    centre = cv2.blur(grey, (line, 1)) if line > 1 else grey
    step = line + 1 if line > 1 else 1
    width = grey.shape[1]
    wide = cv2.copyMakeBorder(centre, 0, 0, step, step, cv2.BORDER_REFLECT)
    left, right = centre - wide[:, :width], centre - wide[:, 2 * step :]
    least = np.maximum(np.minimum(left, right), 0) + np.minimum(np.maximum(left, right), 0)
    return np.clip(least, -_CLIP, _CLIP)


def paths(lines: np.ndarray, shortest: int) -> list[Path]:
    """The best paths from top to bottom through evidence (bands, width), none across another."""
    bands, width = lines.shape
    gain = lines - PRICE
    total, back = np.maximum(gain, 0), np.zeros((bands, width), np.int8)
    start = np.arange(bands * width).reshape(bands, width)  # of the path that ends in a place
    above = np.full(width + 2 * _BEND, -np.inf, np.float32)
    for b in range(1, bands):
        above[_BEND : _BEND + width] = total[b - 1]
        best = above[_BEND : _BEND + width].copy()
        for bend in (*range(-_BEND, 0), *range(1, _BEND + 1)):
            way = above[_BEND + bend : _BEND + bend + width] - _BENT * abs(bend)
            back[b][way > best] = bend
            np.maximum(best, way, out=best)
        start[b] = np.where(best > 0, start[b - 1][np.arange(width) + back[b]], start[b])
        total[b] = np.maximum(gain[b] + best, 0)
    left, found = total.copy(), []
    near = np.arange(-_APART, _APART + 1)
    going, bent = (total > 0).tolist(), back.tolist()  # to walk along, lists are much faster than arrays
    while len(found) < _MOST:
        bottom, x = np.unravel_index(left.argmax(), left.shape)
        score = float(left[bottom, x])
        if score < _SCORE * shortest:
            break
        columns, b = [int(x)], int(bottom)
        while b and going[b - 1][columns[-1] + bent[b][columns[-1]]]:
            columns.append(columns[-1] + bent[b][columns[-1]])
            b -= 1
        path = Path(score, b, np.array(columns[::-1]))
        crossing = not left[path.bands, path.columns].all()
        left[start == start[bottom, x]] = 0  # the rest would cross it
        left[path.bands[:, None], np.clip(path.columns[:, None] + near, 0, width - 1)] = 0
        if not crossing and len(columns) >= shortest and score >= _SCORE * len(columns):
            found.append(path)
    return found
