"""Where a reference or points would help most: frames whose colours, once known, settle most of what is unsure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.network import ColorNet, Look
from restore_utils.restorers.color.painter import Paint

_CELLS = 192  # of each frame that are compared with those of the others
_LEAST = 0.01  # share of all that is unsure below which a frame is not worth naming
_MARK = (1.0, 0.35, 0.1)  # what is a guess, in pictures


@dataclass(frozen=True)
class View:
    """A frame as it stands: what is seen on it and how far its colours are a guess."""

    keys: Tensor
    """(C, KEY) of some of its cells, the same ones for frames of one size."""
    doubt: Tensor
    """(C,), [0, 1], of these."""
    unsure: np.ndarray
    """(H, W), [0, 1], of all its pixels."""

    @classmethod
    def of(cls, look: Look, paint: Paint) -> View:
        """Of a frame that was coloured."""
        unsure = 1 - paint.sure
        cells = F.adaptive_avg_pool2d(torch.from_numpy(unsure)[None, None], look.keys.shape[-2:]).flatten()
        chosen = torch.arange(0, len(cells), max(1, len(cells) // _CELLS))
        return cls(look.keys.cpu().flatten(2)[0].T[chosen], cells[chosen], unsure)


@dataclass(frozen=True)
class Place:
    """A frame worth colouring by hand."""

    frame: int
    settles: float
    """Share of all that is unsure in the frames looked at which its colours would settle, beyond those before it."""
    unsure: np.ndarray
    """(H, W), [0, 1]: how far its colours are a guess."""


def ranked(net: ColorNet, views: Mapping[int, View], most: int = 8) -> list[Place]:
    """The best frames, best first: each time the one that settles most of what is left (greedy coverage).

    Args:
        net: by whose matching it is told what a frame's colours would settle on another.
        views: of frames of one size, by frame.
        most: of frames to name.
    """
    if not views:
        return []
    numbers, every = list(views), torch.cat([view.keys for view in views.values()])
    weight = torch.cat([view.doubt for view in views.values()])
    # How surely the cells of one frame find their like in another: that of the network's own matching.
    sharpness, none = float(net.sharpness.detach()), float(net.none.detach())
    found = torch.stack([torch.sigmoid(sharpness * ((every @ view.keys.T).amax(1) - none)) for view in views.values()])
    left, places = weight.clone(), []
    total = float(weight.sum()) or 1.0
    for _ in range(min(most, len(numbers))):
        gains = (found * left).sum(1)
        best = int(gains.argmax())
        if places and float(gains[best]) < _LEAST * total:
            break
        places.append(Place(numbers[best], float(gains[best]) / total, views[numbers[best]].unsure))
        left = left * (1 - found[best])
    return places


def picture(grey: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """What is a guess on a frame, uint8 RGB (H, W, 3): the redder, the less sure. Both are (H, W), [0, 1]."""
    share = 0.75 * unsure[..., None]
    return ((grey[..., None] * (1 - share) + share * np.float32(_MARK)) * 255).round().astype(np.uint8)
