"""How a model meets a film: the interface of a model, and the runner that feeds it. Read this file first.

A film is a stream of frames n = 0, 1, 2, ..., cut into shots. A model is given a run of neighbouring frames of one shot
and answers for the middle of it; what lies at the ends of the run is context. The runner, not the model, decides how
long runs are, moves them to the device, pads, crops, clamps, tiles, and makes runs smaller when memory runs out.
A chain of models is a stream on a stream: each stage pulls the frames it needs from the one before.

Inside, a picture is RGB, float32, [0, 1], (3, H, W).
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.errors import ModelError, OutOfMemoryError, SourceError
from restore_utils.tiles import smallest_tile, tiled

log = logging.getLogger(__name__)

Frames = Callable[[int, int], Iterator[Tensor]]
"""`frames(first, stop)` opens a stream of the frames first <= n < stop, each (3, H, W)."""

_PEEKS_KEPT = 8
_UNTOUCHED = torch.zeros(())  # mask of a frame of the source, whatever its size


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


@dataclass(frozen=True)
class RunSize:
    """How much of a film a model is given at once: part of a restoration's plan."""

    length: int = 8
    """Frames answered for by one call, context not counted. A model with a grid has its grid instead."""
    tile: int | None = None
    """Side of a tile in pixels, margins included; None: whole frames."""


def restore(
    frames: Frames,
    models: Sequence[FrameModel],
    shots: Sequence[Shot],
    *,
    start: int,
    stop: int,
    device: torch.device | str = "cpu",
    sizes: Sequence[RunSize] | None = None,
) -> Iterator[Result]:
    """Send the frames start <= n < stop through a chain of models; one Result of one frame for each, in order.

    The results do not depend on `start` and `stop`: runs begin at fixed places of each shot, and the context that the
    chain needs is read beyond both ends.

    Args:
        frames: opens a stream of source frames, each (3, H, W), on any device.
        shots: in order and without gaps, at least over [start, stop).
        sizes: one for each model; by default eight whole frames.

    Raises:
        OutOfMemoryError: when one frame in the smallest tile does not fit.
        SourceError: when `frames` ends too early.
        ModelError: when a model does not answer as it declares.
    """
    sizes = sizes or [RunSize()] * len(models)

    def source(first: int, stop: int) -> Iterator[Result]:
        with closing(frames(first, stop)) as stream:
            for frame in stream:
                yield Result(frame[None].to(device), _UNTOUCHED)

    for model, size in zip(models, sizes, strict=True):
        source = _Stage(model, source, shots, size)
    with closing(source(start, stop)) as results:
        for result in results:
            mask = result.mask
            if mask is _UNTOUCHED:  # no model in the chain
                mask = result.frames.new_zeros(1, 1, *result.frames.shape[-2:])
            yield Result(result.frames, mask)


class _Stage:
    """One model on a stream of results; called with a range it is itself such a stream."""

    def __init__(
        self, model: FrameModel, source: Callable[[int, int], Iterator[Result]], shots: Sequence[Shot], size: RunSize
    ) -> None:
        self.model, self.source, self.tile = model, source, size.tile
        self.length = model.grid or size.length
        self.piece = self.length  # frames answered for at once: shrinks when memory runs out
        self.shots = [replace(shot, source=self._input, _peeked=OrderedDict()) for shot in shots]

    def _input(self, first: int, stop: int) -> Iterator[Tensor]:
        with closing(self.source(first, stop)) as results:
            for result in results:
                yield result.frames[0]

    def __call__(self, start: int, stop: int) -> Iterator[Result]:
        cells = self._cells(start, stop)
        if not cells:
            return
        (shot, lo, _), (last_shot, _, last_hi) = cells[0], cells[-1]
        head = max(shot.first, lo - self.model.before)
        tail = min(last_shot.stop, last_hi + self.model.after)
        window: deque[Result] = deque()
        opened, state = None, None
        with closing(self.source(head, tail)) as stream:
            for shot, lo, hi in cells:
                at, end = max(shot.first, lo - self.model.before), min(shot.stop, hi + self.model.after)
                while head < at:
                    window.popleft()
                    head += 1
                while head + len(window) < end:
                    try:
                        window.append(next(stream))
                    except StopIteration:
                        raise SourceError(
                            f"the source ended at frame {head + len(window)}, {end} were expected: delete the job "
                            "folder and start again"
                        ) from None
                if opened is not shot:
                    opened, state = shot, self.model.open(shot)
                answer = self._answer(torch.cat([r.frames for r in window]), at, lo, hi, state)
                for n in range(max(lo, start), min(hi, stop)):
                    mask = None if answer.mask is None else answer.mask[n - lo : n - lo + 1]
                    changed = _union(window[n - at].mask, mask, answer.frames)
                    yield Result(answer.frames[n - lo : n - lo + 1], changed)
                del answer

    def _cells(self, start: int, stop: int) -> list[tuple[Shot, int, int]]:
        """The runs that answer for [start, stop): on a fixed grid in each shot, wherever start and stop lie."""
        cells = []
        for shot in self.shots:
            first, last = max(start, shot.first), min(stop, shot.stop)
            if first < last:
                lo = shot.first + (first - shot.first) // self.length * self.length
                cells += [(shot, n, min(n + self.length, shot.stop)) for n in range(lo, last, self.length)]
        return cells

    def _answer(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        """Answer for lo <= n < hi; when memory runs out with shorter runs, then with smaller tiles."""
        while True:
            try:
                ends = [*range(lo, hi, self.piece), hi]
                pieces = [self._call(run, at, a, b, state) for a, b in pairwise(ends)]
                if len(pieces) == 1:
                    return pieces[0]
                masked = all(p.mask is not None for p in pieces)
                return Result(
                    torch.cat([p.frames for p in pieces]), torch.cat([p.mask for p in pieces]) if masked else None
                )
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, OutOfMemoryError) or not _is_out_of_memory(error):
                    raise
            # Outside the handler: its traceback holds the tensors that must be freed before the next try.
            self._shrink(run.shape[-1], run.shape[-2])
            if run.is_cuda:
                torch.cuda.empty_cache()

    def _shrink(self, width: int, height: int) -> None:
        model = self.model
        if not model.grid and self.piece > 1:
            self.piece = -(-self.piece // 2)
            log.warning("out of memory: %s goes on with runs of %d frames", _name(model), self.piece)
            return
        if model.reach is not None:
            smallest = smallest_tile(model.reach, model.multiple_of)
            tile = -(-(self.tile or max(width, height)) // 2)
            if (self.tile or max(width, height)) > smallest:
                self.tile = max(tile, smallest)
                log.warning("out of memory: %s goes on with tiles of %d pixels", _name(model), self.tile)
                return
        raise OutOfMemoryError(
            f"out of memory: {_name(model)} cannot go smaller at {width}x{height}: close other programs, use a smaller "
            "model or --device cpu, and run again; what is finished is kept"
        )

    def _call(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        """One call of the model, with no more context than it declares: padded, tiled, cropped, checked."""
        model = self.model
        begin, end = max(at, lo - model.before), min(at + len(run), hi + model.after)
        run = run[begin - at : end - at]
        height, width = run.shape[-2:]
        padded = _pad(run, model.multiple_of)

        def call(part: Tensor) -> tuple[Tensor, Tensor | None]:
            return model(part, begin, lo, hi, state)

        with torch.inference_mode():
            if self.tile and max(padded.shape[-2:]) > self.tile and model.reach is not None:
                frames, mask = tiled(call, padded, tile=self.tile, reach=model.reach, multiple_of=model.multiple_of)
            else:
                frames, mask = call(padded)
            out_width, out_height = model.out_size(width, height)
            frames = self._limited(frames[..., :out_height, :out_width], lo, hi)
            mask = None if mask is None else self._limited(mask[..., :out_height, :out_width], lo, hi)
        self._check(frames, mask, lo, hi, (out_width, out_height))
        return Result(frames, mask)

    def _check(self, frames: Tensor, mask: Tensor | None, lo: int, hi: int, size: tuple[int, int]) -> None:
        expected = (hi - lo, 3, size[1], size[0])
        if tuple(frames.shape) != expected:
            raise ModelError(f"{_name(self.model)} answered with {tuple(frames.shape)} where {expected} was declared")
        if mask is not None and tuple(mask.shape) != (hi - lo, 1, size[1], size[0]):
            raise ModelError(f"{_name(self.model)} gave a mask of {tuple(mask.shape)} for frames of {expected}")

    def _limited(self, values: Tensor, lo: int, hi: int) -> Tensor:
        """float32 within [0, 1]; copied only where it was not."""
        values = values.float()
        low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 1.0)
        if not math.isfinite(low + high):
            raise ModelError(
                f"{_name(self.model)} gave numbers that are not finite in frames {lo}..{hi - 1}: run it in float32, or "
                "its weights are broken"
            )
        return values if low >= 0 and high <= 1 else values.clamp(0, 1)


def _union(earlier: Tensor | None, later: Tensor | None, frames: Tensor) -> Tensor | None:
    """How far pixels were changed by two stages together; None when that cannot be told, as after a change of size."""
    if earlier is None or later is None:
        return None
    if earlier is _UNTOUCHED:
        return later
    if earlier.shape[-2:] != frames.shape[-2:]:
        return None
    return earlier + later - earlier * later


def _pad(run: Tensor, multiple_of: int) -> Tensor:
    """Pad right and below up to a multiple: mirrored as far as the picture reaches, then its last row and column."""
    for dim, side in ((-1, (0, 1, 0, 0)), (-2, (0, 0, 0, 1))):
        length = run.shape[dim]
        missing = -length % multiple_of
        mirrored = min(missing, length - 1)
        if mirrored:
            run = F.pad(run, tuple(mirrored * s for s in side), mode="reflect")
        if missing > mirrored:
            run = F.pad(run, tuple((missing - mirrored) * s for s in side), mode="replicate")
    return run


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)  # the CPU allocator raises a plain RuntimeError
    return "out of memory" in text or "can't allocate memory" in text


def _name(model: FrameModel) -> str:
    return getattr(model, "name", type(model).__name__)
