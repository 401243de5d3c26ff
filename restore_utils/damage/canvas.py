"""The canvas: local defects as small patches of opacity and colour, laid over frames in the order they are painted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore_utils.damage.fault import KINDS


class Patch(NamedTuple):
    kind: int
    x: int
    y: int
    alpha: np.ndarray  # (h, w) float32 [0, 1]
    colour: tuple[float, float, float]


class Canvas:
    """One frame to paint on. Coordinates are pixels of the window; pixel (0, 0) covers [0, 1) x [0, 1).

    Attributes:
        width, height: size of the window in pixels.
        shift: (right, down) in pixels, added to every position: how far the film has moved in the gate.
        patches: what was painted, clipped to the window.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.shift = (0.0, 0.0)
        self.patches: list[Patch] = []

    def stamp(self, kind: str, alpha: np.ndarray, x: int, y: int, colour: tuple[float, float, float]) -> None:
        """Lays a patch of opacity (h, w) in [0, 1] with its upper left corner at pixel (x, y), ignoring `shift`."""
        h, w = alpha.shape
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, self.width), min(y + h, self.height)
        if x0 < x1 and y0 < y1:
            cut = np.ascontiguousarray(alpha[y0 - y : y1 - y, x0 - x : x1 - x], dtype=np.float32)
            self.patches.append(Patch(KINDS.index(kind), x0, y0, cut, colour))


def composite(x: Tensor, canvases: list[Canvas], with_mask: bool) -> tuple[Tensor, Tensor | None]:
    """Lays the patches of one canvas over each frame.

    Returns:
        frames (T, 3, H, W): x * (1 - a) + colour * a for one patch after another;
        mask (T, len(KINDS), H, W): opacity by kind, 1 - product of (1 - a); None unless asked for.
    """
    out = x.clone()
    mask = x.new_zeros((x.shape[0], len(KINDS), *x.shape[-2:])) if with_mask else None
    patches = [(t, p) for t, canvas in enumerate(canvases) for p in canvas.patches]
    if not patches:
        return out, mask
    flat = np.concatenate([p.alpha.ravel() for _, p in patches]).clip(0, 1)  # filters overshoot by a rounding
    flat = torch.from_numpy(flat).to(x.device)
    colours = torch.tensor([p.colour for _, p in patches], dtype=x.dtype).to(x.device)
    start = 0
    for i, (t, p) in enumerate(patches):
        h, w = p.alpha.shape
        alpha = flat[start : start + h * w].view(h, w)
        start += h * w
        spot = out[t, :, p.y : p.y + h, p.x : p.x + w]
        spot += (colours[i].view(3, 1, 1) - spot) * alpha
        if mask is not None:
            cover = mask[t, p.kind, p.y : p.y + h, p.x : p.x + w]
            cover += (1 - cover) * alpha
    return out, mask
