"""What a model is: the interface that every restorer has. Read this file first.

A film is a stream of frames n = 0, 1, 2, ..., cut into shots. A model is given a run of neighbouring frames of one shot
and answers for the middle of it; what lies at the ends of the run is context. The runner (core.runner), not the model,
decides how long runs are, moves them to the device, pads, crops, clamps, tiles, and makes runs smaller when memory runs
out.

Inside, a picture is RGB, float32, [0, 1], (3, H, W).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from restore_utils.core.resize import resized, resized_stream

Frames = Callable[[int, int], Generator[Tensor, None, None]]
"""`frames(first, stop)` opens a stream of the frames first <= n < stop, each (3, H, W); who opens it closes it."""

_PEEKS_KEPT = 8


class Result(NamedTuple):
    """A model's answer for some frames."""

    frames: Tensor
    """(k, 3, H2, W2), float32, RGB, [0, 1]."""
    mask: Tensor | None = None
    """(k, 1, H2, W2), [0, 1]: how far each pixel was changed. Exactly 0 = not touched; None = all may be changed."""
    chroma_mask: Tensor | None = None
    """The same for chroma alone, where it differs: `mask` then tells how far luma was changed. None = as `mask`."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Result:
        """The frames and each mask that there is, changed alike."""
        return Result(change(self.frames), *(None if mask is None else change(mask) for mask in self[1:]))


@dataclass(frozen=True)
class Shot:
    """The frames first <= n < stop between two cuts, as a model may look at them. Read-only."""

    first: int
    stop: int
    stats: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """What the analysis measured of each frame, arrays of length stop - first: luma, exposure, motion, duplicate, ...,
    and `border` (4,), the same for the whole film. Lengths are in pixels of this stage's input."""
    source: Frames | None = field(default=None, repr=False, compare=False)
    film: Film = field(default=None, repr=False, compare=False)  # type: ignore[assignment]
    """The film that it belongs to, for models that look at other shots."""

    def __post_init__(self) -> None:
        if self.film is None:
            object.__setattr__(self, "film", Film([self], self.source))

    def peek(self, n: int) -> Tensor:
        """Any frame of this shot as this stage's input, (3, H, W). Slow: decodes from the last key frame; cached."""
        if not self.first <= n < self.stop:
            raise IndexError(f"frame {n} is not in the shot {self.first}..{self.stop - 1}")
        return self.film.peek(n)

    def scaled(self, width: int, height: int) -> Shot:
        """The shot as it is at another size, in pixels: its frames, and all that is measured in pixels."""
        return self.film.scaled(width, height).shot_at(self.first)


class Film:
    """A film as one model of a chain sees it: all its shots and any of its frames. Read-only."""

    def __init__(
        self,
        shots: Sequence[Shot],
        source: Frames | None = None,
        *,
        size: tuple[int, int] | None = None,
        grey: bool = False,
        first: int | None = None,
        stop: int | None = None,
    ) -> None:
        """
        Args:
            shots: in order and without gaps; they are taken over as shots of this film.
            source: opens a stream of its frames; None: none can be looked at.
            size: width and height in pixels; None: that of the first frame, which is looked at when it is asked for.
            grey: whether it has no chroma.
            first, stop: the frames first <= n < stop are to be restored; all by default.
        """
        self.source, self.grey = source, grey
        self.shots = tuple(Shot(shot.first, shot.stop, shot.stats, source, self) for shot in shots)
        self.first = self.shots[0].first if first is None else first
        self.stop = self.shots[-1].stop if stop is None else stop
        self._size = size
        self._peeked: OrderedDict[int, Tensor] = OrderedDict()
        self._scaled: dict[tuple[int, int], Film] = {}

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self._size is None:
            height, width = self.peek(self.first).shape[-2:]
            return width, height
        return self._size

    def shot_at(self, n: int) -> Shot:
        """The shot that frame n belongs to."""
        return next(shot for shot in self.shots if shot.first <= n < shot.stop)

    def peek(self, n: int) -> Tensor:
        """Any frame, (3, H, W), as this stage's input. Slow: decodes from the last key frame; the last few are kept."""
        if self.source is None:
            raise LookupError(f"frame {n} cannot be looked at: this film is given by its measurements only")
        if n not in self._peeked:
            with closing(self.source(n, n + 1)) as frames:
                self._peeked[n] = next(frames)
            while len(self._peeked) > _PEEKS_KEPT:
                self._peeked.popitem(last=False)
        self._peeked.move_to_end(n)
        return self._peeked[n]

    def scaled(self, width: int, height: int) -> Film:
        """The film as it is at another size, in pixels."""
        if (width, height) == self.size:
            return self
        if (width, height) not in self._scaled:
            shots = _scaled_shots(self.shots, width / self.size[0], height / self.size[1])
            small = _Resized(shots, self._resized(width, height), size=(width, height), **self._facts())
            small.base = self
            self._scaled[width, height] = small
        return self._scaled[width, height]

    def given_by(self, source: Frames) -> Film:
        """The same film, whose frames a stream gives."""
        return Film(self.shots, source, size=self._size, **self._facts())

    def forget(self) -> None:
        """Let go of the frames that were looked at."""
        for film in (self, *self._scaled.values()):
            film._peeked.clear()

    def after(self, model: FrameModel) -> Film:
        """The film that a model makes of this one, by its measurements."""
        width, height = self.size
        shots: Sequence[Shot] = self.shots
        size, place = model.out_size(width, height), model.place(width, height)
        if size != self.size:
            if place is None:
                shots = _scaled_shots(shots, size[0] / width, size[1] / height)
            else:  # what lies round the source's picture has become picture
                shots = [Shot(s.first, s.stop, {k: v for k, v in s.stats.items() if k != "border"}) for s in shots]
        facts = self._facts() | {"grey": self.grey and not model.adds_color}
        return Film(shots, size=size, **facts)

    def _facts(self) -> dict:
        return {"grey": self.grey, "first": self.first, "stop": self.stop}

    def _resized(self, width: int, height: int) -> Frames | None:
        source = self.source
        return None if source is None else lambda first, stop: resized_stream(source(first, stop), width, height)


class _Resized(Film):
    """A film at another size, which looks at the frames that the film itself keeps."""

    base: Film

    def peek(self, n: int) -> Tensor:
        if n not in self._peeked:
            self._peeked[n] = resized(self.base.peek(n)[None], *self.size).clamp(0, 1)[0]
            while len(self._peeked) > _PEEKS_KEPT:
                self._peeked.popitem(last=False)
        self._peeked.move_to_end(n)
        return self._peeked[n]


def _scaled_shots(shots: Sequence[Shot], across: float, down: float) -> list[Shot]:
    """Shots whose picture is that many times as wide and as high."""
    factors = {"motion": np.array([across, down], np.float32)}
    made = []
    for shot in shots:
        stats = {name: values * factors[name] if name in factors else values for name, values in shot.stats.items()}
        if "border" in stats:  # a pixel that is border in part counts as border
            stats["border"] = np.ceil(stats["border"] * np.array([across, down, across, down])).astype(int)
        made.append(Shot(shot.first, shot.stop, stats))
    return made


STAGES = ("repair", "enlarge", "colour", "widen")
"""In what order models that do these things should stand in a chain."""


class FrameModel(Protocol):
    """What step three of every restorer is. Subclass it for the defaults, or have the same attributes.

    Models see only frames of one shot. A model must answer with as many frames as it is asked for, each of the size
    that `out_size` declares, and must not keep anything between calls but what `open` returned.

    A model whose `open` is slow may have `save_state(state) -> dict[str, np.ndarray]` and `load_state(arrays) -> state`
    as well: what `open` found out about a shot is then kept beside the results and not found out again.
    """

    name: str = ""
    """What it is called in messages and reports; "": by its class."""
    options: Mapping[str, object] = MappingProxyType({})
    """All of its options, as used."""
    fingerprint: str = ""
    """Of its weights, and of whatever else it reads: results are taken as finished where this is the same."""
    version: str = "1"
    """Of its code: another one whenever the same input gives another result."""

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
    dtype: torch.dtype = torch.float32
    """Numbers that its network computes in, where the machine decides on them: a plan holds what was decided."""
    on_host: bool = False
    """Whether it works in NumPy and OpenCV on the host: frames are then not moved to the device for it."""

    sees_film: bool = True
    """Whether its answers may depend on other shots of the film (`shot.film`). Where it is False, pieces that are
    finished stay when cuts are set otherwise in other shots."""

    pixel_aspect: Fraction = Fraction(1)
    """Width over height of a pixel of the film as it is shown; set by who knows the film, before anything is asked."""

    stage: str = ""
    """Where in a chain it belongs: one of STAGES; empty: anywhere."""
    adds_color: bool = False
    """Whether a grey source gets colour: the result then has chroma planes, 4:2:0 in the source's own bit depth."""
    keeps_luma: bool = False
    """Whether only chroma is the model's: luma stays the source's own, sample for sample. Its mask is one of chroma."""

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of the result for an input of that size."""
        return width, height

    def place(self, width: int, height: int) -> tuple[int, int] | None:
        """Left and top, even, at which an input of that size lies unchanged in a result that is larger.

        Where the mask is 0 there, the source's own samples are written. None: it lies nowhere, as when it is enlarged.
        """
        return None

    def refuse(self, film: Film) -> str | None:
        """Why this film cannot be restored with these settings, and what to do, in one line; None where it can.

        Asked before the start: the film's size, its shots with their measurements and the frames wanted are known, but
        no frame can be looked at.
        """
        return None

    def open(self, shot: Shot) -> object:
        """Look at a shot once before its first run; what is returned comes back as `state` and is read-only."""
        return shot

    def notes(self, state: object) -> Sequence[str]:
        """What the report is to say of a shot, a line each, of what `open` returned for it."""
        return ()

    def figures(self, state: object) -> Sequence[tuple[str, np.ndarray]]:
        """What the report is to show of a shot: captions and small pictures, uint8 RGB (H, W, 3)."""
        return ()

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        """Answer for the frames lo <= n < hi.

        Args:
            run: (T, 3, H, W), float32, RGB, [0, 1], on the device; run[0] is frame `at` <= lo.
            state: what `open` returned for this shot.
        """
        ...


def name_of(model: FrameModel) -> str:
    """What a model is called."""
    return getattr(model, "name", "") or type(model).__name__
