"""SideNet fitted to one shot: it learns from the shot's own frames, whose inner sides are hidden.

So it needs no wide footage at all. The idea is that of Wang et al., Be-Your-Outpainter, ECCV 2024, here for a small
network and some hundred steps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.lessons import SIDE, fit

FRAMES = 12
"""Of a shot that are learnt from."""
BATCH = 4
RATE = 1e-4


def adapted(drawer: Drawer, frames: Sequence[np.ndarray], steps: int, across: bool, seed: int) -> Drawer:
    """A drawer that has learnt from frames, float32 (3, H, W) of any size, [0, 1]; the same for the same frames."""
    # Models answer in inference mode, in which nothing can be learnt.
    with torch.inference_mode(False), torch.enable_grad():
        net = copy.deepcopy(drawer.net).train()
        windows = _windows([np.array(f) for f in frames], steps, across, seed)
        fit(net, (w.to(drawer.device) for w in windows), RATE, torch.Generator().manual_seed(seed))
    return Drawer(net, drawer.device)


def _windows(frames: Sequence[np.ndarray], steps: int, across: bool, seed: int) -> Iterator[Tensor]:
    """Square windows as high as the picture, from anywhere in it; the side to be hidden is the left one."""
    rng = np.random.default_rng(seed)
    pictures = []
    for frame in frames:
        picture = np.ascontiguousarray(frame.transpose((1, 2, 0) if across else (2, 1, 0)))
        width = max(SIDE, round(picture.shape[1] * SIDE / picture.shape[0]))
        pictures.append(cv2.resize(picture, (width, SIDE), interpolation=cv2.INTER_AREA))
    for _ in range(steps):
        batch = []
        for _ in range(BATCH):
            picture = pictures[rng.integers(len(pictures))]
            left = rng.integers(picture.shape[1] - SIDE + 1)
            window = picture[:, left : left + SIDE]
            batch.append(window[:, ::-1] if rng.random() < 0.5 else window)
        yield torch.from_numpy(np.ascontiguousarray(np.stack(batch))).permute(0, 3, 1, 2).float()
