"""The camera's path through a shot: where each frame lies against a key frame, and key frames against each other.

A key frame stands for its neighbours until the camera has moved on by STEP of the picture's width. Every frame is
registered to its key frame directly, so that errors do not add up where the camera rests, however long: dense flow
(DIS) from a first guess, then a homography through it by RANSAC, which leaves out what moves by itself and what stands
nearer or farther than most (M. A. Fischler and R. C. Bolles, 1981).

Luma is uint8 (H, W). A homography is float64 (3, 3) and takes pixels (x, y) of one picture to those of another, both
counted from the centre of the upper left pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

STEP = 0.06
"""Share of the picture's longer side by which a corner moves until the next key frame."""
SIDE = 320
"""Longer side in pixels of the pictures that are registered."""
STRIDE = 6
"""Of so many pixels each way one votes for the homography."""
NEAR = 1.0
"""Pixels by which a vote may miss the homography."""
AGREE, FOUND = 0.2, 0.1
"""Share of the votes that must agree, and share of all that has texture: between pictures of two scenes dense flow too
finds what looks alike, in 14 such pairs 0.04 at most agreed, in 15 shots with people and parallax 0.13 and more."""
TEXTURE = 8.0
"""Grey levels: mean of the absolute slopes round a pixel below which its flow is a guess."""
ALIKE = 18.0
"""Grey levels by which the two pictures may differ round a pixel after the flow, beyond a common change of light."""
_DIS = cv2.DISOPTICAL_FLOW_PRESET_FAST


class Fit(NamedTuple):
    """How one picture lies on another."""

    homography: np.ndarray
    """Takes pixels of the first picture to the second."""
    residual: np.ndarray
    """float32 (H, W, 2): what the pixels of the first picture must be moved by before the homography holds."""
    weight: np.ndarray
    """float32 (H, W), [0, 1]: how well the two pictures agree there; 0 where the second does not reach."""
    error: np.ndarray
    """float32 (H, W): grey levels by which they differ, averaged over a few pixels."""


def positions(height: int, width: int) -> np.ndarray:
    """Each pixel's own (x, y), float32 (H, W, 2)."""
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def moved(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a homography, float32."""
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2)
    return cv2.perspectiveTransform(flat, homography).reshape(points.shape)


def farthest(homography: np.ndarray, width: int, height: int) -> float:
    """The most that a corner of a picture moves, in pixels."""
    corners = np.float32([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    return float(np.linalg.norm(moved(corners, homography) - corners, axis=1).max())


def scaled(homography: np.ndarray, factor: float) -> np.ndarray:
    """The same for pictures enlarged by a factor, whose pixels are counted from their centres."""
    enlarge = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return enlarge @ homography @ np.linalg.inv(enlarge)


def register(here: np.ndarray, there: np.ndarray, guess: np.ndarray) -> Fit | None:
    """How `here` lies on `there`, both luma of one size; None where too little agrees to tell.

    Args:
        guess: a homography from `here` to `there`, off by a tenth of the picture at most.
    """
    height, width = here.shape
    where = positions(height, width)
    fit = None
    for _ in range(2):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpPerspective(there, guess, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        at = moved(where, guess)
        inside = _within(at, width, height)
        if inside.mean() < 0.1:
            return None
        flow = cv2.DISOpticalFlow_create(_DIS).calc(here, np.where(inside, seen, here), None)
        brought = cv2.remap(seen, where + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = brought.astype(np.float32) - here
        difference -= np.float32(np.median(difference[inside]))
        error = cv2.blur(np.abs(difference), (7, 7))
        textured = (inside & (_texture(here) > TEXTURE))[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        votes = textured & (error < ALIKE)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        if np.count_nonzero(votes) < 24:
            return None
        ends = moved(where + flow, guess)
        start, end = (v[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE][votes] for v in (where, ends))
        cv2.setRNGSeed(1)  # OpenCV's RANSAC draws from its own state: the same pictures must give the same answer
        found, agreed = cv2.findHomography(start, end, cv2.RANSAC, NEAR, maxIters=500)
        if found is None or agreed.mean() < AGREE or np.count_nonzero(agreed) < FOUND * np.count_nonzero(textured):
            return None
        if not _sane(found, width, height):
            return None
        residual = moved(ends, np.linalg.inv(found)) - where
        weight = (np.exp(-np.square(error / 10)) * inside).astype(np.float32)
        fit = Fit(found, residual, weight, error)
        if farthest(found @ np.linalg.inv(guess), width, height) < 0.02 * width:
            break
        guess = found
    return fit


def _within(at: np.ndarray, width: int, height: int) -> np.ndarray:
    x, y = at[..., 0], at[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _texture(gray: np.ndarray) -> np.ndarray:
    slopes = np.abs(cv2.Sobel(gray, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    return cv2.blur(slopes, (9, 9))


def _sane(homography: np.ndarray, width: int, height: int) -> bool:
    """Whether it is what a camera does between two frames: no mirror, no more than half or twice the size."""
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    at = moved(corners, homography)
    area = cv2.contourArea(at, oriented=True) / (width * height)
    return bool(0.5 < area < 2 and cv2.isContourConvex(at.reshape(-1, 1, 2)))


class Place(NamedTuple):
    """Where a frame lies."""

    key: int
    """Number of its key frame among those of the shot."""
    homography: np.ndarray
    """From the key frame to the frame, in pixels of the registered size."""


class Camera:
    """Follows a shot frame by frame; memory does not grow but for nine numbers a frame."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.keys: list[int] = []
        """Frames, counted from the first that was added."""
        self.links: list[np.ndarray | None] = []
        """From each key frame to the next; None where the thread was lost, as at a cut that was missed."""
        self._key: np.ndarray | None = None
        self._speed = np.eye(3)

    def add(self, gray: np.ndarray, repeated: bool = False) -> tuple[bool, Fit | None]:
        """Find the next frame's place; answers whether it is a key frame, and how it lies on the last one.

        Args:
            gray: luma, uint8 (H, W).
            repeated: it shows the same as the frame before.
        """
        if self._key is None:
            return self._begin(gray, None), None
        last = self.places[-1].homography
        if repeated:
            self.rest()
            return False, None
        fit = register(self._key, gray, self._speed @ last)
        if fit is None and farthest(self._speed, *gray.shape[::-1]) > 0.5:
            fit = register(self._key, gray, last)
        if fit is None:
            return self._begin(gray, None), None
        self._speed = fit.homography @ np.linalg.inv(last)
        height, width = gray.shape
        if farthest(fit.homography, width, height) > STEP * max(width, height):
            return self._begin(gray, fit.homography), fit
        self.places.append(Place(len(self.keys) - 1, fit.homography))
        return False, fit

    def rest(self) -> None:
        """The next frame lies where the last one does."""
        self.places.append(self.places[-1])

    def end(self, gray: np.ndarray) -> bool:
        """Make the last frame a key frame too if it lies apart from the last one; answers whether it is one now."""
        place = self.places[-1]
        height, width = gray.shape
        if len(self.places) - 1 == self.keys[-1] or farthest(place.homography, width, height) < STEP / 4 * width:
            return False
        self.places.pop()
        return self._begin(gray, place.homography)

    def _begin(self, gray: np.ndarray, link: np.ndarray | None) -> bool:
        if self.keys:
            self.links.append(link)
        if link is None:
            self._speed = np.eye(3)
        self.keys.append(len(self.places))
        self.places.append(Place(len(self.keys) - 1, np.eye(3)))
        self._key = gray
        return True
