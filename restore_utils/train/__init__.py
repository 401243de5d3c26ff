"""Training: one's own networks, made from clean footage.

unet/      NoGAN, a U-Net from pairs of pictures, with fastai
film/      the film restorers, from clean clips; plain torch and OpenCV
color/     the colour network, from colour clips and photographs; plain torch
upscale/   the enlargers, from clean clips and stills; plain torch and OpenCV
widen/     what draws sides, from wide clips and stills; plain torch and OpenCV
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from restore_utils.errors import OptionError

KINDS = ("film", "color", "upscale", "widen")
"""Networks that learn from clean footage: each has `train(footage, out, *, minutes, device, seed)` in its `run`."""


def learn_kind(
    kind: str,
    footage: Path,
    out: Path,
    *,
    minutes: float,
    preset: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Path:
    """Train a network of one of the KINDS; a run in `out` is continued.

    Args:
        footage: a file or a folder of clean footage.
        minutes: of training in all.
        preset: of those kinds that have some; None: the kind's own default.
        device: auto, cpu or cuda.

    Returns:
        The file of the weights.

    Raises:
        OptionError: an unknown kind, no minutes, a preset where there is none.
        TrainingError: as the kind's own `train`.
    """
    from restore_utils.core.precision import choose_device

    if kind not in KINDS:
        raise OptionError(f"unknown kind {kind}: choose unet, {', '.join(KINDS)}")
    if minutes <= 0:
        raise OptionError(f"{minutes:g} minutes are none: give more")
    learn = import_module(f"{__package__}.{kind}.run").train
    own = {}
    if preset is not None:
        if "preset" not in inspect.signature(learn).parameters:
            raise OptionError(f"--kind {kind} has no presets: leave --preset out")
        own["preset"] = preset
    return learn([footage], out, minutes=minutes, device=str(choose_device(device)), seed=seed, **own)
