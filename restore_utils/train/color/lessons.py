"""Lessons for the colour network: grey pictures, their colours, and seeds with the faults that seeds have in use.

All of it is arithmetic on tensors, so that on a GPU no processor has to keep up. Pictures lie in memory as 8 bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.lab import AB, rgb_to_lab
from restore_utils.restorers.color.network import CELL
from restore_utils.train.color.stock import on_film

POINTS = 64
"""Most points on a picture of a lesson."""


@dataclass
class Pictures:
    """Pictures, or frames of clips, at the upper left of canvases of one size."""

    canvas: Tensor
    """(N, 3, S, S) uint8."""
    size: Tensor
    """(N, 2): height and width of the picture on its canvas."""
    first: Tensor
    """(N,): first picture of the same clip."""
    count: Tensor
    """(N,): pictures of the same clip; 1 for a photograph."""
    weight: Tensor
    """(N,): how often a picture is drawn."""

    def to(self, device: torch.device | str) -> Pictures:
        return Pictures(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.canvas)


class Lesson(NamedTuple):
    """What is shown and what is to be found; all (B, ...)."""

    grey: Tensor
    """(B, 1, H, W)."""
    ab: Tensor
    """(B, 2, H / 2, W / 2), units of `AB`."""
    other: Tensor
    """(B, 1, H, W): grey of a reference."""
    other_ab: Tensor
    """(B, 2, H / 8, W / 8)."""
    other_weight: Tensor
    """(B, 1, H / 8, W / 8); all 0: there is no reference."""
    xy: Tensor
    """(B, POINTS, 2) in [0, 1]."""
    xy_ab: Tensor
    """(B, POINTS, 2)."""
    xy_weight: Tensor
    """(B, POINTS)."""
    points: Tensor
    """(B, 3, H / 2, W / 2), see network.Seeds."""
    carried: Tensor
    """(B, 3, H / 2, W / 2), see network.Seeds."""
    alone: Tensor
    """(B,) bool: no seeds at all."""


class _Dice:
    """Random numbers on one device from one generator."""

    def __init__(self, device: torch.device, generator: torch.Generator | None) -> None:
        self.device, self.generator = device, generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, device=self.device, generator=self.generator) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self.device, generator=self.generator)

    def below(self, n: int, chance: float) -> Tensor:
        return self.uniform(n) < chance

    def smooth(self, n: int, channels: int, coarse: int, size: int) -> Tensor:
        """Noise of about unit variance whose waves are as wide as the picture / coarse."""
        return F.interpolate(self.normal(n, channels, coarse, coarse), size=(size, size), mode="bicubic")


def _crops(pictures: Pictures, which: Tensor, grid: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1]: pictures sampled at `grid` (B, H, W, 2), in pixels of the canvas."""
    canvas = pictures.canvas[which].float() / 255
    return F.grid_sample(canvas, grid / canvas.shape[-1] * 2 - 1, align_corners=False, padding_mode="border")


def _views(dice: _Dice, pictures: Pictures, which: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Two views of each picture, as a camera that moves would have them; grids in pixels of the canvas."""
    n = len(which)
    height, width = pictures.size[which].float().unbind(-1)
    short = torch.minimum(height, width)
    units = (torch.arange(side, device=dice.device) + 0.5) / side - 0.5
    y, x = torch.meshgrid(units, units, indexing="ij")
    mirrored = torch.where(dice.below(n, 0.5), -1.0, 1.0)
    grids = []
    centre = zoom = None
    for view in range(2):
        if view == 0:
            zoom = 1 + 0.8 * dice.uniform(n) ** 2
            place = dice.uniform(n, 2)
        else:
            zoom = (zoom * torch.exp(0.15 * dice.normal(n))).clamp(1.0, 2.2)
            place = (centre + 0.15 * dice.normal(n, 2)).clamp(0, 1)
        centre = place
        span = short / zoom * 0.98
        angle = 0.06 * dice.normal(n) * (zoom - 0.9).clamp(max=1)
        lean = 0.08 * dice.normal(n, 2)
        gx, gy = x[None] * mirrored[:, None, None], y[None].expand(n, -1, -1)
        depth = 1 + lean[:, 0, None, None] * gx + lean[:, 1, None, None] * gy
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        px, py = (cos * gx - sin * gy) / depth, (sin * gx + cos * gy) / depth
        left = span / 2 + (width - span) * place[:, 0]
        top = span / 2 + (height - span) * place[:, 1]
        px = left[:, None, None] + px * span[:, None, None]
        py = top[:, None, None] + py * span[:, None, None]
        grids.append(
            torch.stack((px.clamp(min=0.5), py.clamp(min=0.5)), -1).minimum(
                torch.stack((width, height), -1)[:, None, None] - 0.5
            )
        )
    return grids[0], grids[1]


def _turned(ab: Tensor, angle: Tensor, gain: Tensor) -> Tensor:
    """Hues turned by an angle and chroma scaled, per picture; (B, 2, ...)."""
    shape = (-1, *(1,) * (ab.dim() - 2))
    cos, sin = (angle.cos() * gain).view(shape), (angle.sin() * gain).view(shape)
    return torch.stack((cos * ab[:, 0] - sin * ab[:, 1], sin * ab[:, 0] + cos * ab[:, 1]), 1)


def _set_points(dice: _Dice, ab: Tensor, many: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points: xy, their colours, their weights, and their map, at half size (see network.Seeds)."""
    n, _, h, w = ab.shape
    xy = dice.uniform(n, POINTS, 2, low=0.01, high=0.99)
    weight = (torch.arange(POINTS, device=dice.device)[None] < many[:, None]).float()
    mean = F.avg_pool2d(F.pad(ab, (2, 2, 2, 2), mode="replicate"), 5, 1)
    colour = F.grid_sample(mean, (xy * 2 - 1)[:, :, None], mode="nearest", align_corners=False)[..., 0].transpose(1, 2)
    # A person's colour is not quite the true one; one in thirty is quite wrong.
    colour = colour + 0.02 * dice.normal(*colour.shape)
    colour = torch.where(dice.uniform(n, POINTS, 1) < 0.03, 0.3 * dice.normal(*colour.shape), colour)
    radius = torch.exp(dice.uniform(n, 1, low=math.log(0.7), high=math.log(3.5)))
    ys, xs = torch.meshgrid(
        torch.arange(h, device=dice.device) + 0.5, torch.arange(w, device=dice.device) + 0.5, indexing="ij"
    )
    pixels = torch.stack((xs, ys), -1).reshape(1, -1, 2).expand(n, -1, -1)
    far = torch.cdist(pixels, xy * xy.new_tensor((w, h))) + 1e6 * (1 - weight)[:, None]
    nearest, which = far.min(-1)
    inside = (nearest <= radius).float()
    painted = torch.gather(colour, 1, which[..., None].expand(-1, -1, 2)) * inside[..., None]
    plane = torch.cat((painted, inside[..., None]), -1).transpose(1, 2).reshape(n, 3, h, w)
    return xy, colour, weight, plane


def _moved(ab: Tensor, shift: Tensor) -> Tensor:
    """(B, 2, h, w) fetched from `shift` (B, 2, h, w) pixels away."""
    _, _, h, w = ab.shape
    ys, xs = torch.meshgrid(
        torch.arange(h, device=ab.device) + 0.5, torch.arange(w, device=ab.device) + 0.5, indexing="ij"
    )
    at = torch.stack((xs + shift[:, 0], ys + shift[:, 1]), -1) / ab.new_tensor((w, h)) * 2 - 1
    return F.grid_sample(ab, at, align_corners=False, padding_mode="reflection")


def _carried(dice: _Dice, ab: Tensor) -> Tensor:
    """The true colours as motion carries them: a little off, faded, wrong in places, missing in others."""
    n, _, side, _ = ab.shape

    def each(low: float, high: float) -> Tensor:
        return dice.uniform(n, 1, 1, 1, low=low, high=high)

    planes = _moved(ab, dice.smooth(n, 2, 6, side) * each(0, 2.5))
    soft = F.avg_pool2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), 3, 1)
    planes = torch.lerp(planes, soft, each(0, 1)) * each(0.85, 1.02) + 0.01 * dice.normal(n, 2, 1, 1)
    trust = (each(0.55, 1.1) + 0.12 * dice.smooth(n, 1, 12, side)).clamp(0, 1)
    wrong = dice.smooth(n, 1, 8, side) > each(0.6, 2.5)
    alien = torch.where(each(0, 1) < 0.5, _moved(ab, dice.smooth(n, 2, 2, side) * 20), ab.roll(1, 0))
    unnoticed = each(0, 1) < 0.3
    planes = torch.where(wrong, alien, planes)
    trust = torch.where(wrong & ~unnoticed, trust * each(0, 0.5), trust)
    missing = dice.smooth(n, 1, 5, side) > each(0.2, 3.0)
    trust = torch.where(missing, torch.zeros_like(trust), trust)
    return torch.cat((planes * trust, trust), 1)


def draw(pictures: Pictures, n: int, side: int, generator: torch.Generator | None = None) -> Lesson:
    """A batch of n lessons of side x side pixels, on the device of the pictures."""
    dice = _Dice(pictures.canvas.device, generator)
    which = torch.multinomial(pictures.weight, n, replacement=True, generator=generator)
    count = pictures.count[which]
    # Another frame of the clip, mostly near; a photograph is its own other frame.
    gap = (torch.exp(dice.uniform(n) * count.float().log()).round() * torch.where(dice.below(n, 0.5), -1, 1)).long()
    start = pictures.first[which]
    companion = start + (which - start + torch.where(count > 1, gap, 0)).clamp(min=0).minimum(count - 1)
    here, there = _views(dice, pictures, which, side)
    there = torch.where(((count > 1) & dice.below(n, 0.6))[:, None, None, None], here, there)
    rgb, other = _crops(pictures, which, here), _crops(pictures, companion, there)
    return lesson(rgb, other, generator)


def lesson(rgb: Tensor, other: Tensor, generator: torch.Generator | None = None) -> Lesson:
    """What is to be learnt from pictures and others of the same things, (B, 3, H, W) sRGB each, H = W."""
    n = len(rgb)
    dice = _Dice(rgb.device, generator)
    balance = 1 + 0.04 * dice.normal(n, 3, 1, 1)
    rgb, other = (rgb * balance).clamp(0, 1), (other * balance).clamp(0, 1)
    greys = on_film(rgb, generator), on_film(other, generator)
    ab, other_ab = (rgb_to_lab(F.avg_pool2d(x, 2))[:, 1:] / AB for x in (rgb, other))

    # 30 in 100 have no seed; of the others each kind of seed is there or not.
    alone = dice.below(n, 0.30)
    only_points = ~alone & dice.below(n, 0.4)
    has_points = only_points | (~alone & dice.below(n, 0.25))
    has_memory = ~alone & ~only_points & dice.below(n, 0.75)
    has_carried = ~alone & ~only_points & (dice.below(n, 0.6) | ~has_memory)
    # Other hues than nature's where there are seeds: so that seeds are obeyed, not improved upon.
    seeded = (~alone & dice.below(n, 0.5)).float()
    angle = torch.where(dice.below(n, 0.3), dice.uniform(n, low=-math.pi, high=math.pi), 0.5 * dice.normal(n)) * seeded
    gain = torch.exp(0.25 * dice.normal(n) * seeded)
    ab, other_ab = _turned(ab, angle, gain), _turned(other_ab, angle, gain)

    few = torch.exp(dice.uniform(n) * math.log(POINTS)).floor()
    xy, xy_ab, xy_weight, points = _set_points(dice, ab, few * has_points)
    carried = _carried(dice, ab) * has_carried.float()[:, None, None, None]
    # One reference in seven shows something else.
    stranger = dice.below(n, 0.14)[:, None, None, None]
    other_grey = torch.where(stranger, greys[1].roll(1, 0), greys[1])
    other_ab = torch.where(stranger, other_ab.roll(1, 0), other_ab)
    cells = F.avg_pool2d(other_ab, CELL // 2)
    believed = F.interpolate(dice.normal(n, 1, 6, 6), size=cells.shape[-2:]) > dice.uniform(n, 1, 1, 1, low=-3, high=0)
    other_weight = believed.float() * has_memory.float()[:, None, None, None]
    return Lesson(greys[0], ab, other_grey, cells, other_weight, xy, xy_ab, xy_weight, points, carried, alone)
