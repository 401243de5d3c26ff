"""What a model is: the interface that every restorer has. Read this file first.

A film is a stream of frames n = 0, 1, 2, ..., cut into shots. A model is given a run of neighbouring frames of one shot
and answers for the middle of it; what lies at the ends of the run is context. The runner (core.runner), not the model,
decides how long runs are, moves them to the device, pads, crops, clamps, tiles, and makes runs smaller when memory runs
out.

Inside, a picture is RGB, float32, [0, 1], (3, H, W).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

Frames = Callable[[int, int], Iterator[Tensor]]
"""`frames(first, stop)` opens a stream of the frames first <= n < stop, each (3, H, W)."""

_PEEKS_KEPT = 8


class Result(NamedTuple):
    """A model's answer for some frames."""

    frames: Tensor
    """(k, 3, H2, W2), float32, RGB, [0, 1]."""
    mask: Tensor | None = None
    """(k, 1, H2, W2), [0, 1]: how far each pixel was changed. Exactly 0 = not touched; None = all may be changed."""


@dataclass(frozen=True)
class Shot:
    """The frames first <= n < stop between two cuts, as a model may look at them. Read-only."""

    first: int
    stop: int
    stats: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """Measured per frame by the analysis of the source, arrays of length stop - first: luma, motion, duplicate, ..."""
    source: Frames | None = field(default=None, repr=False, compare=False)
    _peeked: OrderedDict[int, Tensor] = field(default_factory=OrderedDict, repr=False, compare=False)

    def peek(self, n: int) -> Tensor:
        """Any frame of this shot as this stage's input, (3, H, W). Slow: decodes from the last key frame; cached."""
        if not self.first <= n < self.stop:
            raise IndexError(f"frame {n} is not in the shot {self.first}..{self.stop - 1}")
        if n not in self._peeked:
            with closing(self.source(n, n + 1)) as frames:
                self._peeked[n] = next(frames)
            while len(self._peeked) > _PEEKS_KEPT:
                self._peeked.popitem(last=False)
        self._peeked.move_to_end(n)
        return self._peeked[n]


class FrameModel(Protocol):
    """What step three of every restorer is. Subclass it for the defaults, or have the same attributes.

    Models see only frames of one shot. A model must answer with as many frames as it is asked for, each of the size
    that `out_size` declares, and must not keep anything between calls but what `open` returned.
    """

    before: int = 0
    after: int = 0
    """Frames of context seen on each side, fewer at the ends of a shot."""
    grid: int = 0
    """0: a result does not depend on where a run begins. n: runs begin at first + k * n and are n frames long."""
    multiple_of: int = 1
    """Width and height of what the model is given are multiples of it; the runner pads on the right and below."""
    reach: int | None = None
    """Pixels on each side on which a result depends, so that tiles can be cut. None: it must see whole frames."""
    memory_per_pixel: int = 400
    """Bytes of working memory per pixel and frame of a run, roughly; from it runs and tiles are planned."""
    memory_per_further_pixel: int | None = None
    """The same for frames beyond the first answer and its context, where these cost less; None: they cost as much."""

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of the result for an input of that size."""
        return width, height

    def open(self, shot: Shot) -> object:
        """Look at a shot once before its first run; what is returned comes back as `state` and is read-only."""
        return shot

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        """Answer for the frames lo <= n < hi.

        Args:
            run: (T, 3, H, W), float32, RGB, [0, 1], on the device; run[0] is frame `at` <= lo.
            state: what `open` returned for this shot.
        """
        ...
