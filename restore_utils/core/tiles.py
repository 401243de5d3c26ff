"""Answer for a large picture in tiles that overlap, so that it fits into memory and no seam shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from restore_utils.core.model import Result

_FADE = 8  # pixels on each side of a seam


def smallest_tile(reach: int, multiple_of: int) -> int:
    """Side in pixels of the smallest tile that is worth computing: its core is as wide as its two margins."""
    return 4 * _margin(reach, multiple_of)


def tiled(call: Callable[[Tensor], Result], run: Tensor, *, tile: int, reach: int, multiple_of: int = 1) -> Result:
    """Compute `call(run)` tile by tile.

    Neighbouring tiles are cross-faded over 16 pixels, and each is given `reach` pixels beyond that on every side that
    is not a border of the picture: what is kept of a tile is the answer of the whole picture, up to rounding.

    Args:
        call: maps (T, 3, h, w) to frames (k, 3, h * s, w * s) and masks (k, 1, h * s, w * s) or None; any s >= 1.
        run: (T, 3, H, W); H and W are multiples of `multiple_of`.
        tile: side of a tile in pixels, margins included.
        reach: pixels on each side on which a result depends.
        multiple_of: tiles begin and end on multiples of it, so that a network's strides stay in phase.
    """
    height, width = run.shape[-2:]
    margin = _margin(reach, multiple_of)
    core = max(multiple_of, (tile - 2 * margin) // multiple_of * multiple_of)
    sums: Result | None = None
    for top, bottom in _spans(height, core):
        for left, right in _spans(width, core):
            y0, y1 = max(0, top - margin), min(height, bottom + margin)
            x0, x1 = max(0, left - margin), min(width, right + margin)
            parts = Result(*call(run[..., y0:y1, x0:x1]))
            scale = parts.frames.shape[-1] // (x1 - x0)
            down = _ramp(y0, y1, top, bottom, height, scale, parts.frames)
            across = _ramp(x0, x1, left, right, width, scale, parts.frames)
            weight = down[:, None] * across
            if sums is None:
                size = (height * scale, width * scale)
                sums = parts.map(partial(_zeros_like, size=size))
                total = parts.frames.new_zeros(size)
            box = (..., slice(y0 * scale, y1 * scale), slice(x0 * scale, x1 * scale))
            total[box] += weight
            for whole, part in zip(sums, parts, strict=True):
                if whole is not None and part is not None:
                    whole[box] += part * weight
    assert sums is not None, "a picture has pixels"
    return sums.map(lambda whole: whole / total)


def _zeros_like(part: Tensor, size: tuple[int, int]) -> Tensor:
    return part.new_zeros(*part.shape[:2], *size)


def _margin(reach: int, multiple_of: int) -> int:
    return -(-(reach + _FADE) // multiple_of) * multiple_of


def _spans(length: int, core: int) -> Iterator[tuple[int, int]]:
    for first in range(0, length, core):
        yield first, min(first + core, length)


def _ramp(start: int, stop: int, first: int, last: int, length: int, scale: int, like: Tensor) -> Tensor:
    """Weight along one axis: 1 inside the core, faded across its ends, 1 up to the picture's border."""
    position = (torch.arange((stop - start) * scale, device=like.device, dtype=like.dtype) + 0.5) / scale + start
    weight = torch.ones_like(position)
    if first > 0:
        weight = torch.minimum(weight, ((position - (first - _FADE)) / (2 * _FADE)).clamp(0, 1))
    if last < length:
        weight = torch.minimum(weight, ((last + _FADE - position) / (2 * _FADE)).clamp(0, 1))
    return weight
