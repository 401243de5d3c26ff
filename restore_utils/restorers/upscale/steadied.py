"""A network for single images on a film, so that what it invents does not boil.

It is shown the mean of a frame and its aligned neighbours where they agree: less grain to make texture of, and much the
same from frame to frame. What it answers is brought back to that mean (back-projection, Irani and Peleg, Improving
resolution by image registration, 1991): reduced again, the result is what was put in.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.core.model import FrameModel, Result, Shot
from restore_utils.core.tiles import smallest_tile, tiled
from restore_utils.restorers.upscale.network import MIDDLE
from restore_utils.restorers.upscale.windows import AROUND, Aligned, Pictures, pictures_of, windows_of

_MEMORY = 1 << 30  # bytes that a tile may take
_NEAR = 7  # pixels of a side over which a difference is looked at: one of a single pixel is mostly grain
_QUIET = 1 / 255  # a difference that is rounding, whatever the grain


class Steadied(FrameModel):
    """A model of single images, fused over time before and held to its input after.

    Args:
        model: one that sees no neighbours (before = after = 0).
    """

    before = after = AROUND
    reach = None

    def __init__(self, model: FrameModel) -> None:
        self.model = model
        self.memory_per_pixel = 300
        self.sees_film = model.sees_film

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        return self.model.out_size(width, height)

    def open(self, shot: Shot) -> tuple[Pictures, object]:
        return pictures_of(shot), self.model.open(shot)

    @torch.inference_mode()
    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: tuple[Pictures, object]) -> Result:
        pictures, own = state
        height, width = run.shape[-2:]
        answers = []
        for n, window in zip(range(lo, hi), windows_of(run, at, lo, hi, pictures), strict=True):
            seen = torch.from_numpy(fused(window)).to(run.device)[None, :, :height, :width]
            answers.append(self._answer(seen, n, own))
        return Result(torch.cat(answers))

    def _answer(self, frame: Tensor, n: int, state: object) -> Tensor:
        """The model's answer for one frame (1, 3, H, W), held to it."""
        model = self.model
        height, width = frame.shape[-2:]
        below, right = -height % model.multiple_of, -width % model.multiple_of
        room = F.pad(frame, (0, right, 0, below), mode="replicate")

        def call(part: Tensor) -> tuple[Tensor, None]:
            return model(part, n, n, n + 1, state).frames.float(), None

        side = int((_MEMORY / model.memory_per_pixel) ** 0.5)
        if model.reach is not None and max(room.shape[-2:]) > side:
            side = max(side, smallest_tile(model.reach, model.multiple_of))
            out = tiled(call, room, tile=side, reach=model.reach, multiple_of=model.multiple_of)[0]
        else:
            out = call(room)[0]
        wide, high = model.out_size(width, height)
        out = out[..., :high, :wide].clamp(0, 1)
        missing = frame - F.interpolate(out, (height, width), mode="area")
        return out + F.interpolate(missing, (high, wide), mode="bicubic")


def fused(window: Aligned) -> np.ndarray:
    """The middle frame with less grain, (3, H, W) float32: the mean with its neighbours where they show the same.

    A neighbour counts the less the more its difference is above what grain makes of it, which is that of most places.
    """
    frames, valid, made = window
    middle = frames[MIDDLE]
    total, weights = middle.copy(), np.ones(middle.shape[1:], np.float32)
    for slot, other in enumerate(k for k in range(len(frames)) if k != MIDDLE):
        if valid[slot] == 0:
            continue
        apart = cv2.blur(np.abs(made.planes[3 + slot]) / 6, (_NEAR, _NEAR))
        usual = float(np.median(apart[::4, ::4])) + _QUIET
        weight = np.exp(-((np.maximum(apart / usual - 1, 0) / 0.5) ** 2)).astype(np.float32)
        total += weight * frames[other]
        weights += weight
    return total / weights
