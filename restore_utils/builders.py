"""How models are made: each architecture's builder, and the options that may follow a model's name.

A new architecture is a file in archs/ or classic/ and one line in `BUILDERS`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore_utils import weights
from restore_utils.contract import film, shots_of, stream_of
from restore_utils.errors import ModelError
from restore_utils.options import Option
from restore_utils.stream import FrameModel, Result, RunSize, restore

log = logging.getLogger(__name__)

MOST_FACTOR = 256
_FARTHEST = 1.0  # grey levels of 255 that half precision may be off on average
_SIDE = 64  # pixels of the film that tells: on it networks are a little further off than on pictures of a camera


@dataclass(frozen=True)
class Source:
    """What a builder works from: a weight file, if there is one, and what is known of it."""

    name: str
    path: Path | None = None
    stated_ends: str | None = None
    """How windows are filled at the ends of a shot, as the zoo's data file says; None: as the weight file says."""

    @cached_property
    def checkpoint(self) -> weights.Checkpoint:
        return weights.read(self.path)

    @property
    def ends(self) -> str:
        return self.checkpoint.metadata.get("ends", "") if self.stated_ends is None else self.stated_ends


class Copy(FrameModel):
    """Leaves every frame as it is and says so: mask 0."""

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        frames = run[lo - at : hi - at]
        return Result(frames, frames.new_zeros(len(frames), 1, *frames.shape[-2:]))


@dataclass(frozen=True)
class Builder:
    """How an architecture becomes a model, and what options it takes beside those that all have."""

    build: Callable[[Source, dict[str, Any], torch.device], FrameModel]
    options: Callable[[], tuple[Option, ...]] = tuple
    from_file: bool = False


_PRECISION = Option(
    "precision", "float32", choices=("float32", "float16", "bfloat16"), help="what numbers the network computes with"
)


def common_options(render_factor: int) -> tuple[Option, ...]:
    """The options that all models have."""
    words = "work on a square of factor x 16 pixels; 0: at full size"
    return (
        Option("render_factor", render_factor, low=0, high=MOST_FACTOR, help=words),
        Option("stretch", False, help="at a render factor: the square itself, stretched, without finer detail"),
        Option("chroma_only", False, help="keep the luma of the source"),
    )


def _signature(module: str, name: str, skip: tuple[str, ...] = ()) -> Callable[[], tuple[Option, ...]]:
    """The options of a class or function: its parameters that have a default."""

    def options() -> tuple[Option, ...]:
        parameters = inspect.signature(getattr(import_module(module, __package__), name)).parameters
        return tuple(
            Option(key, parameter.default)
            for key, parameter in parameters.items()
            if key not in skip and isinstance(parameter.default, (bool, int, float, str))
        )

    return options


def _without_weights(module: str, name: str) -> Builder:
    def make(_source: Source, options: dict[str, Any], _device: torch.device) -> FrameModel:
        return getattr(import_module(module, __package__), name)(**options)

    return Builder(make, _signature(module, name))


def _loaded(module: str, name: str = "load") -> Builder:
    """An architecture whose module loads its own files: `load(path, *, device, **options)`."""

    def make(source: Source, options: dict[str, Any], device: torch.device) -> FrameModel:
        return getattr(import_module(module, __package__), name)(source.path, device=device, **options)

    return Builder(make, _signature(module, name, skip=("path", "device")), from_file=True)


def _network(module: str, name: str, *options: Option) -> Builder:
    """A network of other people: `name(checkpoint, *, where, device, precision, **options)` makes a model of it."""

    def make(source: Source, chosen: dict[str, Any], device: torch.device) -> FrameModel:
        extra = {"ends": source.ends} if source.ends else {}
        build_model = getattr(import_module(module, __package__), name)
        return build_model(source.checkpoint.tensors, where=str(source.path), device=device, **extra, **chosen)

    return Builder(make, lambda: (*options, _PRECISION), from_file=True)


def _unet(source: Source, chosen: dict[str, Any], device: torch.device) -> FrameModel:
    """A U-Net that `train` wrote; what it is built like stands in the file."""
    build_model = import_module(".image_models", __package__).unet
    return build_model(source.checkpoint, where=str(source.path), device=device, **chosen)


_STAGE2 = Option("finetune_stage2", False, help="run the second stage behind it: sharper, twice the time")
_SIGMA = Option("sigma", 20.0, low=0.0, high=75.0, help="standard deviation of the noise, in grey levels of 255")

BUILDERS: Mapping[str, Builder] = {
    "copy": Builder(lambda _source, _options, _device: Copy()),
    "median": _without_weights(".classic.median", "Median"),
    "deflicker": _without_weights(".classic.deflicker", "Deflicker"),
    "steady": _without_weights(".classic.steady", "Steady"),
    "film": _loaded(".film"),
    "edvr": _network(".video_models", "edvr", _STAGE2),
    "fastdvdnet": _network(".video_models", "fastdvdnet", _SIGMA),
    "unet": Builder(_unet, lambda: (_PRECISION,), from_file=True),
    "image": _network(".image_models", "image_model"),
}


def make_model(
    architecture: str, source: Source, options: dict[str, Any], device: torch.device
) -> tuple[FrameModel, dict[str, Any]]:
    """A model, and its options as they are used: those given, but in float32 where half precision would show.

    A network that is to compute in float16 or bfloat16 first answers for one frame of a small film, always the same,
    beside itself in float32. Where it is a grey level off on average or more, or cannot answer, float32 it is.
    """
    build = BUILDERS[architecture].build
    if options.get("precision", "float32") != "float32":
        case = (architecture, weights.fingerprint(source.path), device, *sorted(options.items()))
        if case not in _spoilt:
            _spoilt[case] = _is_spoilt(build, source, options, device)
        if _spoilt[case]:
            options = options | {"precision": "float32"}
    return build(source, options, device), options


_spoilt: dict[tuple, bool] = {}  # remembered while the program runs, which makes its models more than once


def _is_spoilt(build: Callable[..., FrameModel], source: Source, options: dict[str, Any], device: torch.device) -> bool:
    """Whether a network's answers are not those that it gives in float32; says so."""
    half, exact = (build(source, options | kind, device) for kind in ({}, {"precision": "float32"}))
    half.name = exact.name = source.name
    wanted = _answer(exact, device)
    try:
        off = float((_answer(half, device) - wanted).abs().mean()) * 255
        if off < _FARTHEST:
            return False
        why = f"{off:.1f} grey levels off on average"
    except (ModelError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
    precision = options["precision"]
    log.warning("%s goes on in float32, since precision=%s cannot be used: %s", source.name, precision, why)
    return True


def _answer(model: FrameModel, device: torch.device) -> Tensor:
    """A model's answer for the middle frame of the film that tells, (1, 3, H, W)."""
    n = model.before
    frames = film(n + 1 + model.after, _SIDE, _SIDE)
    (result,) = restore(
        stream_of(frames), [model], shots_of(frames), start=n, stop=n + 1, device=device, sizes=[RunSize(1)]
    )
    return result.frames
