"""Clean stretches to learn from: pieces of clips, reduced since most are soft for their size, and stills in motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.errors import TrainingError
from restore_utils.train.film.footage import Clip, gather
from restore_utils.train.footage import CLIPS, STILLS, files, still

HEIGHT, WIDTH, LENGTH = 192, 256, 7  # of a stretch, frames
REDUCED = (1.5, 2.2)  # how much clips are reduced, where they are large enough
STILL_SHARE = 0.4  # of the stretches, where there are stills: they are sharp, and nothing in them is blurred by motion
HELD = 8  # each eighth clip and still is held back
_PLACES = 3  # of so many places in a clip the one with most detail is taken


class Stretches:
    """Footage as `draw` gives it.

    Args:
        clips, stills: what `found` gives.
    """

    def __init__(self, clips: Sequence[Clip], stills: Sequence[Path]) -> None:
        self.clips, self.stills = clips, stills
        self.shots = [(clip, a, b) for clip in clips for a, b in clip.shots if b - a >= LENGTH]
        weights = np.array([clip.weight * (b - a) / clip.count for clip, a, b in self.shots])
        self.chances = weights / weights.sum() if len(weights) else weights

    def __bool__(self) -> bool:
        return bool(self.shots or self.stills)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """A stretch, (LENGTH, 3, HEIGHT, WIDTH) uint8, RGB."""
        if self.stills and (not self.shots or rng.random() < STILL_SHARE):
            return travelled(_still(self.stills[rng.integers(len(self.stills))]), rng)
        clip, first, stop = self.shots[rng.choice(len(self.shots), p=self.chances)]
        places = [self._place(clip, first, stop, rng) for _ in range(_PLACES)]
        return max(places, key=lambda place: place.float().diff(dim=-1).abs().mean())

    def _place(self, clip: Clip, first: int, stop: int, rng: np.random.Generator) -> Tensor:
        height, width = clip.frames.shape[1:3]
        scale = max(1.0, min(rng.uniform(*REDUCED), height / HEIGHT, width / WIDTH))
        high, wide = round(HEIGHT * scale), round(WIDTH * scale)
        at = int(rng.integers(first, stop - LENGTH + 1))
        y, x = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
        piece = clip.frames[at : at + LENGTH, y : y + high, x : x + wide]
        small = [cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in piece]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)


def found(footage: Sequence[Path], store: Path) -> tuple[Stretches, Stretches]:
    """What there is to learn from, and what is held back to measure by.

    Args:
        footage: files or folders of clips and stills.
        store: folder into which clips are decoded.

    Raises:
        TrainingError: neither clip nor still that is large enough.
    """
    stills = [file for file in files(footage, STILLS) if _large_enough(file)]
    clips = gather(footage, store) if files(footage, CLIPS) else []
    if not clips and not stills:
        raise TrainingError(
            f"no clip or still of {WIDTH}x{HEIGHT} or more under {', '.join(map(str, footage))}: give clean footage to "
            "learn from"
        )
    held = Stretches(clips[HELD - 1 :: HELD], stills[HELD - 1 :: HELD])
    kept = Stretches(*([x for n, x in enumerate(some) if n % HELD != HELD - 1] for some in (clips, stills)))
    return kept, held or kept


def _large_enough(path: Path) -> bool:
    picture = still(path)
    return picture is not None and picture.shape[0] >= HEIGHT and picture.shape[1] >= WIDTH


def _still(path: Path) -> Tensor:
    return torch.from_numpy(still(path)).permute(2, 0, 1)


def travelled(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """A camera over a still picture: (3, H, W) uint8 to (LENGTH, 3, HEIGHT, WIDTH) uint8.

    It pans, zooms and turns evenly and shakes a little; now and then it stands still.
    """
    count, size = LENGTH, (HEIGHT, WIDTH)
    height, width = picture.shape[-2:]
    room = min(height / size[0], width / size[1])
    scale = min(room, rng.uniform(0.9, 1.1))
    t = np.arange(count) - (count - 1) / 2
    still_camera = rng.random() < 0.25
    pan = np.zeros(2) if still_camera else rng.normal(0, 1, 2) * rng.choice([0.6, 2.5, 6.0])
    shake = np.zeros((count, 2)) if still_camera else rng.normal(0, rng.choice([0.1, 0.8]), (count, 2))
    turn, zoom = (0, 0) if still_camera else rng.normal(0, [0.002, 0.004])
    reach = [(n - s * scale) / 2 for n, s in zip((width, height), (size[1], size[0]), strict=True)]
    centre = [rng.uniform(-r, r) if r > 0 else 0.0 for r in reach]
    theta = np.zeros((count, 2, 3), np.float32)
    for k in range(count):
        angle, grow = turn * t[k], scale * (1 + zoom * t[k])
        cos, sin = np.cos(angle) * grow, np.sin(angle) * grow
        at = centre + pan * t[k] + shake[k]
        theta[k] = [
            [cos * size[1] / width, -sin * size[0] / width, 2 * at[0] / width],
            [sin * size[1] / height, cos * size[0] / height, 2 * at[1] / height],
        ]
    grid = F.affine_grid(torch.from_numpy(theta).to(picture.device), [count, 3, *size], align_corners=False)
    still_film = picture.float()[None].expand(count, -1, -1, -1)
    moved = F.grid_sample(still_film, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return moved.clamp(0, 255).round().byte()
