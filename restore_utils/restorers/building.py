"""How models are made of restorers: the options that all have, and half precision, checked before it is used."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from restore_utils.core.model import FrameModel
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import film, shots_of, stream_of
from restore_utils.errors import ModelError
from restore_utils.restorers import weights
from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source

log = logging.getLogger(__name__)

MOST_FACTOR = 256
_FARTHEST = 1.0  # grey levels of 255 that half precision may be off on average
_SIDE = 64  # pixels of the film that tells: on it networks are a little further off than on pictures of a camera


def common_options(render_factor: int) -> tuple[Option, ...]:
    """The options that all models have."""
    words = "work on a square of factor x 16 pixels; 0: at full size"
    return (
        Option("render_factor", render_factor, low=0, high=MOST_FACTOR, help=words),
        Option("stretch", False, help="at a render factor: the square itself, stretched, without finer detail"),
        Option("chroma_only", False, help="keep the luma of the source"),
    )


def make_model(
    restorer: Restorer, source: Source, options: dict[str, Any], device: torch.device
) -> tuple[FrameModel, dict[str, Any]]:
    """A model, and its options as they are used: those given, but in float32 where half precision would show.

    A network that is to compute in float16 or bfloat16 first answers for one frame of a small film, always the same,
    beside itself in float32. Where it is a grey level off on average or more, or cannot answer, float32 it is.
    """
    build = restorer.build
    if options.get("precision", "float32") != "float32":
        case = (restorer.name, weights.fingerprint(source.path), device, *sorted(options.items()))
        if case not in _spoilt:
            _spoilt[case] = _is_spoilt(restorer, source, options, device)
        if _spoilt[case]:
            options = options | {"precision": "float32"}
    return build(source, options, device), options


_spoilt: dict[tuple, bool] = {}  # remembered while the program runs, which makes its models more than once


def _is_spoilt(restorer: Restorer, source: Source, options: dict[str, Any], device: torch.device) -> bool:
    """Whether a network's answers are not those that it gives in float32; says so."""
    half, exact = (restorer.build(source, options | kind, device) for kind in ({}, {"precision": "float32"}))
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
    log.warning("%s uses float32, since precision=%s cannot be used: %s", source.name, precision, why)
    return True


def _answer(model: FrameModel, device: torch.device) -> Tensor:
    """A model's answer for the middle frame of the film that tells, (1, 3, H, W)."""
    n = model.before
    frames = film(n + 1 + model.after, _SIDE, _SIDE)
    (result,) = restore(
        stream_of(frames), [model], shots_of(frames), start=n, stop=n + 1, device=device, sizes=[RunSize(1)]
    )
    return result.frames
