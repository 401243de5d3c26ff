"""What a chain of models and the writer of its results are fed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from restore_utils.analyse import Analysis
from restore_utils.core.prefetch import prefetch
from restore_utils.jobs.changes import brightness
from restore_utils.media.inspect import Clip
from restore_utils.media.read import Frame, Reader


class SourceFrames:
    """Frames of the film for the chain, and the same frames with their own samples for the writer.

    Args:
        first, stop: the frames first <= n < stop that will be written.
    """

    def __init__(self, clip: Clip, analysis: Analysis, first: int, stop: int) -> None:
        self._clip, self._analysis, self._first, self._stop = clip, analysis, first, stop
        self._waiting: deque[tuple[Frame, float]] = deque()
        self._opened = False

    def frames(self, first: int, stop: int) -> Iterator[Tensor]:
        """Float32 (3, H, W), RGB, [0, 1]; whole frames where the film is interlaced."""
        # The stream that runs through is opened before any model can peek, so it is the first.
        through, self._opened = not self._opened, True
        if not through:
            yield from self._read(first, stop, through)
            return
        with prefetch(self._read(first, stop, through), depth=4) as ahead:
            yield from ahead

    def _read(self, first: int, stop: int, through: bool) -> Iterator[Tensor]:
        fields = self._analysis.interlaced
        deinterlace = False if fields == "progressive" else fields
        with Reader(self._clip, first=first, stop=stop, index=self._analysis.index, deinterlace=deinterlace) as reader:
            for frame in reader:
                rgb = frame.rgb()
                if through and self._first <= frame.n < self._stop:
                    self._waiting.append((frame, brightness(rgb)))
                yield torch.from_numpy(rgb)

    def take(self, n: int) -> tuple[Frame, float]:
        """Frame n with its own samples, and its brightness; in order, each once."""
        frame, luma = self._waiting.popleft()
        assert frame.n == n, f"frame {frame.n} where {n} was expected"
        return frame, luma
