"""The contract of a FrameModel as one check: every model in the zoo passes it, and your own should."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import FrameModel, Frames, Result, Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.wrappers import luma_of
from restore_utils.errors import ModelError

TOLERANCE = 1 / 255  # another run length may change rounding, no more


def film(count: int, width: int, height: int, seed: int = 0) -> Tensor:
    """`count` frames (count, 3, height, width) of a drifting smooth pattern with a speck of dust in each."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    pattern = torch.nn.functional.interpolate(small, size=(height + count, width + count), mode="bicubic").clamp(0, 1)
    frames = torch.cat([pattern[..., n : n + height, n : n + width] for n in range(count)]).clone()
    for n in range(count):
        y, x = (int(torch.randint(0, side - 2, (), generator=generator)) for side in (height, width))
        frames[n, :, y : y + 3, x : x + 3] = n % 2
    return frames


def stream_of(frames: Tensor) -> Frames:
    """A stream over frames (N, 3, H, W) that are in memory."""

    def open_stream(first: int, stop: int) -> Generator[Tensor, None, None]:
        for n in range(first, stop):
            yield frames[n].clone()

    return open_stream


def shots_of(frames: Tensor, cuts: tuple[int, ...] = ()) -> list[Shot]:
    """Shots of frames (N, 3, H, W), the first frames of all but the first shot given."""
    ends = [0, *cuts, len(frames)]
    luma = frames.mean(dim=(1, 2, 3)).numpy()
    return [Shot(a, b, stats_of(luma[a:b])) for a, b in pairwise(ends)]


def stats_of(luma: np.ndarray) -> dict[str, np.ndarray]:
    """What the analysis measures of a shot of `film`, whose light is even and which repeats no frame.

    The border is there to be minded: models take nothing from it and leave it alone.
    """
    count = len(luma)
    motion = np.full((count, 2), -1, np.float32)  # the pattern drifts by a pixel
    motion[:1] = 0
    return {
        "luma": luma,
        "luma_std": np.full(count, 0.2, np.float32),
        "luma_percentiles": luma[:, None] + np.linspace(-0.3, 0.3, 5, dtype=np.float32)[None],
        "exposure": np.tile(np.array([1, 0], np.float32), (count, 1)),
        "motion": motion,
        "duplicate": np.zeros(count, bool),
        "dirt": np.zeros(count, np.float32),
        "border": np.array([5, 3, 4, 2]),
    }


def run(
    model: FrameModel,
    frames: Tensor,
    cuts: tuple[int, ...] = (),
    start: int = 0,
    stop: int | None = None,
    length: int = 8,
) -> list[Result]:
    """What a model makes of frames (N, 3, H, W) that are in memory, one Result for each, in runs of `length`."""
    stop = len(frames) if stop is None else stop
    results = restore(
        stream_of(frames), [model], shots_of(frames, cuts), start=start, stop=stop, sizes=[RunSize(length)]
    )
    return list(results)


def stacked(results: list[Result]) -> Tensor:
    """The frames of results as one tensor (N, 3, H, W)."""
    return torch.cat([r.frames for r in results])


def check_model(model: FrameModel, width: int = 70, height: int = 50) -> None:
    """Check all that the runner relies on: frame counts, sizes, masks, cuts, runs and memory.

    Args:
        width, height: in pixels, of the pictures used; odd sizes are derived from them.

    Raises:
        ModelError: names the clause that was broken.
    """
    _check_sizes(model, width, height)
    _check_mask(model, width, height)
    _check_cuts(model, width, height)
    _check_run_length(model, width, height)
    _check_live_frames(model, width, height)


def _check_sizes(model: FrameModel, width: int, height: int) -> None:
    for count in (1, 2, 3, 7):
        for w, h in ((width, height), (width + 1, height - 1)):
            frames = film(count, w, h)
            results = run(model, frames)
            _require(len(results) == count, f"{count} frames in, {len(results)} out")
            for result in results:
                _require(result.frames.shape == (1, 3, *reversed(model.out_size(w, h))), "size is not as declared")


def _check_mask(model: FrameModel, width: int, height: int) -> None:
    frames = film(5, width, height)
    place = model.place(width, height)
    if place is None and model.out_size(width, height) != (width, height):
        return
    left, top = place or (0, 0)
    fits = all(a >= 0 and a + b <= c for a, b, c in zip((left, top), (width, height), model.out_size(width, height)))
    _require(fits and left % 2 == top % 2 == 0, f"the source's picture cannot lie at {left}, {top}")
    for n, result in enumerate(run(model, frames)):
        here, luma, chroma = result.map(lambda part: part[0, :, top : top + height, left : left + width])
        chroma = luma if chroma is None else chroma
        if luma is None or chroma is None:
            continue
        same = (here - frames[n]).abs().amax(0) < 1e-6
        _require(bool(same[(luma[0] == 0) & (chroma[0] == 0)].all()), "a pixel was changed where the mask is 0")
        off = (luma_of(here[None]) - luma_of(frames[n : n + 1])).abs()[0]
        _require(bool((off[luma == 0] <= TOLERANCE).all()), "luma was changed where its mask is 0")


def _check_cuts(model: FrameModel, width: int, height: int) -> None:
    frames = film(9, width, height)
    other = frames.clone()
    other[4:] = 1 - other[4:]
    before, after = (stacked(run(model, f, cuts=(4,)))[:4] for f in (frames, other))
    _require(torch.equal(before, after), "a frame depends on what lies behind the next cut")
    alone = stacked(run(model, frames[4:]))
    after_cut = stacked(run(model, frames, cuts=(4,)))[4:]
    _require(_differ(after_cut, alone) <= TOLERANCE, "a frame depends on what lies before the last cut")


def _check_run_length(model: FrameModel, width: int, height: int) -> None:
    frames = film(9, width, height)
    whole = stacked(run(model, frames))
    for start, stop in ((0, 3), (3, 9), (8, 9)):
        part = stacked(run(model, frames, start=start, stop=stop))
        _require(torch.equal(part, whole[start:stop]), "a result depends on where the range begins or ends")
    if model.grid == 0:
        for length in (1, 3):
            other = stacked(run(model, frames, length=length))
            _require(_differ(other, whole) <= TOLERANCE, "grid is 0, yet results depend on the run's length")


def _check_live_frames(model: FrameModel, width: int, height: int) -> None:
    """The runner and the model together keep no more source frames alive than a run and its context."""
    frames = film(40, width, height)
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def source(first: int, stop: int) -> Generator[Tensor, None, None]:
        nonlocal most
        for n in range(first, stop):
            frame = frames[n].clone()
            alive.add(frame)
            gc.collect(0)
            most = max(most, len(alive))
            yield frame
            del frame

    length = 4
    for _ in restore(source, [model], shots_of(frames), start=0, stop=40, sizes=[RunSize(length)]):
        pass
    bound = (model.grid or length) + model.before + model.after + 10  # and the frames that peek keeps
    _require(most <= bound, f"{most} source frames alive, {bound} expected")


def _differ(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _require(kept: bool, clause: str) -> None:
    if not kept:
        raise ModelError(f"the model breaks its contract: {clause}")
