"""Where a reference or points would help most: frames whose colours, once known, settle most of what is unsure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from restore_utils.restorers.color.painter import Painter

_CELLS = 192  # of each frame that are compared with those of the others


@dataclass(frozen=True)
class Place:
    """A frame worth colouring by hand."""

    frame: int
    settles: float
    """Share of all that is unsure in the frames looked at which its colours would settle, beyond those before it."""
    unsure: np.ndarray
    """(H, W), [0, 1]: how far the network's own colours of it are a guess."""


def ranked(painter: Painter, pictures: Mapping[int, np.ndarray], most: int = 8) -> list[Place]:
    """The best frames, best first: each time the one that settles most of what is left (greedy coverage).

    Args:
        pictures: working pictures of key frames, float32 (H, W) of one size, by frame.
        most: of frames to name.
    """
    numbers, unsure, keys, weights = list(pictures), [], [], []
    for grey in pictures.values():
        look = painter.look(grey)
        doubt = 1 - painter.fill(grey, look).sure
        cells = F.adaptive_avg_pool2d(torch.from_numpy(doubt)[None, None], look.keys.shape[-2:]).flatten()
        # Every so many cells, the same for all frames.
        chosen = torch.arange(0, len(cells), max(1, len(cells) // _CELLS))
        keys.append(look.keys.cpu().flatten(2)[0].T[chosen])
        weights.append(cells[chosen])
        unsure.append(doubt)
    weight = torch.cat(weights)
    every = torch.cat(keys)
    # How surely the cells of one frame find their like in another: that of the network's own matching.
    sharpness, none = float(painter.net.sharpness.detach()), float(painter.net.none.detach())
    found = torch.stack([torch.sigmoid(sharpness * ((every @ own.T).amax(1) - none)) for own in keys])
    left, places = weight.clone(), []
    total = float(weight.sum()) or 1.0
    for _ in range(min(most, len(numbers))):
        gains = (found * left).sum(1)
        best = int(gains.argmax())
        if places and float(gains[best]) < 0.01 * total:
            break
        places.append(Place(numbers[best], float(gains[best]) / total, unsure[best]))
        left = left * (1 - found[best])
    return places
