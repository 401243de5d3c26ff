"""Models made of models: at a render size, and colour only."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.core.model import Film, FrameModel, Result, Shot, name_of
from restore_utils.core.resize import resized
from restore_utils.errors import ModelError

RENDER_STEP = 16
"""Pixels of side per unit of render factor."""

_LUMA = (0.299, 0.587, 0.114)
_SMALL, _LARGE = 0.08, 0.2  # a change below the first keeps all detail of the full size, one above the second none
_FITS = 4


class _Wrapper(FrameModel):
    """A model round another: what it does not change is as that one says."""

    version = "1"

    def __init__(self, model: FrameModel) -> None:
        self.model = model
        self.version = f"{type(self).__name__} {self.version}, {model.version}"
        self.fingerprint, self.dtype = model.fingerprint, model.dtype
        self.stage = model.stage
        self.before, self.after, self.grid, self.on_host = model.before, model.after, model.grid, model.on_host
        self.multiple_of, self.reach = model.multiple_of, model.reach
        self.adds_color, self.keeps_luma = model.adds_color, model.keeps_luma
        self.sees_film = model.sees_film
        for name in ("save_state", "load_state"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    @property
    def pixel_aspect(self) -> Fraction:
        return self.model.pixel_aspect

    @pixel_aspect.setter
    def pixel_aspect(self, aspect: Fraction) -> None:
        self.model.pixel_aspect = aspect

    def refuse(self, film: Film) -> str | None:
        return self.model.refuse(film)

    def open(self, shot: Shot) -> object:
        return self.model.open(shot)

    def notes(self, state: object) -> Sequence[str]:
        return self.model.notes(state)

    def figures(self, state: object) -> Sequence[tuple[str, np.ndarray]]:
        return self.model.figures(state)


class RenderSize(_Wrapper):
    """Lets a model work on a square of `factor` x 16 pixels, and carries its changes back to the full size.

    Frames are stretched to the square, as the networks made for this knob were trained (DeOldify). The result is the
    enlarged square plus the detail that only the full-size frame has: all of it where the model changed little, none
    where it changed much, with a soft blend between the two. So what the model leaves alone is exactly as it was, and
    round a speck that it removed no rim is left of what the square was too small to show.
    """

    def __init__(self, model: FrameModel, factor: int, *, stretch: bool = False) -> None:
        """
        Args:
            factor: side of the square, in units of 16 pixels.
            stretch: give the enlarged square itself, without detail, as DeOldify does.

        Raises:
            ModelError: when the model changes the size of frames, or cannot work on a square of that size.
        """
        super().__init__(model)
        self.side, self.stretch = factor * RENDER_STEP, stretch
        if model.out_size(self.side, self.side) != (self.side, self.side):
            raise ModelError(f"{name_of(model)} changes the size of frames: leave render_factor out")
        if self.side % model.multiple_of:
            raise ModelError(
                f"{name_of(model)} needs multiples of {model.multiple_of} pixels: give another render_factor"
            )
        self.multiple_of, self.reach = 1, None
        self.memory_per_pixel = 96 + model.memory_per_pixel // 8

    def refuse(self, film: Film) -> str | None:
        return self.model.refuse(film.scaled(self.side, self.side))

    def open(self, shot: Shot) -> object:
        """Open the model on the shot as it sees it: frames, motion and border at the render size."""
        return self.model.open(shot.scaled(self.side, self.side))

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        small = resized(run, self.side, self.side).clamp(0, 1)
        answer = self.model(small, at, lo, hi, state)
        frames, small = run[lo - at : hi - at], small[lo - at : hi - at]
        width, height = frames.shape[-1], frames.shape[-2]
        restored = answer.frames.float()
        if self.stretch:
            whole = resized(restored, width, height).clamp(0, 1)
            return Result(with_luma_of(frames, whole) if self.keeps_luma else whole)
        replaced = resized(_replaced(small, restored), width, height)
        change = resized(restored - small, width, height) - replaced * (frames - resized(small, width, height))
        # Exactly 0 stays 0: a pixel is untouched only where nothing of the change reaches it.
        mask, chroma_mask = (
            None if mask is None else torch.maximum(resized(mask.float(), width, height), replaced)
            for mask in answer[1:]
        )
        every = mask if chroma_mask is None or mask is None else torch.maximum(mask, chroma_mask)
        if every is not None:
            change = change * (every > 0)
        whole = (frames + change).clamp(0, 1)
        return Result(with_luma_of(frames, whole) if self.keeps_luma else whole, mask, chroma_mask)


def _replaced(before: Tensor, after: Tensor) -> Tensor:
    """How far a model replaced what is at a pixel, (k, 1, h, w), 0 to 1; both (k, 3, h, w), RGB, [0, 1].

    Judged by luma, since colour alone leaves no rim, and one pixel further on each side: as far as shrinking spreads
    the edge of a speck. A change of the whole picture's brightness or contrast replaces nothing.
    """
    before, after = luma_of(before), luma_of(after)
    change = torch.minimum((after - before).abs(), _beyond_tone(before, after).abs())
    share = ((change - _SMALL) / (_LARGE - _SMALL)).clamp(0, 1)
    return F.max_pool2d(share * share * (3 - 2 * share), 3, stride=1, padding=1)


def _beyond_tone(before: Tensor, after: Tensor) -> Tensor:
    """The part of the change from before to after that no straight tone curve of the frame explains; (k, 1, h, w).

    The curve is the line of least squares, found again with less weight on what lies far from it (Cauchy's weights),
    so that specks do not bend it.
    """
    change = after - before
    weight, rest = torch.ones_like(before), change
    for _ in range(_FITS):
        total = weight.sum((-2, -1), keepdim=True)
        mean, level = ((weight * x).sum((-2, -1), keepdim=True) / total for x in (before, change))
        spread = (weight * (before - mean) ** 2).sum((-2, -1), keepdim=True).clamp(min=1e-6)
        slope = (weight * (before - mean) * (change - level)).sum((-2, -1), keepdim=True) / spread
        rest = change - level - slope * (before - mean)
        weight = 1 / (1 + (rest / _SMALL) ** 2)
    return rest


class ChromaOnly(_Wrapper):
    """Takes the colour of a model's result and keeps the luma of the source (BT.601 weights)."""

    def __init__(self, model: FrameModel) -> None:
        """
        Raises:
            ModelError: when the model changes the size of frames.
        """
        if model.out_size(64, 48) != (64, 48):
            raise ModelError(f"{name_of(model)} changes the size of frames: leave chroma_only out")
        super().__init__(model)
        self.keeps_luma = True
        self.memory_per_pixel = model.memory_per_pixel + 32

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        answer = self.model(run, at, lo, hi, state)
        return answer._replace(frames=with_luma_of(run[lo - at : hi - at], answer.frames.float()))


def with_luma_of(source: Tensor, frames: Tensor) -> Tensor:
    """Frames with the luma of others of the same size; both (k, 3, H, W), RGB, [0, 1].

    Where a colour is too strong for the luma, it is made paler rather than the luma wrong.
    """
    luma = luma_of(source)
    colour = frames - luma_of(frames)  # has luma 0 at any strength
    strongest = torch.where(colour > 0, (1 - luma) / colour.clamp(min=1e-6), luma / (-colour).clamp(min=1e-6))
    return (luma + colour * strongest.amin(1, keepdim=True).clamp(0, 1)).clamp(0, 1)


def luma_of(frames: Tensor) -> Tensor:
    """(k, 1, H, W) of (k, 3, H, W), by the weights of BT.601."""
    weights = torch.tensor(_LUMA, dtype=frames.dtype, device=frames.device).view(1, 3, 1, 1)
    return (frames * weights).sum(1, keepdim=True)
