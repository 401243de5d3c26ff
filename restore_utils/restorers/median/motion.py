"""Dense motion between two frames: DIS optical flow, warping, and mending the flow where it cannot be trusted.

A flow is float32 (H, W, 2): where a pixel (x, y) of one frame lies in the other, as (dx, dy) in pixels. Luma is float32
(H, W) in grey levels of 255. T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, by OpenCV.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from restore_utils.restorers.spreading import spread_out

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SMALLEST = 16
"""DIS needs pictures of at least so many pixels a side; smaller ones get no motion."""


def luma(rgb: np.ndarray) -> np.ndarray:
    """Luma in grey levels of 255, float32 (H, W), of RGB (H, W, 3) in [0, 1]."""
    return cv2.transform(rgb, 255 * LUMA[None])


@lru_cache(maxsize=4)
def positions(height: int, width: int) -> np.ndarray:
    """Each pixel's own (x, y), float32 (H, W, 2). Shared: do not write to it."""
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def despeckled(gray: np.ndarray) -> np.ndarray:
    """Luma as uint8 with specks of two pixels gone, so that dust does not lead the flow astray."""
    return cv2.medianBlur(np.clip(np.rint(gray), 0, 255).astype(np.uint8), 5)


def flow(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where the pixels of `here` lie in `there`; both uint8 (H, W)."""
    levels = max(0, int(math.log2(max(here.shape) / 20)))  # of the pyramid that OpenCV makes, by the longer side alone
    if min(here.shape) < SMALLEST or not min(here.shape) >> levels:
        return np.zeros((*here.shape, 2), np.float32)
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(here, there, None)


def warp(picture: np.ndarray, motion: np.ndarray, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """`picture`, (H, W) or (H, W, C), brought to where its content lies in the frame that the flow starts from."""
    where = positions(*motion.shape[:2]) + motion
    return cv2.remap(picture, where, None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def inconsistency(forth: np.ndarray, back: np.ndarray) -> np.ndarray:
    """How many pixels off its start a pixel ends that follows one flow forth and the other back, float32 (H, W)."""
    x, y = cv2.split(forth + warp(back, forth, cv2.INTER_LINEAR))
    return cv2.magnitude(x, y)


def mended(motion: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """The flow with its untrusted parts filled from the trusted ones around them, near ones first.

    Args:
        motion: (H, W, 2).
        trust: float32 (H, W), [0, 1].
    """
    height, width = trust.shape
    small = (max(1, width // 4), max(1, height // 4))
    weight = cv2.resize(trust, small, interpolation=cv2.INTER_AREA)
    total = cv2.resize(motion * trust[..., None], small, interpolation=cv2.INTER_AREA)
    filled = cv2.resize(spread_out(total, weight), (width, height), interpolation=cv2.INTER_LINEAR)
    return filled + (motion - filled) * trust[..., None]
