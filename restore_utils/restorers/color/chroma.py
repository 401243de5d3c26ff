"""Colours laid on a grey picture without changing its luma.

L* is not Y': a colour of given a*, b* has another Y' at the same L*. So the lightness is solved for, such that Y' is
exactly the source's, and what no RGB can show at that Y' is drawn towards grey. Both stand in a table, made once.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.lab import AB, lab_to_rgb, rgb_to_lab

LUMA = {"601": (0.299, 0.587, 0.114), "709": (0.2126, 0.7152, 0.0722)}
_TONES, _SIDES = 49, 41  # of the table: steps of Y', and of a* and b*
_MOST = 1.1  # a*, b* that the table reaches, in units of AB
DARK, LIGHT = (6.0, 16.0), (94.0, 99.0)
"""L* between which chroma fades in from black, and out towards white: print and sky carry none that could be seen."""


def luma_of(width: int, height: int) -> tuple[float, float, float]:
    """Shares of red, green and blue in Y', as untagged films of that size have them."""
    return LUMA["601" if height <= 576 else "709"]


def luma(rgb: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """(..., 3, H, W) to (..., 1, H, W)."""
    return (rgb * rgb.new_tensor(weights)[:, None, None]).sum(-3, keepdim=True)


@lru_cache(maxsize=4)
def _table(weights: tuple[float, float, float]) -> Tensor:
    """(3, tones, sides, sides): R, G, B minus Y' at each Y', b*, a*."""
    y = torch.linspace(0, 1, _TONES)
    side = torch.linspace(-_MOST, _MOST, _SIDES) * AB
    tone, b, a = torch.meshgrid(y, side, side, indexing="ij")
    low, high = torch.zeros_like(tone), torch.full_like(tone, 100.0)
    for _ in range(17):
        middle = (low + high) / 2
        value = luma(lab_to_rgb(torch.stack((middle, a, b), 0).flatten(2)), weights).view_as(tone)
        low, high = torch.where(value < tone, middle, low), torch.where(value < tone, high, middle)
    rgb = lab_to_rgb(torch.stack(((low + high) / 2, a, b), 0).flatten(2)).view(3, *tone.shape)
    rgb = rgb - luma(rgb.flatten(2), weights).view(1, *tone.shape)
    return drawn_in(tone.flatten(1)[None], rgb.flatten(2)).view_as(rgb)


def drawn_in(tone: Tensor, difference: Tensor) -> Tensor:
    """Differences of R, G, B from Y' made smaller, all three alike, until none leaves [0, 1] at that Y'."""
    room = torch.where(difference > 0, 1 - tone, tone).clamp(min=0)
    share = (room / difference.abs().clamp(min=1e-6)).amin(-3, keepdim=True).clamp(max=1)
    return difference * share


def colored(grey: Tensor, ab: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """RGB (B, 3, H, W) whose Y' is `grey` (B, 1, H, W) and whose colour is `ab` (B, 2, H, W), in units of `AB`."""
    at = torch.stack((ab[:, 0] / _MOST, ab[:, 1] / _MOST, grey[:, 0] * 2 - 1), -1)[:, None]
    table = _table(weights).to(grey.device)[None].expand(len(grey), -1, -1, -1, -1)
    difference = F.grid_sample(table, at, align_corners=True, padding_mode="border")[:, :, 0]
    return grey + drawn_in(grey, difference)


def ab_of(rgb: Tensor) -> Tensor:
    """a*, b* of sRGB pictures, (B, 2, H, W), in units of `AB`."""
    return rgb_to_lab(rgb)[..., 1:, :, :] / AB


def visible(lightness: Tensor) -> Tensor:
    """Share of chroma that is kept at an L*."""

    def ramp(ends: tuple[float, float]) -> Tensor:
        t = ((lightness - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)
        return t * t * (3 - 2 * t)

    return ramp(DARK) * (1 - ramp(LIGHT))


def enlarged(planes: np.ndarray, guide: np.ndarray, full: np.ndarray, radius: int = 2, eps: float = 4e-4) -> np.ndarray:
    """Small planes brought to the size of a picture, with their edges where the picture has its own.

    Planes are locally straight lines of the grey picture (the fast guided filter, K. He and J. Sun, 2015). The lines
    are found at the small size; what the large picture has beyond the small one is laid on the planes along them.

    Args:
        planes: float32 (h, w, C).
        guide: float32 (h, w), [0, 1], the picture at the size of the planes.
        full: float32 (H, W), the picture.
        radius: of the window, in pixels of the small size.
        eps: variance of grey below which the picture is held to be flat there.

    Returns:
        float32 (H, W, C).
    """
    box = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, box, borderType=cv2.BORDER_REFLECT)

    middle, about = mean(guide), mean(planes).reshape(planes.shape)
    variance = mean(guide * guide) - middle * middle
    shared = mean(planes * guide[..., None]).reshape(planes.shape) - about * middle[..., None]
    slope = mean(shared / (variance + eps)[..., None]).reshape(planes.shape)
    size = full.shape[1::-1]
    large = cv2.resize(np.concatenate((planes, slope, guide[..., None]), -1), size, interpolation=cv2.INTER_LINEAR)
    count = planes.shape[-1]
    return large[..., :count] + large[..., count:-1] * (full - large[..., -1])[..., None]
