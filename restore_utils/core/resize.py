"""Pictures at another size."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from torch import Tensor
from torch.nn import functional as F


def resized(pictures: Tensor, width: int, height: int) -> Tensor:
    """(k, c, h, w) at another size in pixels, linear; averaged where that is smaller."""
    if pictures.shape[-2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True)


def resized_stream(frames: Generator[Tensor, None, None], width: int, height: int) -> Generator[Tensor, None, None]:
    """Frames (3, H, W), each at another size, within [0, 1]; closes the stream that it is given."""
    with closing(frames) as stream:
        for frame in stream:
            yield resized(frame[None], width, height).clamp(0, 1)[0]
