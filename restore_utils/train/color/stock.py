"""Grey pictures as film stocks made them: how a colour picture becomes a lesson in black and white.

Orthochromatic film (to about 1926) does not see red, panchromatic film sees all, neither has Rec. 601's weights; prints
have their own contrast, grain and softness. Drawn at random per picture, so that the network believes no single stock.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.lab import coded, linear


def _uniform(n: int, low: float, high: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, 1, 1, 1, device=like.device, generator=generator) * (high - low) + low


def on_film(rgb: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(B, 3, H, W) sRGB in [0, 1] as grey (B, 1, H, W) in [0, 1], each picture on a stock of its own."""
    n = len(rgb)

    def draw(low: float, high: float) -> Tensor:
        return _uniform(n, low, high, rgb, generator)

    # Response to red, green and blue light. A third each: Rec. 601's on code values, panchromatic, orthochromatic.
    kind = draw(0, 1)
    pan = torch.cat((draw(0.15, 0.5), draw(0.3, 0.7), draw(0.08, 0.4)), 1)
    ortho = torch.cat((draw(0.0, 0.12), draw(0.35, 0.7), draw(0.25, 0.6)), 1)
    weights = torch.where(kind < 0.75, pan, ortho)
    weights = weights / weights.sum(1, keepdim=True)
    light = (linear(rgb) * weights).sum(1, keepdim=True)
    video = (rgb * rgb.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(1, keepdim=True)
    grey = torch.where(kind < 0.35, video, coded(light))

    # Contrast: a gamma, a toe and shoulder, black and white not quite black and white.
    grey = grey.clamp(1e-4, 1) ** torch.exp(draw(-0.45, 0.45))
    curve = grey * grey * (3 - 2 * grey)
    grey = torch.lerp(grey, curve, draw(-0.25, 0.8))
    low, high = draw(-0.03, 0.12), draw(0.82, 1.04)
    grey = low + grey * (high - low)

    # Softness: three passes of [a, 1 - 2a, a] each way are close to a Gaussian of up to 1.4 pixels.
    side = torch.where(draw(0, 1) < 0.5, torch.zeros_like(kind), draw(0.0, 0.33))
    for _ in range(3):
        padded = F.pad(grey, (1, 1, 0, 0), mode="replicate")
        grey = side * (padded[..., :-2] + padded[..., 2:]) + (1 - 2 * side) * grey
        padded = F.pad(grey, (0, 0, 1, 1), mode="replicate")
        grey = side * (padded[..., :-2, :] + padded[..., 2:, :]) + (1 - 2 * side) * grey

    # Grain, strongest in the middle tones, fine or coarse.
    fine = torch.randn(grey.shape, device=grey.device, generator=generator)
    coarse = F.avg_pool2d(F.pad(fine, (1, 1, 1, 1), mode="replicate"), 3, 1) * 2.2
    noise = torch.where(draw(0, 1) < 0.5, fine, coarse)
    amount = torch.where(draw(0, 1) < 0.4, torch.zeros_like(kind), draw(0.0, 0.06))
    grey = grey + noise * amount * (0.4 + 2.4 * (grey.clamp(0, 1) * (1 - grey.clamp(0, 1))))
    return grey.clamp(0, 1)
