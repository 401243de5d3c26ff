"""Simple things made into models: a function of single frames, a network on windows, a recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from restore_utils.core.model import FrameModel, Result, Shot

ENDS = ("replicate", "reflect", "new_info")


def per_frame(
    function: Callable[[Tensor], Tensor | Result], *, scale: int = 1, multiple_of: int = 1, reach: int | None = None
) -> FrameModel:
    """A model that looks at one frame at a time.

    Args:
        function: maps (k, 3, H, W) to frames (k, 3, H * scale, W * scale) or to a Result.
        scale, multiple_of, reach: in pixels, as in FrameModel.
    """
    return _PerFrame(function, scale, multiple_of, reach)


def windowed(
    network: Callable[[Tensor], Tensor],
    before: int,
    after: int,
    *,
    ends: str = "replicate",
    encode: Callable[[Tensor], Tensor] | None = None,
    scale: int = 1,
    multiple_of: int = 1,
    reach: int | None = None,
) -> FrameModel:
    """A network that sees `before` + 1 + `after` frames and answers for the one between, as EDVR or FastDVDnet.

    Args:
        network: maps one window (N, 3, H, W), or what `encode` made of it (N, ...), to (3, H * scale, W * scale).
        ends: frames that a window lacks at the ends of a shot. "replicate": the last one again; "reflect": mirrored;
            "new_info": the frames just beyond the window's other end, so that all are distinct (EDVR, called
            reflection_circle in BasicSR).
        encode: what is computed of each frame by itself, (T, 3, H, W) -> (T, ...): done once per run, not per window.
    """
    if ends not in ENDS:
        raise ValueError(f"ends must be one of {', '.join(ENDS)}, not {ends!r}")
    return _Windowed(network, before, after, ends, encode, scale, multiple_of, reach)


def chunked(
    network: Callable[[Tensor], Tensor],
    length: int,
    overlap: int = 0,
    *,
    scale: int = 1,
    multiple_of: int = 1,
    reach: int | None = None,
) -> FrameModel:
    """A recurrent network, run on chunks of `length` frames with `overlap` frames of context on each side.

    Args:
        network: maps (T, 3, H, W) to (T, 3, H * scale, W * scale), any T up to length + 2 * overlap.
    """
    return _Chunked(network, length, overlap, scale, multiple_of, reach)


def window_indices(n: int, first: int, stop: int, before: int, after: int, ends: str) -> list[int]:
    """Frame numbers of the window round frame n of a shot, by one of the rules in ENDS.

    In a shot with fewer frames than a window has, numbers that a rule puts outside the shot are clamped to it.
    """
    numbers = []
    for i in range(n - before, n + after + 1):
        if i < first:
            i = {"replicate": first, "reflect": 2 * first - i, "new_info": n + after + (first - i)}[ends]
        elif i >= stop:
            last = stop - 1
            i = {"replicate": last, "reflect": 2 * last - i, "new_info": n - before - (i - last)}[ends]
        numbers.append(min(max(i, first), stop - 1))
    return numbers


class _Scaled(FrameModel):
    sees_film = False
    scale: int

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        return width * self.scale, height * self.scale


@dataclass
class _PerFrame(_Scaled):
    function: Callable[[Tensor], Tensor | Result]
    scale: int
    multiple_of: int
    reach: int | None

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        answer = self.function(run[lo - at : hi - at])
        return answer if isinstance(answer, Result) else Result(answer)


class _Windowed(_Scaled):
    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        before: int,
        after: int,
        ends: str,
        encode: Callable[[Tensor], Tensor] | None,
        scale: int,
        multiple_of: int,
        reach: int | None,
    ) -> None:
        self.network, self.ends, self.encode = network, ends, encode
        self.window_before, self.window_after = before, after
        # A window at the end of a shot takes its missing frames from up to a whole window away on the other side.
        self.before = self.after = before + after if ends == "new_info" else max(before, after)
        self.scale, self.multiple_of, self.reach = scale, multiple_of, reach

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        assert isinstance(state, Shot)
        seen = run if self.encode is None else self.encode(run)
        answers = []
        for n in range(lo, hi):
            window = window_indices(n, state.first, state.stop, self.window_before, self.window_after, self.ends)
            answers.append(self.network(seen[[i - at for i in window]]))
        return Result(torch.stack(answers))


class _Chunked(_Scaled):
    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        length: int,
        overlap: int,
        scale: int,
        multiple_of: int,
        reach: int | None,
    ) -> None:
        self.network, self.grid, self.before, self.after = network, length, overlap, overlap
        self.scale, self.multiple_of, self.reach = scale, multiple_of, reach

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        return Result(self.network(run)[lo - at : hi - at])
