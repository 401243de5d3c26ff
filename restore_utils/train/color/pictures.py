"""Colour footage to learn from: clips and photographs, brought to one height and kept in memory as 8 bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from restore_utils.errors import TrainingError
from restore_utils.train.color.lessons import Pictures
from restore_utils.train.footage import CLIPS, STILLS, files, frames, still

SHORT, SIDE = 192, 288  # pixels of a picture's shorter side, and of the canvas that holds it
MOST = 4000  # pictures, a quarter of a megabyte each
_PER_CLIP = 240
_GREY = 2.5 / 255  # mean difference of channels below which a picture has nothing to teach


def gather(footage: Sequence[Path]) -> tuple[Pictures, Pictures]:
    """Pictures to learn from, and those held back: every twelfth photograph, and the last eighth of each clip.

    Args:
        footage: files and folders, searched downwards.

    Raises:
        TrainingError: there is no picture with colours.
    """
    pictures = (still(file) for file in files(footage, STILLS))
    photos = [_canvas(picture) for picture in pictures if picture is not None and _has_colors(picture)]
    read = (frames(clip, _PER_CLIP) for clip in files(footage, CLIPS))
    clips = [found for shown in read if (found := [_canvas(frame) for frame in shown if _has_colors(frame)])]
    photos = photos[:MOST]
    room = max(0, MOST - len(photos)) // max(1, len(clips))
    clips = [clip[:: max(1, len(clip) // max(room, 12))] for clip in clips]
    if len(photos) + sum(map(len, clips)) < 12:
        raise TrainingError(f"{', '.join(map(str, footage))}: fewer than 12 pictures with colours: give colour film")
    held = photos[::12] + [frame for clip in clips for frame in clip[len(clip) - len(clip) // 8 :: 4]]
    kept = [photo for n, photo in enumerate(photos) if n % 12]
    groups = [[photo] for photo in kept] + [clip[: len(clip) - len(clip) // 8] for clip in clips]
    weights = [1 / len(kept) for _ in kept] + [1 / len(clips) for _ in clips]  # as often one as the other
    return _pictures(groups, weights), _pictures([[frame] for frame in held], [1.0] * len(held))


def _pictures(groups: Sequence[Sequence[tuple[np.ndarray, tuple[int, int]]]], weights: Sequence[float]) -> Pictures:
    """Groups are clips, or photographs alone; weights are those of groups."""
    canvases, sizes, first, count, weight = [], [], [], [], []
    for group, share in zip(groups, weights, strict=True):
        at = len(canvases)
        for canvas, size in group:
            canvases.append(canvas)
            sizes.append(size)
            first.append(at)
            count.append(len(group))
            weight.append(share / len(group))
    stacked = torch.from_numpy(np.stack(canvases))
    numbers = (torch.tensor(sizes), torch.tensor(first), torch.tensor(count), torch.tensor(weight))
    return Pictures(stacked, *numbers)


def _has_colors(picture: np.ndarray) -> bool:
    return float(np.ptp(picture[::4, ::4].astype(np.float32), axis=-1).mean()) / 255 > _GREY


def _canvas(picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """At the upper left of a canvas (3, SIDE, SIDE); what is too long is cut off on both sides."""
    scale = SHORT / min(picture.shape[:2])
    size = tuple(max(SHORT, round(side * scale)) for side in picture.shape[1::-1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    height, width = (min(side, SIDE) for side in small.shape[:2])
    top, left = (small.shape[0] - height) // 2, (small.shape[1] - width) // 2
    canvas = np.zeros((3, SIDE, SIDE), np.uint8)
    canvas[:, :height, :width] = small[top : top + height, left : left + width].transpose(2, 0, 1)
    return canvas, (height, width)
