"""Stretches of clean film made into what UpscaleNet learns from: aligned windows, and what they should become.

Alignment is the one that is used on films (film.align), on the degraded frames, with all its errors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore_utils.restorers.film.align import View, choose, view
from restore_utils.restorers.upscale.network import FRAMES
from restore_utils.restorers.upscale.windows import aligned, times
from restore_utils.train.upscale.codecs import coder
from restore_utils.train.upscale.degradation import Coder, degraded
from restore_utils.train.upscale.stretches import Stretches

COUNT = 3  # windows of a stretch: to read and to wear it out costs more than to align one
ALONE = 0.18  # share of windows without neighbours: stills, shots of a frame
FEW = 0.08  # and of those that lack some


class Sample(NamedTuple):
    """One window, uint8."""

    frames: np.ndarray  # (FRAMES, 3, H, W): as UpscaleNet takes them, of 255
    valid: np.ndarray  # (SLOTS,) float32
    large: np.ndarray  # (3, 2 H, 2 W): the clean frame


def samples(clean: Tensor, rng: np.random.Generator, *, count: int = 3, coder: Coder | None = None) -> list[Sample]:
    """Degrade a stretch and make some of its windows.

    Args:
        clean: (T, 3, 2 H, 2 W) uint8 on any device; H and W multiples of 16, T >= 5 for whole windows.
        rng: of everything drawn.
        count: windows.
        coder: see degradation.degraded.
    """
    clean = varied(clean.float() / 255, rng)
    low = (degraded(clean, rng, coder) * 255).round().byte()
    clean = (clean * 255).round().byte()
    pictures = low.permute(0, 2, 3, 1).cpu().numpy()
    views = [view(p.astype(np.float32) / 255) for p in pictures]
    clean = clean.cpu().numpy()
    total = len(views)
    inner = range(2, total - 2)
    chosen = list(rng.permutation(inner)[:count]) if len(inner) else [total // 2]
    if len(chosen) == count and rng.random() < 0.3:
        chosen[-1] = int(rng.integers(total))
    return [_sample(views, int(n), clean[n], rng) for n in chosen]


def _sample(views: Sequence[View], n: int, clean: np.ndarray, rng: np.random.Generator) -> Sample:
    slots = choose(range(n)[::-1], range(n + 1, len(views)))
    drawn = rng.random()
    missing = FRAMES - 1 if drawn < ALONE else int(rng.integers(1, 4)) if drawn < ALONE + FEW else 0
    for slot in rng.permutation(FRAMES - 1)[:missing]:
        slots[slot] = None
    frames, valid, _ = aligned(views[n], [None if m is None else views[m] for m in slots], times(n, slots))
    return Sample((frames.clip(0, 1) * 255 + 0.5).astype(np.uint8), valid, clean)


def varied(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light and colour, black and white or tinted; (T, 3, H, W), RGB, [0, 1]."""
    if rng.random() < 0.6:
        low, high = rng.uniform(-0.04, 0.12), rng.uniform(0.75, 1.1)
        frames = (low + (high - low) * frames.clamp(0, 1) ** rng.uniform(0.65, 1.5)).clamp(0, 1)
    if rng.random() < 0.4:
        weights = frames.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        frames = (frames * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        if rng.random() < 0.3:
            frames = frames * frames.new_tensor(rng.uniform(0.75, 1, 3)).view(3, 1, 1)
    return frames


class Windows(torch.utils.data.Dataset):
    """Samples without end; sample i is the same whenever and wherever it is made.

    Args:
        stretches: clean footage.
        seed: of all draws.
    """

    def __init__(self, stretches: Stretches, seed: int) -> None:
        self.stretches, self.seed = stretches, seed

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, i: int) -> list[Sample]:
        """COUNT samples of one stretch."""
        rng = np.random.default_rng((self.seed, i))
        return samples(self.stretches.draw(rng), rng, count=COUNT, coder=coder)
