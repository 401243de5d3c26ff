"""Models made of models: at a render size, and colour only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.errors import ModelError
from restore_utils.stream import FrameModel, Frames, Result, Shot

RENDER_STEP = 16
"""Pixels of side per unit of render factor."""

_LUMA = (0.299, 0.587, 0.114)


class RenderSize(FrameModel):
    """Lets a model work on a square of `factor` x 16 pixels, and carries its changes back to the full size.

    Frames are stretched to the square, as the networks made for this knob were trained (DeOldify). Of the result only
    the difference to the square frame is enlarged and added to the full-size frame, so that what the model leaves alone
    keeps all its detail.
    """

    def __init__(self, model: FrameModel, factor: int) -> None:
        """
        Raises:
            ModelError: when the model changes the size of frames, or cannot work on a square of that size.
        """
        self.model, self.side = model, factor * RENDER_STEP
        if model.out_size(self.side, self.side) != (self.side, self.side):
            raise ModelError(f"{_name(model)} changes the size of frames: leave render_factor out")
        if self.side % model.multiple_of:
            raise ModelError(
                f"{_name(model)} needs multiples of {model.multiple_of} pixels: give another render_factor"
            )
        self.before, self.after, self.grid = model.before, model.after, model.grid
        self.multiple_of, self.reach = 1, None
        self.memory_per_pixel = 64 + model.memory_per_pixel // 8

    def open(self, shot: Shot) -> object:
        """Open the model on the shot as it sees it: frames and motion at the render size."""
        stats = dict(shot.stats)
        if "motion" in stats and shot.source is not None and np.any(stats["motion"]):
            height, width = shot.peek(shot.first).shape[-2:]
            stats["motion"] = stats["motion"] * np.array([self.side / width, self.side / height], np.float32)
        return self.model.open(replace(shot, stats=stats, source=self._small(shot.source)))

    def _small(self, source: Frames | None) -> Frames | None:
        if source is None:
            return None

        def frames(first: int, stop: int) -> Iterator[Tensor]:
            with closing(source(first, stop)) as stream:
                for frame in stream:
                    yield self._shrink(frame[None])[0]

        return frames

    def _shrink(self, frames: Tensor) -> Tensor:
        return F.interpolate(frames, (self.side, self.side), mode="bilinear", antialias=True).clamp(0, 1)

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        small = self._shrink(run)
        answer = self.model(small, at, lo, hi, state)
        size = run.shape[-2:]
        change = F.interpolate(answer.frames.float() - small[lo - at : hi - at], size, mode="bilinear")
        mask = answer.mask
        if mask is not None:
            # Exactly 0 stays 0: a pixel is untouched only where nothing of the change reaches it.
            mask = F.interpolate(mask.float(), size, mode="bilinear")
            change = change * (mask > 0)
        return Result((run[lo - at : hi - at] + change).clamp(0, 1), mask)


class ChromaOnly(FrameModel):
    """Takes the colour of a model's result and keeps the luma of the source (BT.601 weights)."""

    def __init__(self, model: FrameModel) -> None:
        """
        Raises:
            ModelError: when the model changes the size of frames.
        """
        if model.out_size(64, 48) != (64, 48):
            raise ModelError(f"{_name(model)} changes the size of frames: leave chroma_only out")
        self.model = model
        self.before, self.after, self.grid = model.before, model.after, model.grid
        self.multiple_of, self.reach = model.multiple_of, model.reach
        self.memory_per_pixel = model.memory_per_pixel + 32

    def open(self, shot: Shot) -> object:
        return self.model.open(shot)

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        answer = self.model(run, at, lo, hi, state)
        return Result(with_luma_of(run[lo - at : hi - at], answer.frames.float()), answer.mask)


def with_luma_of(source: Tensor, frames: Tensor) -> Tensor:
    """Frames with the luma of others of the same size; both (k, 3, H, W), RGB, [0, 1].

    Where a colour is too strong for the luma, it is made paler rather than the luma wrong.
    """
    weights = torch.tensor(_LUMA, dtype=frames.dtype, device=frames.device).view(1, 3, 1, 1)
    luma = (source * weights).sum(1, keepdim=True)
    colour = frames - (frames * weights).sum(1, keepdim=True)  # has luma 0 at any strength
    strongest = torch.where(colour > 0, (1 - luma) / colour.clamp(min=1e-6), luma / (-colour).clamp(min=1e-6))
    return (luma + colour * strongest.amin(1, keepdim=True).clamp(0, 1)).clamp(0, 1)


def _name(model: FrameModel) -> str:
    return getattr(model, "name", type(model).__name__)
