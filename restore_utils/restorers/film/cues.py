"""Changeover cue marks: round, in the upper right corner, on four frames at one place, twice at the end of a reel.

SMPTE 55 and 301M say where, how large and for how long. The frames beside show a mark as well, so what it hides is in
those before and after the four. A mark is what is round, of a mark's size, and at one place of the frame for as many
frames as a mark is, whatever moves behind it. NumPy and OpenCV.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

REACH = 6  # frames on each side in which a mark begins and ends
_ZONE = (0.84, 0.985, 0.03, 0.18)  # left, right, top, bottom, of the picture: where the middle of a mark may be
_AROUND = 0.08  # of the height, about that: what is looked at
_GRID = 16
_LINES = 480  # of a picture; one of a multiple of it is looked at reduced
_RADII = (0.018, 0.021, 0.025)  # of the height
_BAND, _BESIDE = (0.6, 0.95), (1.35, 1.8)  # of the radius: where a disc and a ring are as bright, and what is beside
_REACHES = 1.5  # of the radius, rim and softness included
_SWAY = 5  # pixels about, in which a mark is the same, since it is made by hand
_CONTRAST = 0.12  # of 1, at least
_SHOWN = 0.4  # of its contrast: in what frames it is
_FRAMES = (3, 6)  # of them; a picture may be repeated
_SECTORS, _SIDES = (
    8,
    5,
)  # parts of the band, and in how many of them at least it stands out; something bright may be beside
_BRIGHT, _DARK, _STEADY = (
    0.5,
    0.3,
    0.12,
)  # of 1: tone of a white mark at least, of a black one at most; by how much it changes
_EVEN, _ALIKE = 0.4, 0.6  # of the usual contrast: what a part has at least, and by how much all parts differ at most


class Cue(NamedTuple):
    """A cue mark in a frame."""

    mask: np.ndarray  # (h, w) bool, in the corner
    first: int  # frames that show it
    last: int


class Cues:
    """The cue marks of a shot's frames.

    Args:
        frame: gives a frame of the shot by number, (3, H, W) float32 RGB [0, 1].
        first, stop: of the shot.
        size: width and height of the frames, without padding.
        border: left, top, right, bottom: columns and rows outside the gate.
    """

    def __init__(
        self,
        frame: Callable[[int], np.ndarray],
        first: int,
        stop: int,
        size: tuple[int, int],
        border: tuple[int, int, int, int] | None = None,
    ) -> None:
        left, top, right, bottom = border or (0, 0, 0, 0)
        width, height = size[0] - left - right, size[1] - top - bottom
        self.first, self.stop, self._frame = first, stop, frame
        self._scale = max(1, size[1] // _LINES)
        self._radii = [max(share * height / self._scale, 3.0) for share in _RADII]
        rows = _part(top, height, height, _ZONE[2:], size[1])
        columns = _part(left, width, height, _ZONE[:2], size[0])
        self.place = (rows, columns) if rows and columns else None
        """Rows and columns of the corner, multiples of 16; None where the picture is too small for one."""
        self._seen: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}

    def of(self, n: int) -> Cue | None:
        """That of frame n. Frames are to be asked for in rising order, for what is seen of earlier ones is dropped."""
        numbers = range(max(n - REACH, self.first), min(n + REACH + 1, self.stop))
        if self.place is None or len(numbers) < _FRAMES[0] + 2:
            return None
        self._seen = {m: seen for m, seen in self._seen.items() if m >= n - REACH}
        for m in numbers:
            if m not in self._seen:
                self._seen[m] = self._look(m)
        answers = self._seen[n][1]
        for k in sorted(range(len(answers)), key=lambda k: -np.abs(answers[k]).max()):
            radius, answer = self._radii[k], answers[k]
            for sign in (1, -1):
                if (sign * answer).max() < _CONTRAST:
                    continue
                near = np.stack([cv2.dilate(sign * self._seen[m][1][k], np.ones((_SWAY, _SWAY))) for m in numbers])
                before, after = _run(near, n - numbers[0])
                long = before + after + 1
                ends = (before < n - numbers[0]) & (after < numbers[-1] - n)
                fits = ends & (long >= _FRAMES[0]) & (long <= _FRAMES[1]) & (sign * answer >= _CONTRAST)
                y, x = np.unravel_index(np.where(fits, sign * answer, 0).argmax(), fits.shape)
                first, last = n - int(before[y, x]), n + int(after[y, x])
                if fits[y, x] and self._is_one(k, sign, x, y, first, last):
                    at = self._scale * (x + 0.5) - 0.5, self._scale * (y + 0.5) - 0.5
                    reach = self._scale * (_REACHES * radius + 1)
                    return Cue(_distance([s.stop - s.start for s in self.place], *at) < reach, first, last)
        return None

    def _is_one(self, k: int, sign: int, x: int, y: int, first: int, last: int) -> bool:
        """Whether there is a disc or a ring about a place in all of these frames, as bright or dark in each."""
        tones = []
        for m in range(first, last + 1):
            grey, answers = self._seen[m]
            rows, columns = (slice(max(at - _SWAY // 2, 0), at + _SWAY // 2 + 1) for at in (y, x))
            near = sign * answers[k][rows, columns]
            dy, dx = np.unravel_index(near.argmax(), near.shape)
            tones.append(_tone(grey, columns.start + dx, rows.start + dy, self._radii[k], sign))
        if None in tones or np.ptp(tones) > _STEADY:
            return False
        return min(tones) > _BRIGHT if sign > 0 else max(tones) < _DARK

    def _look(self, m: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """The corner of a frame in grey, and at each place how much a mark of each size would stand out there."""
        grey = self._frame(m)[:, *self.place].mean(0)
        if self._scale > 1:
            size = grey.shape[1] // self._scale, grey.shape[0] // self._scale
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        answers = []
        for radius in self._radii:
            side = int(np.ceil(_BESIDE[1] * radius))
            away = _distance((2 * side + 1, 2 * side + 1), side, side) / radius
            band, beside = (((away >= a) & (away <= b)).astype(np.float32) for a, b in (_BAND, _BESIDE))
            answer = cv2.filter2D(grey, -1, band / band.sum() - beside / beside.sum(), borderType=cv2.BORDER_REPLICATE)
            answer[:side], answer[-side:], answer[:, :side], answer[:, -side:] = 0, 0, 0, 0
            answers.append(answer)
        return grey, answers


def _part(start: int, length: int, height: int, zone: tuple[float, float], whole: int) -> slice | None:
    """Of a side of the frame, what shows the zone and what is about it."""
    first, stop = start + zone[0] * length - _AROUND * height, start + zone[1] * length + _AROUND * height
    count = int(-(-(stop - first) // _GRID) * _GRID)
    at = int(np.clip(round(first), 0, max(whole - count, 0)))
    return slice(at, at + count) if 4 * _GRID <= count <= whole else None


def _run(near: np.ndarray, here: int) -> tuple[np.ndarray, np.ndarray]:
    """In how many frames before and after one, without a gap, each place (T, h, w) has much of what it has there."""
    shown = near > _SHOWN * near[here]
    before, after = shown[:here][::-1], shown[here + 1 :]
    return np.cumprod(before, 0).sum(0), np.cumprod(after, 0).sum(0)


def _distance(shape: Sequence[int], x: float, y: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - y, columns - x)


def _tone(grey: np.ndarray, x: int, y: int, radius: float, sign: int) -> float | None:
    """Brightness of what stands out at a place, if it does so on most sides and is of one tone; else None."""
    away = _distance(grey.shape, x, y) / radius
    rows, columns = np.indices(grey.shape)
    sector = ((np.arctan2(rows - y, columns - x) / (2 * np.pi) + 0.5) * _SECTORS).astype(int) % _SECTORS
    tones, beside = (
        np.array([np.median(grey[(away >= a) & (away <= b) & (sector == k)]) for k in range(_SECTORS)])
        for a, b in (_BAND, _BESIDE)
    )
    contrast = sign * (tones - beside)
    usual = np.median(contrast)
    round_ = usual > _CONTRAST and (contrast > _EVEN * usual).sum() >= _SIDES and np.ptp(tones) < _ALIKE * usual
    return float(np.median(tones)) if round_ else None
