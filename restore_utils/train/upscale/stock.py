"""Windows that were made, kept on the device of the training: each is learnt from several times, in other parts."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from restore_utils.restorers.upscale.network import FRAMES, SLOTS
from restore_utils.train.upscale.samples import Sample


class Stock:
    """The newest windows that were made, on the device of the training.

    Args:
        count: windows kept; from then on the oldest give way.
        size: height and width of their frames.
        device: where they lie.
    """

    def __init__(self, count: int, size: tuple[int, int], device: torch.device | str) -> None:
        height, width = size
        self.frames = torch.empty(count, FRAMES * 3, height, width, dtype=torch.uint8, device=device)
        self.large = torch.empty(count, 3, 2 * height, 2 * width, dtype=torch.uint8, device=device)
        self.valid = torch.empty(count, SLOTS, device=device)
        self.made = 0

    def __len__(self) -> int:
        return min(self.made, len(self.valid))

    def add(self, samples: Sequence[Sample]) -> None:
        """Lay samples in, in place of the oldest."""
        at = torch.arange(self.made, self.made + len(samples), device=self.valid.device) % len(self.valid)
        for kept, new in zip((self.frames, self.valid, self.large), zip(*samples, strict=True), strict=True):
            kept[at] = torch.from_numpy(np.stack(new)).to(kept.device).reshape(-1, *kept.shape[1:])
        self.made += len(samples)

    def batch(self, count: int, side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Patches at random: frames (count, FRAMES, 3, side, side), valid, large (count, 3, 2 side, 2 side), [0, 1]."""
        height, width = self.frames.shape[-2:]
        device = self.valid.device

        def ints(high: int) -> np.ndarray:
            return rng.integers(0, high, count)

        # In one piece to the device.
        drawn = np.stack((ints(len(self)), ints((height - side) // 2 + 1) * 2, ints((width - side) // 2 + 1) * 2))
        which, top, left = torch.from_numpy(drawn).to(device)
        span = torch.arange(2 * side, device=device)
        across, down = (bool(x < 0.5) for x in rng.random(2))
        turned = rng.random() < 0.5

        def cut(pictures: Tensor, scale: int) -> Tensor:
            rows = (top * scale)[:, None] + span[: side * scale]
            columns = (left * scale)[:, None] + span[: side * scale]
            planes = torch.arange(pictures.shape[1], device=device)[:, None, None]
            out = pictures[which[:, None, None, None], planes, rows[:, None, :, None], columns[:, None, None]]
            out = out.flip([-1] * across + [-2] * down) if across or down else out
            return (out.transpose(-1, -2) if turned else out).float() / 255

        return cut(self.frames, 1).unflatten(1, (FRAMES, 3)), self.valid[which], cut(self.large, 2)
