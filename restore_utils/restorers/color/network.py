"""The colour network: a grey picture, and what is known of its colours, to a*, b* for every pixel and how sure that is.

Three kinds of seeds enter one network, so that automatic colour, an artist's points and colours carried from other
frames are one task (Zhang et al. 2017 for points; Vondrick et al. 2018 for colours fetched by matching; Meyer et al.
2018 for fusing matched and warped colours):

- points: colours set on this frame, as a map and as entries of the memory;
- memory: cells of other frames or pictures whose colours are known; each cell of this frame looks up those that look
  like it, or nothing where none does;
- carried: colours that motion brought from a neighbouring frame, each with a trust.

Features of a grey picture do not depend on seeds: `look` is called once for each frame, `fill` after each new point.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore_utils.restorers.color.encoder import WIDTHS, Encoder
from restore_utils.restorers.color.lab import AB, ab_bins

MULTIPLE = 32
"""Sides of the network's input are multiples of this."""
KEY = 64
"""Channels by which cells are matched."""
CELL = 8
"""Pixels on a side of a cell of the memory."""
_SEEDS = (32, 32, 48, 64, 96, 96)  # channels of the seeds at strides 2, 2, 4, 8, 16, 32
_MATCHED = 3  # the layer of the seeds at which colours from the memory come in
_WIDE = (32, 64, 128, 192, 256)  # channels of the decoder at strides 2, 4, 8, 16, 32
_NEAREST = 16  # memory cells that a cell may mix


class Look(NamedTuple):
    """What the network sees in grey pictures, whatever their colours."""

    features: list[Tensor]
    keys: Tensor
    """(B, KEY, H / 8, W / 8), of length 1."""
    tone: Tensor
    """(B, 1, H / 8, W / 8): mean grey."""


class Memory(NamedTuple):
    """Known colours to match with: N entries for each of B pictures."""

    keys: Tensor
    """(B, N, KEY)."""
    tone: Tensor
    """(B, N)."""
    ab: Tensor
    """(B, N, 2), in units of `AB`."""
    weight: Tensor
    """(B, N), [0, 1]; 0: no entry."""
    place: Tensor
    """(B, N, 2): x, y in heights of the picture, for points of this very frame; NaN for entries of other pictures."""


class Seeds(NamedTuple):
    """What is known of the colours of a frame, at half its size; zeros where nothing is."""

    points: Tensor
    """(B, 3, H / 2, W / 2): a, b (units of `AB`), 1 where a point lies."""
    carried: Tensor
    """(B, 3, H / 2, W / 2): a, b times trust, trust in [0, 1]."""
    memory: Memory | None = None


class Fill(NamedTuple):
    """The network's answer."""

    ab: Tensor
    """(B, 2, H / 2, W / 2), in units of `AB`."""
    spread: Tensor
    """(B, 1, H / 2, W / 2): natural logarithm of the expected error's scale, in units of `AB`."""
    logits: Tensor
    """(B, K, H / 4, W / 4): which of the `ab_bins` it is."""
    matched: Tensor
    """(B, 3, H / 8, W / 8): a, b from the memory times trust, trust."""
    lookup: tuple[Tensor, Tensor] | None
    """Weights and colours of the entries that were looked up, as `ColorNet.match` gives them; None without memory."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ColorNet(nn.Module):
    """See the module. 6.5 million parameters, 3 of them in the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.key = nn.Conv2d(1 + WIDTHS[1] + WIDTHS[2] + WIDTHS[3], KEY, 1)
        # Sharpness of a match, and how like nothing else a cell must be to be matched with nothing.
        self.sharpness = nn.Parameter(torch.tensor(20.0))
        self.none = nn.Parameter(torch.tensor(0.5))
        self.tone_counts = nn.Parameter(torch.tensor(4.0))
        self.place_counts = nn.Parameter(torch.tensor(4.0))

        self.seeds = nn.ModuleList()
        width = 6
        for i, channels in enumerate(_SEEDS):
            inputs = width + (4 if i == _MATCHED else 0)
            stride = 1 if i in (0, 1, _MATCHED) else 2
            conv = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
            self.seeds.append(nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)))
            width = channels
        self.scene = nn.Linear(WIDTHS[4], _WIDE[4])
        self.up = nn.ModuleList()
        below = 0
        for stage in range(4, -1, -1):
            self.up.append(_block(below + WIDTHS[stage] + _SEEDS[stage + 1], _WIDE[stage]))
            below = _WIDE[stage]
        self.answer = nn.Conv2d(_WIDE[0] + 6, 3, 3, padding=1)
        self.register_buffer("bins", ab_bins() / AB, persistent=False)
        self.choice = nn.Conv2d(_WIDE[1], len(self.bins), 1)
        nn.init.zeros_(self.answer.weight)
        with torch.no_grad():
            self.answer.bias.copy_(torch.tensor((0.0, 0.0, -2.5)))

    def look(self, grey: Tensor) -> Look:
        """(B, 1, H, W) in [0, 1], sides multiples of `MULTIPLE`."""
        features = self.encoder(grey)
        tone = F.avg_pool2d(grey, CELL)
        half = F.avg_pool2d(features[1], 2)
        far = F.interpolate(features[3], size=tone.shape[-2:], mode="bilinear", align_corners=False)
        keys = self.key(torch.cat((tone.to(half.dtype), half, features[2], far), 1)).float()
        return Look(features, F.normalize(keys, dim=1), tone)

    def match(self, look: Look, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """Colours from the memory.

        Returns:
            (B, 4, h, w): a, b times trust, trust, cosine of the best; (B, h * w, k + 1): weights of the k nearest
            entries and of none; (B, h * w, k, 2): their colours.
        """
        with torch.autocast(look.keys.device.type, enabled=False):
            return self._match(look, memory)

    def _match(self, look: Look, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        batch, _, h, w = look.keys.shape
        query, tone = look.keys.flatten(2).transpose(1, 2).float(), look.tone.flatten(1).float()
        cosine = query @ memory.keys.float().transpose(1, 2)
        score = self.sharpness * cosine - self.tone_counts.abs() * (tone[:, :, None] - memory.tone[:, None]).abs()
        here = memory.place[..., 0].isfinite()
        if here.any():
            ys, xs = torch.meshgrid(
                (torch.arange(h, device=query.device) + 0.5) / h,
                (torch.arange(w, device=query.device) + 0.5) / h,
                indexing="ij",
            )
            cells = torch.stack((xs, ys), -1).reshape(1, -1, 2).expand(batch, -1, -1)
            far = torch.cdist(cells, memory.place.nan_to_num()) * here[:, None]
            score = score - self.place_counts.abs() * far
        score = score + memory.weight[:, None].clamp(min=1e-9).log()
        best, which = score.topk(min(_NEAREST, score.shape[-1]), -1)
        none = (self.sharpness * self.none).expand(*best.shape[:2], 1)
        weights = torch.cat((best, none), -1).softmax(-1)
        ab = torch.gather(memory.ab[:, None].expand(-1, h * w, -1, -1), 2, which[..., None].expand(-1, -1, -1, 2))
        mixed = (weights[..., :-1, None] * ab.float()).sum(2)
        trust = 1 - weights[..., -1:]
        like = torch.gather(cosine, 2, which[..., :1])
        planes = torch.cat((mixed, trust, like), -1).transpose(1, 2).reshape(batch, 4, h, w)
        return planes, weights, ab

    def fill(self, look: Look, seeds: Seeds) -> Fill:
        """Colours of frames from what is known of them."""
        h, w = look.keys.shape[-2:]
        lookup = None
        if seeds.memory is None:
            matched = look.keys.new_zeros(len(look.keys), 4, h, w)
        else:
            matched, *lookup = self.match(look, seeds.memory)
        known = torch.cat((seeds.points, seeds.carried), 1)
        x, pyramid = known, []
        for i, layer in enumerate(self.seeds):
            if i == _MATCHED:
                x = torch.cat((F.avg_pool2d(x, 2), matched.to(x.dtype)), 1)
            x = layer(x)
            if i:
                pyramid.append(x)
        y = None
        logits = None
        for layer, stage in zip(self.up, range(4, -1, -1), strict=True):
            parts = [look.features[stage], pyramid[stage]]
            if y is not None:
                parts.insert(0, F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False))
            y = layer(torch.cat([p.to(pyramid[0].dtype) for p in parts], 1))
            if stage == 4:
                y = y + self.scene(look.features[4].mean((2, 3))).to(y.dtype)[:, :, None, None]
            if stage == 1:
                logits = self.choice(y)
        answer = self.answer(torch.cat((y, known.to(y.dtype)), 1)).float()
        return Fill(answer[:, :2], answer[:, 2:].clamp(-6, 1.5), logits.float(), matched[:, :3], lookup)

    def forward(self, grey: Tensor, seeds: Seeds) -> Fill:
        return self.fill(self.look(grey), seeds)


def remember(look: Look, ab: Tensor, weight: Tensor | None = None) -> Memory:
    """Whole pictures of known colour as a memory for themselves or others.

    Args:
        ab: (B, 2, H / 8, W / 8), in units of `AB`.
        weight: (B, 1, H / 8, W / 8), [0, 1]: how far each cell's colour is to be believed.
    """
    keys = look.keys.flatten(2).transpose(1, 2)
    weight = torch.ones_like(look.tone) if weight is None else weight
    place = torch.full((*keys.shape[:2], 2), float("nan"), device=keys.device)
    return Memory(keys, look.tone.flatten(1), ab.flatten(2).transpose(1, 2), weight.flatten(1), place)


def remember_points(look: Look, xy: Tensor, ab: Tensor, weight: Tensor, *, here: bool = True) -> Memory:
    """Points as entries of a memory.

    Args:
        xy: (B, P, 2) in [0, 1] of the width and of the height.
        ab: (B, P, 2), in units of `AB`.
        weight: (B, P): 0 = no point.
        here: they lie on the frame that is to be coloured, so that nearness counts.
    """
    grid = (xy * 2 - 1)[:, :, None]
    keys = F.grid_sample(look.keys, grid.to(look.keys.dtype), align_corners=False, padding_mode="border")[..., 0]
    tone = F.grid_sample(look.tone, grid.to(look.tone.dtype), align_corners=False, padding_mode="border")[:, 0, :, 0]
    aspect = look.keys.shape[-1] / look.keys.shape[-2]
    place = xy * xy.new_tensor((aspect, 1.0)) if here else torch.full_like(xy, float("nan"))
    return Memory(F.normalize(keys.transpose(1, 2), dim=-1), tone, ab, weight, place)


def joined(*memories: Memory | None) -> Memory | None:
    """Several memories of the same pictures as one."""
    parts = [m for m in memories if m is not None]
    return Memory(*(torch.cat(p, 1) for p in zip(*parts, strict=True))) if parts else None
