"""What a restoration is made of: which frames, by which models, in which pieces. All of it decided before the start."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version

import cv2
import numpy as np
import torch

from restore_utils.analyse import Analysis
from restore_utils.core.model import Film, FrameModel, name_of
from restore_utils.core.precision import device_class
from restore_utils.core.runner import RunSize
from restore_utils.core.tiles import smallest_tile
from restore_utils.errors import ModelError, OptionError
from restore_utils.jobs.settings import Settings
from restore_utils.media.inspect import Video
from restore_utils.media.read import FrameIndex
from restore_utils.media.write import Encoding
from restore_utils.version import __version__

_LONGEST_RUN = 8  # of a model without context
_MEMORY_SHARE = 0.4  # of what is free: the frames that wait in queues and the encoder need the rest


@dataclass(frozen=True)
class Segment:
    """The frames first <= n < stop of the film, and the hash of all that makes them."""

    first: int
    stop: int
    name: str

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True, eq=False)
class Chain:
    """Models in a row, and all that is decided of how they work."""

    models: tuple[FrameModel, ...]
    sizes: tuple[RunSize, ...]
    recipe: dict
    place: tuple[int, int] | None
    """Left and top of the source's picture in the result."""

    @property
    def cell(self) -> int:
        """Frames between places where all of its models begin a run."""
        return math.lcm(*(model.grid or size.length for model, size in zip(self.models, self.sizes, strict=True)))


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first frame is restored."""

    settings: Settings
    segments: tuple[Segment, ...]
    chains: tuple[Chain, ...]
    """That of the film first, then those that single shots have."""
    by: tuple[int, ...]
    """Of each shot of the film, by which of the chains it is restored."""
    device: torch.device
    film: Film
    """The source as the first model sees it, by its measurements."""
    width: int
    height: int
    adds_color: bool
    messages: tuple[str, ...]

    @property
    def models(self) -> tuple[FrameModel, ...]:
        """Those of the film; single shots may have others."""
        return self.chains[0].models

    @property
    def sizes(self) -> tuple[RunSize, ...]:
        """Those of the film's models."""
        return self.chains[0].sizes

    @property
    def recipe(self) -> dict:
        """That of the film."""
        return self.chains[0].recipe

    def chain_at(self, n: int) -> Chain:
        """The chain by which frame n is restored."""
        return self.chains[self.by[bisect_right(self._firsts, n) - 1]]

    @cached_property
    def _firsts(self) -> list[int]:
        return [shot.first for shot in self.film.shots]

    @property
    def first(self) -> int:
        return self.segments[0].first

    @property
    def stop(self) -> int:
        return self.segments[-1].stop

    def named_as(self, written: Mapping) -> Plan:
        """The same plan on another device than the one it was written for, with the names that its pieces have there.

        Args:
            written: what `written` gave there.
        """
        known = (written["recipe"]["models"], *written.get("chains", ()))
        chains = []
        for chain, models in zip(self.chains, known):
            own = [{**m, "dtype": there["dtype"]} for m, there in zip(chain.recipe["models"], models)]
            recipe = {**chain.recipe, "device": written["recipe"]["device"], "models": own}
            chains.append(replace(chain, recipe=recipe))
        plan = replace(self, chains=tuple(chains))
        named = (
            Segment(s.first, s.stop, segment_name(s.first, s.stop, plan.chain_at(s.first).recipe))
            for s in plan.segments
        )
        return replace(plan, segments=tuple(named))

    def written(self, index: FrameIndex) -> dict:
        """As plain data: with the film and its analysis, all that is needed to make any of its pieces anywhere."""
        more = {"chains": [chain.recipe["models"] for chain in self.chains[1:]]} if self.chains[1:] else {}
        ends = (self.settings.start, self.settings.stop)
        start, stop = (None if time is None else str(time) for time in ends)
        return {
            "recipe": self.recipe,
            "segments": [[s.first, s.stop, s.name] for s in self.segments],
            "settings": replace(self.settings, device=self.device.type).written(),
            "start": start,
            "stop": stop,
            "span": [None if time is None else str(time) for time in span(index, self.settings, self.first, self.stop)],
            "device_class": device_class(self.device),
            "codec": self.settings.encoding.codec,
            "size": [self.width, self.height],
            **more,
        }


def frame_range(analysis: Analysis, start: Fraction | None, stop: Fraction | None) -> tuple[int, int]:
    """The frames shown from `start` up to `stop`, in seconds after the first frame.

    Raises:
        OptionError: when no frame lies between them.
    """
    index = analysis.index
    seconds = [float((int(p) - int(index.pts[0])) * index.time_base) for p in (index.pts[0], index.pts[-1])]

    def first_at(time: Fraction) -> int:
        return int(np.searchsorted(index.pts, math.ceil(time / index.time_base) + int(index.pts[0])))

    first = 0 if start is None else first_at(start)
    last = len(index) if stop is None else first_at(stop)
    if first >= last:
        raise OptionError(f"no frame between the chosen times: the film runs from 0 to {seconds[1]:.2f} s")
    return first, last


def span(
    index: FrameIndex, settings: Settings, first: int, stop: int
) -> tuple[Fraction | None, Fraction | None, Fraction]:
    """What join() is told of the frames first <= n < stop, in seconds by the film's own clock.

    Returns:
        When they begin, None where nothing before them is left out; when all streams end, None for their own ends; and
        until when the last frame is shown.
    """

    def at(n: int) -> Fraction:
        return int(index.pts[n]) * index.time_base

    begin = None if settings.start is None else at(first)
    outlasting = stop == len(index)
    shown = index.end * index.time_base if outlasting else at(stop)
    asked = None if settings.stop is None else at(0) + settings.stop
    # A picture that stands, as in a GIF, ends where the part does; one of a steady film keeps its length.
    steps = np.diff(index.pts)
    if asked is not None and len(steps) and shown - at(stop - 1) > Fraction(3, 2) * int(steps.min()) * index.time_base:
        shown = min(shown, asked)
    if not outlasting:
        return begin, shown, shown
    # What outlasts the picture is kept, up to the time that was asked for.
    return begin, None if asked is None else max(shown, asked), shown


def tell_pixel_aspect(models: Sequence[FrameModel], video: Video) -> Fraction:
    """Tell each model of a chain what shape the pixels of its frames have; answers with that of the result.

    A picture that is enlarged is shown in the shape that it had: a DVD of 720x576 brought to 1440x1080 has square
    pixels. What a rounding to whole pixels changes is left out of account, and so is picture added at the sides.
    """
    shape, width, height = video.sample_aspect, video.width, video.height
    for model in models:
        model.pixel_aspect = shape
        wide, high = model.out_size(width, height)
        if model.place(width, height) is None and abs(wide * height - high * width) >= 2 * height:
            shape *= Fraction(width * high, height * wide)
        width, height = wide, high
    return shape


def out_size(models: Sequence[FrameModel], width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of what a chain makes of frames of that size."""
    for model in models:
        width, height = model.out_size(width, height)
    return width, height


def place(models: Sequence[FrameModel], width: int, height: int) -> tuple[int, int] | None:
    """Left and top at which frames of that size lie in what a chain makes of them; None: they lie nowhere.

    Raises:
        ModelError: a model puts them where they cannot be.
    """
    left, top = 0, 0
    for model in models:
        size, moved = model.out_size(width, height), model.place(width, height)
        if moved is None and size != (width, height):
            return None
        x, y = moved or (0, 0)
        if x % 2 or y % 2 or not (0 <= x <= size[0] - width and 0 <= y <= size[1] - height):
            raise ModelError(f"{name_of(model)} puts a picture of {width}x{height} at {x}, {y} of one of {size}")
        left, top, (width, height) = left + x, top + y, size
    return left, top


def check(models: Sequence[FrameModel], film: Film) -> None:
    """Ask each model of a chain whether it can restore this film.

    Raises:
        OptionError: one cannot; says why and what to do.
    """
    for model in models:
        if reason := model.refuse(film):
            raise OptionError(f"{name_of(model)}: {reason}")
        film = film.after(model)


def run_sizes(models: Sequence[FrameModel], width: int, height: int, memory: int) -> list[RunSize]:
    """How long the runs and how large the tiles of each model may be where `memory` bytes are free."""
    memory = memory * _MEMORY_SHARE
    sizes = []
    for model in models:
        least = model.memory_per_pixel * ((model.grid or 1) + model.before + model.after)
        further = model.memory_per_further_pixel or model.memory_per_pixel
        spare = memory / (width * height) - least
        tile = None
        if spare < 0 and model.reach is not None:
            tile = max(smallest_tile(model.reach, model.multiple_of), int(math.sqrt(memory / least)))
            tile = tile if tile < max(width, height) else None
        longest = _LONGEST_RUN
        # What a model works out about frames of context it works out again for the next run: at most half of what it
        # is given. A power of two, so that runs of all models of a chain often begin at the same frame.
        while longest < model.before + model.after and not model.grid:
            longest *= 2
        sizes.append(RunSize(max(1, min(longest, 1 + int(spare // further))), tile))
        width, height = model.out_size(width, height)
    return sizes


def plan_segments(
    shots: Sequence[tuple[int, int]], first: int, stop: int, length: int, cell: int
) -> list[tuple[int, int]]:
    """Cut the film into pieces of about `length` frames, at cuts and where all models of the chain begin a run.

    The places do not depend on `first` and `stop`, so that another choice of these finds most pieces finished.

    Args:
        shots: (first, stop) of each shot, without gaps.
        first, stop: the frames wanted.
        cell: frames between places where all models of the chain begin a run.
    """
    places = [n for a, b in shots for n in range(a, b, cell)] + [shots[-1][1]]
    pieces, begin = [], places[0]
    for place, following in zip(places[1:], [*places[2:], None], strict=True):
        if following is None or following - begin > length:
            pieces.append((begin, place))
            begin = place
    return [(max(a, first), min(b, stop)) for a, b in pieces if a < stop and b > first]


def plan_by_shot(
    cuts: Sequence[tuple[int, int]],
    by: Sequence[int],
    named: Sequence[bool],
    found: Sequence[tuple[int, int]],
    first: int,
    stop: int,
    length: int,
    cells: Sequence[int],
) -> list[tuple[int, int]]:
    """The pieces of a film of which single shots are named by a list, or begin or end elsewhere than was found.

    Each of these is cut into pieces by itself, and the pieces of all others are those that there are without it.

    Args:
        cuts, by, named: (first, stop) of each shot, in order, without gaps, the number of its chain, and whether a list
            names it.
        found: the shots as they were found.
        cells: as `cell` of `plan_segments`, for each chain.
    """
    usual, known = plan_segments(found, first, stop, length, cells[0]), set(found)
    pieces: list[tuple[int, int]] = []
    at = 0
    for one, chain, its_own in [*zip(cuts, by, named, strict=True), (None, 0, True)]:
        if not its_own and one in known:
            continue
        begin, end = one or (cuts[-1][1], 0)
        between = ((max(a, at), min(b, begin)) for a, b in usual)
        pieces += [(a, b) for a, b in between if a < b]
        if one is not None:
            pieces += plan_segments([one], first, stop, length, cells[chain])
        at = end
    return pieces


def segment_name(first: int, stop: int, recipe: Mapping) -> str:
    """The hash of a range and of all that decides what its frames become."""
    return hashed([first, stop, looked_at(recipe, first, stop)])


def looked_at(recipe: Mapping, first: int, stop: int) -> dict:
    """A recipe, with the measurements of those shots alone that the frames first <= n < stop belong to.

    Those of all shots, where a model of it looks at other shots too.
    """
    known = recipe.get("analysis")
    if not known:
        return dict(recipe)
    if any(model["sees_film"] for model in recipe["models"]):
        return {**recipe, "analysis": known["film"]}
    return {**recipe, "analysis": [shot for shot in known["shots"] if shot[0] < stop and shot[1] > first]}


def hashed(data: object) -> str:
    """A name for plain data, 20 hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:20]


def make_recipe(
    content: str,
    analysis: Analysis,
    models: Sequence[FrameModel],
    sizes: Sequence[RunSize],
    settings: Settings,
    device: torch.device,
    pixel_format: str,
) -> dict:
    """All that decides what a frame becomes, as plain data: equal recipes make equal frames on one machine."""
    return {
        "source": content,
        "analysis": {"film": analysis.digest(), "shots": analysis.digests()},
        "models": [
            {
                "name": m.name,
                "options": dict(m.options),
                "weights": m.fingerprint,
                "version": m.version,
                "sees_film": m.sees_film,
                "dtype": str(m.dtype).removeprefix("torch."),
                **asdict(size),
            }
            for m, size in zip(models, sizes, strict=True)
        ],
        "encoding": asdict(settings.encoding),
        "pixel_format": pixel_format,
        "mask": settings.mask,
        "device": device.type,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what takes part in making a frame."""
    found = {name: version(name) for name in ("torch", "av", "numpy", "scenedetect")}
    # OpenCV comes in packages of several names.
    return {"restore_utils": __version__, "opencv": cv2.__version__, **found}


_BITS_PER_PIXEL = {"h264": 0.35, "h265": 0.25, "prores": 4.0, "dnxhr": 4.0, "ffv1": 9.0}
_BITS_PER_PIXEL |= {"png": 16.0, "tiff": 24.0, "dpx": 24.0, "exr": 24.0, "jpeg": 6.0}


def bytes_needed(encoding: Encoding, video: Video, width: int, height: int, frames: int) -> int:
    """Disk space for the segments of `frames` frames and for the film made of them; a guess, on the safe side."""
    depth = video.bit_depth / 8 if encoding.codec in ("ffv1", "png", "tiff", "dpx", "exr") else 1
    return int(2 * frames * width * height * _BITS_PER_PIXEL[encoding.codec] * depth / 8)
