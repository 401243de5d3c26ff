"""The frames that UpscaleNet sees: a frame's neighbours laid over it, by the alignment of the film restorer."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from restore_utils.core.model import Shot
from restore_utils.restorers.film.align import View, Window, around, lay, view, window
from restore_utils.restorers.upscale.network import MIDDLE

STEP = 16  # the alignment takes sides that are multiples of it
AROUND = 4  # frames on each side among which two different pictures are looked for


class Aligned(NamedTuple):
    """A window, without the batch axis."""

    frames: np.ndarray  # (FRAMES, 3, H, W) float32: as UpscaleNet takes them
    valid: np.ndarray  # (SLOTS,) float32
    made: Window


def aligned(middle: View, others: Sequence[View | None], times: Sequence[int]) -> Aligned:
    """Lay a frame's neighbours over it; where there is none, the frame itself stands in its place.

    Args:
        middle, others, times: see film.align.window; H and W multiples of 16.
    """
    made = window(middle, others, times)
    laid = [
        middle.rgb if v is None else lay(v.rgb, f, g) for v, f, g in zip(others, made.flows, made.lights, strict=True)
    ]
    laid.insert(MIDDLE, middle.rgb)
    return Aligned(np.stack([x.transpose(2, 0, 1) for x in laid]), made.valid, made)


class Pictures(NamedTuple):
    """Which frames of a shot show the same picture."""

    first: int
    stop: int
    number: np.ndarray  # for each frame that of its picture: frames that repeat each other have the same


def pictures_of(shot: Shot) -> Pictures:
    """What the analysis says of a shot."""
    repeats = np.asarray(shot.stats.get("duplicate", np.zeros(shot.stop - shot.first)), bool).copy()
    repeats[:1] = False
    return Pictures(shot.first, shot.stop, np.cumsum(~repeats))


def windows_of(run: Tensor, at: int, lo: int, hi: int, shot: Pictures) -> Iterator[Aligned]:
    """The windows of the frames lo <= n < hi of a run, see FrameModel; each is made while the one before is in use.

    Frames are continued on the right and below, mirrored, to multiples of STEP.
    """
    views: dict[int, View] = {}

    def seen(n: int) -> View:
        if n not in views:
            views[n] = view(_padded(run[n - at].permute(1, 2, 0).cpu().numpy()))
        return views[n]

    def window(n: int) -> Aligned:
        for old in [m for m in views if m < n - AROUND]:
            del views[old]
        slots = neighbours(n, shot)
        return aligned(seen(n), [None if m is None else seen(m) for m in slots], times(n, slots))

    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(window, lo)
        for n in range(lo, hi):
            made = waiting.result()
            if n + 1 < hi:
                waiting = ahead.submit(window, n + 1)
            yield made


def _padded(rgb: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) continued on the right and below, mirrored, to multiples of STEP."""
    below, right = (-n % STEP for n in rgb.shape[:2])
    return cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REFLECT) if below or right else rgb


def times(n: int, slots: Sequence[int | None]) -> list[int]:
    """How many frames after frame n those in its slots are; 0 where there is none."""
    return [0 if m is None else m - n for m in slots]


def neighbours(n: int, shot: Pictures) -> list[int | None]:
    """Numbers of the frames in the slots of frame n, see film.align.around."""
    return around(n, shot.number, shot.first, shot.stop, AROUND)
