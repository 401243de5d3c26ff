"""The runner: sends the frames of a film through a chain of models, shot by shot, in runs that fit into memory.

A chain of models is a stream on a stream: each stage pulls the frames it needs from the one before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import itemgetter

import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.core.model import Film, FrameModel, Frames, Result, Shot, name_of
from restore_utils.core.tiles import smallest_tile, tiled
from restore_utils.core.window import Window
from restore_utils.errors import ModelError, OutOfMemoryError, SourceError
from restore_utils.progress import aside

log = logging.getLogger(__name__)

_UNTOUCHED = torch.zeros(())  # mask of a frame of the source, whatever its size: a single 0


@dataclass(frozen=True)
class RunSize:
    """How much of a film a model is given at once: part of a restoration's plan."""

    length: int = 8
    """Frames answered for by one call, context not counted. A model with a grid has its grid instead."""
    tile: int | None = None
    """Side of a tile in pixels, margins included; None: whole frames."""


_Results = Callable[[int, int], Generator[Result, None, None]]

Opened = Callable[[int, FrameModel, Shot], object]
"""`opened(number, model, shot)` gives the state of a shot for a model, the one of that number in its chain."""


def _open(_number: int, model: FrameModel, shot: Shot) -> object:
    return model.open(shot)


def restore(
    frames: Frames,
    models: Sequence[FrameModel],
    shots: Sequence[Shot] | Film,
    *,
    start: int,
    stop: int,
    device: torch.device | str = "cpu",
    sizes: Sequence[RunSize] | None = None,
    opened: Opened = _open,
) -> Generator[Result, None, None]:
    """Send the frames start <= n < stop through a chain of models; one Result of one frame for each, in order.

    The results do not depend on `start` and `stop`: runs begin at fixed places of each shot, and the context that the
    chain needs is read beyond both ends.

    Args:
        frames: opens a stream of source frames, each (3, H, W), on any device.
        shots: in order and without gaps, at least over [start, stop); or the film that they belong to, whose size and
            colours are known then.
        sizes: one for each model; by default eight whole frames.
        opened: opens shots in place of the models' own `open`.

    Raises:
        OutOfMemoryError: when one frame in the smallest tile does not fit.
        SourceError: when `frames` ends too early.
        ModelError: when a model does not answer as it declares.
    """
    film = shots if isinstance(shots, Film) else Film(shots, first=start, stop=stop)
    with (
        _chained(frames, models, film, torch.device(device), sizes, opened) as (source, stages),
        closing((stages[-1] if stages else source)(start, stop)) as results,
    ):
        for result in results:
            if result.mask is not None and not result.mask.ndim:  # no model in the chain
                result = result._replace(mask=result.frames.new_zeros(1, 1, *result.frames.shape[-2:]))
            yield result


def open_shot(
    frames: Frames,
    models: Sequence[FrameModel],
    film: Film,
    number: int,
    first: int,
    *,
    device: torch.device | str = "cpu",
    sizes: Sequence[RunSize] | None = None,
    opened: Opened = _open,
) -> object:
    """The state of the shot that frame `first` belongs to, for the model of that number; arguments as of `restore`."""
    with _chained(frames, models, film, torch.device(device), sizes, opened) as (_, stages):
        return opened(number, models[number], stages[number].film.shot_at(first))


@contextmanager
def _chained(
    frames: Frames,
    models: Sequence[FrameModel],
    film: Film,
    device: torch.device,
    sizes: Sequence[RunSize] | None,
    opened: Opened,
) -> Iterator[tuple[_Results, list[_Stage]]]:
    """The source as a stream of results, and a stage for each model."""

    def source(first: int, stop: int) -> Generator[Result, None, None]:
        with closing(frames(first, stop)) as stream:
            for frame in stream:
                yield Result(frame[None], _UNTOUCHED)

    stages: list[_Stage] = []
    film = film.given_by(frames)
    for number, (model, size) in enumerate(zip(models, sizes or [RunSize()] * len(models), strict=True)):
        if stages:
            film = stages[-1].film.after(stages[-1].model)
        opens = partial(opened, number, model)
        stages.append(_Stage(model, stages[-1] if stages else source, film, size, device, opens))
    try:
        yield source, stages
    finally:
        for stage in stages:
            stage.film.forget()


class _Stage:
    """One model on a stream of results; called with a range it is itself such a stream."""

    def __init__(
        self,
        model: FrameModel,
        source: _Results,
        film: Film,
        size: RunSize,
        device: torch.device,
        opens: Callable[[Shot], object],
    ) -> None:
        self.opens = opens
        self.model, self.source, self.tile = model, source, size.tile
        self.length = model.grid or size.length
        self.piece = self.length  # frames answered for at once: shrinks when memory runs out
        self.device = torch.device("cpu") if model.on_host else device
        self.film = film.given_by(self._input)

    def _input(self, first: int, stop: int) -> Generator[Tensor, None, None]:
        with closing(self.source(first, stop)) as results:
            for count, result in enumerate(results, 1):
                if stop - first > 1:  # a whole shot before its first frame is answered for: that takes long
                    aside(f"{name_of(self.model)} looks ahead", count, stop - first)
                yield result.frames[0].to(self.device)

    def __call__(self, start: int, stop: int) -> Generator[Result, None, None]:
        cells = self._cells(start, stop)
        if not cells:
            return
        before, after = self.model.before, self.model.after
        (shot, lo, _), (last_shot, _, last_hi) = cells[0], cells[-1]
        head = max(shot.first, lo - before)
        tail = min(last_shot.stop, last_hi + after)
        # Room for a run and its context, and for as much again as the context: it moves once in as many frames.
        room = min(2 * (before + after) + self.length, tail - head)
        window = Window(room, self.model.multiple_of, self.device)
        opened, state = None, None
        with closing(self.source(head, tail)) as stream:
            for shot, lo, hi in cells:
                at, end = max(shot.first, lo - before), min(shot.stop, hi + after)
                while head < at:
                    window.drop()
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
                    opened, state = shot, self.opens(shot)
                answer = self._answer(window, at, lo, hi, state)
                for n in range(max(lo, start), min(hi, stop)):
                    one = answer.map(itemgetter(slice(n - lo, n - lo + 1)))
                    yield self._joined(window.masks(n - at), one, window.size)
                del answer

    def _joined(self, earlier: Result, later: Result, size: tuple[int, int]) -> Result:
        """What this model answered for a frame, with the masks of all models so far; `size` was that of the frame."""
        width, height = size
        place = None if later.frames.shape[-2:] == (height, width) else self.model.place(width, height)
        luma = _union(earlier.mask, later.mask, later.frames, place)
        if earlier.chroma_mask is None and later.chroma_mask is None:
            return Result(later.frames, luma)
        chroma = _union(_of_chroma(earlier), _of_chroma(later), later.frames, place)
        if chroma is None and luma is not None:
            chroma = torch.ones_like(luma)
        return Result(later.frames, luma, chroma)

    def _cells(self, start: int, stop: int) -> list[tuple[Shot, int, int]]:
        """The runs that answer for [start, stop): on a fixed grid in each shot, wherever start and stop lie."""
        cells = []
        for shot in self.film.shots:
            first, last = max(start, shot.first), min(stop, shot.stop)
            if first < last:
                lo = shot.first + (first - shot.first) // self.length * self.length
                cells += [(shot, n, min(n + self.length, shot.stop)) for n in range(lo, last, self.length)]
        return cells

    def _answer(self, window: Window, at: int, lo: int, hi: int, state: object) -> Result:
        """Answer for lo <= n < hi; when memory runs out with shorter runs, then with smaller tiles."""
        while True:
            try:
                ends = [*range(lo, hi, self.piece), hi]
                pieces = [self._call(window, at, a, b, state) for a, b in pairwise(ends)]
                if len(pieces) == 1:
                    return pieces[0]
                return _in_a_row(pieces)
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, OutOfMemoryError) or not _is_out_of_memory(error):
                    raise
            # Outside the handler: its traceback holds the tensors that must be freed before the next try.
            self._shrink(*window.size)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _shrink(self, width: int, height: int) -> None:
        model = self.model
        if not model.grid and self.piece > 1:
            self.piece = -(-self.piece // 2)
            log.warning("out of memory: %s now works in runs of %d frames", name_of(model), self.piece)
            return
        if model.reach is not None:
            smallest = smallest_tile(model.reach, model.multiple_of)
            tile = -(-(self.tile or max(width, height)) // 2)
            if (self.tile or max(width, height)) > smallest:
                self.tile = max(tile, smallest)
                log.warning("out of memory: %s now works in tiles of %d pixels", name_of(model), self.tile)
                return
        raise OutOfMemoryError(
            f"out of memory: {name_of(model)} cannot go smaller at {width}x{height}: close other programs, use "
            "a smaller model or --device cpu, and run again; what is finished is kept"
        )

    def _call(self, window: Window, at: int, lo: int, hi: int, state: object) -> Result:
        """One call of the model, with no more context than it declares: tiled, cropped, checked."""
        model = self.model
        begin, end = max(at, lo - model.before), min(at + len(window), hi + model.after)
        padded = window.frames()[begin - at : end - at]
        width, height = window.size

        def call(part: Tensor) -> Result:
            return model(part, begin, lo, hi, state)

        with torch.inference_mode():
            if self.tile and max(padded.shape[-2:]) > self.tile and model.reach is not None:
                answer = tiled(call, padded, tile=self.tile, reach=model.reach, multiple_of=model.multiple_of)
            else:
                answer = call(padded)
            out_width, out_height = model.out_size(width, height)
            answer = answer.map(lambda part: self._limited(part[..., :out_height, :out_width], lo, hi))
        self._check(answer, lo, hi, (out_width, out_height))
        return self._masked(answer, width, height)

    def _masked(self, answer: Result, width: int, height: int) -> Result:
        """An answer for frames of that size with the masks that follow from what the model says of itself."""
        frames, mask, chroma_mask = answer
        if mask is None and (place := self.model.place(width, height)) is not None:
            mask = torch.ones_like(frames[:, :1])
            mask[..., place[1] : place[1] + height, place[0] : place[0] + width] = 0
        if self.model.keeps_luma:
            chroma_mask = mask if chroma_mask is None else chroma_mask
            chroma_mask = torch.ones_like(frames[:, :1]) if chroma_mask is None else chroma_mask
            mask = torch.zeros_like(chroma_mask)
        return Result(frames, mask, chroma_mask)

    def _check(self, answer: Result, lo: int, hi: int, size: tuple[int, int]) -> None:
        expected = (hi - lo, 3, size[1], size[0])
        if tuple(answer.frames.shape) != expected:
            raise ModelError(
                f"{name_of(self.model)} answered with {tuple(answer.frames.shape)} where {expected} was declared"
            )
        for mask in answer[1:]:
            if mask is not None and tuple(mask.shape) != (hi - lo, 1, size[1], size[0]):
                raise ModelError(f"{name_of(self.model)} gave a mask of {tuple(mask.shape)} for frames of {expected}")

    def _limited(self, values: Tensor, lo: int, hi: int) -> Tensor:
        """float32 within [0, 1]; copied only where it was not."""
        values = values.float()
        low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 1.0)
        if not math.isfinite(low + high):
            raise ModelError(
                f"{name_of(self.model)} gave numbers that are not finite in frames {lo}..{hi - 1}: run it in "
                "float32, or its weights are broken"
            )
        return values if low >= 0 and high <= 1 else values.clamp(0, 1)


def _in_a_row(pieces: Sequence[Result]) -> Result:
    """Answers for neighbouring frames as one."""
    alike = all(p.chroma_mask is None for p in pieces)
    chroma = None if alike else _if_all([_of_chroma(p) for p in pieces])
    return Result(torch.cat([p.frames for p in pieces]), _if_all([p.mask for p in pieces]), chroma)


def _if_all(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Masks one behind the other, if there are all of them."""
    there = [mask for mask in masks if mask is not None]
    return torch.cat(there) if len(there) == len(masks) else None


def _of_chroma(result: Result) -> Tensor | None:
    return result.mask if result.chroma_mask is None else result.chroma_mask


def _union(
    earlier: Tensor | None, later: Tensor | None, frames: Tensor, place: tuple[int, int] | None
) -> Tensor | None:
    """How far pixels were changed by two stages together; None when that cannot be told, as after a change of size.

    Args:
        place: left and top at which the picture of the earlier stage lies in `frames`, where these are larger.
    """
    if earlier is None or later is None:
        return None
    if not earlier.ndim:  # of the source
        return later
    if earlier.shape[-2:] != frames.shape[-2:]:
        if place is None:
            return None
        (height, width), (full_height, full_width) = earlier.shape[-2:], frames.shape[-2:]
        left, top = place
        earlier = F.pad(earlier, (left, full_width - left - width, top, full_height - top - height), value=1.0)
    return earlier + later - earlier * later


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)  # the CPU allocator raises a plain RuntimeError
    return "out of memory" in text or "can't allocate memory" in text
