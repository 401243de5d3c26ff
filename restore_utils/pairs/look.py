"""Damage to look at: every fault once, and how much of the picture a recipe ruins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from restore_utils.damage import recipes
from restore_utils.damage.chance import check_seed
from restore_utils.damage.fault import FAULTS
from restore_utils.damage.faults import apply, plan

_VISIBLE = 0.1  # of a defect's opacity
_TRIES = 40  # draws until a fault that comes seldom is on one of the frames


def one_of_each(
    frames: Tensor,
    *,
    strength: float = 1.5,
    seed: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Tensor]:
    """The frame on which each fault shows most, alone, by the fault's name.

    Args:
        frames: (T, 3, H, W), float32, RGB, [0, 1]: neighbouring frames, some for faults that come seldom.
        progress: told how many faults are done, and of how many.

    Returns:
        Pictures (3, H, W).
    """
    size = (frames.shape[-1], frames.shape[-2])
    nothing = recipes.load("heavy").only()
    pictures = {}
    for count, name in enumerate(FAULTS, 1):
        rng = np.random.default_rng(check_seed(seed))
        for _ in range(_TRIES):
            drawn = plan(rng, len(frames), size, nothing.plus(name, strength=strength))
            # The codec acts on a whole run and needs PyAV, so it is asked for by itself.
            made = apply(frames, drawn, 0, codec=bool(drawn.at("codec"))).damaged
            if made.shape != frames.shape or not torch.equal(made, frames):
                break
        most = (made - frames).abs().mean(dim=(1, 2, 3)).argmax() if made.shape == frames.shape else 0
        pictures[name] = made[int(most)]
        if progress:
            progress(count, len(FAULTS))
    return pictures


def shares(
    recipe: recipes.Recipe,
    size: tuple[int, int],
    *,
    count: int = 100,
    seed: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> np.ndarray:
    """Share of the picture under local defects, float (count,), one frame each of `count` clips drawn from a recipe.

    Args:
        size: (width, height) in pixels.
        progress: told how many clips are done, and of how many.
    """
    rng = np.random.default_rng(check_seed(seed))
    grey = torch.full((1, 3, size[1], size[0]), 0.5)
    found = np.zeros(count)
    for n in range(count):
        made = apply(grey, plan(rng, 240, size, recipe), int(rng.integers(240)))
        found[n] = float((made.mask.amax(1) > _VISIBLE).float().mean())
        if progress:
            progress(n + 1, count)
    return found
