"""SideNet: draws one missing side of a picture from what is known of it.

The missing columns lie on the left of a window as high as the picture; a right side is mirrored before, top and bottom
are turned. So one network serves all four sides and every aspect. It begins with a smooth continuation of what is known
and adds to it: what it does not learn stays soft instead of wrong.

Convolutions are gated (Yu et al., Free-Form Image Inpainting with Gated Convolution, ICCV 2019), with one gate for all
channels of a layer (Yi et al., HiFill, CVPR 2020), so that missing pixels do not count as black ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANES = 12
"""Continued picture 3, known 1, mosaic 3, its trust 1, earlier drawing 3, where there is one 1."""
MULTIPLE = 16
"""Height and width of a window are multiples of it."""


class Gated(nn.Module):
    """A convolution whose results are let through as far as one further channel says."""

    def __init__(self, width_in: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.width = width
        self.both = nn.Conv2d(width_in, width + 1, 3, stride, dilation, dilation)

    def forward(self, x: Tensor) -> Tensor:
        values, gate = self.both(x).split((self.width, 1), 1)
        return F.silu(values) * torch.sigmoid(gate)


class Look(nn.Module):
    """Every place of the coarsest level looks at every other (self-attention), so that what is far can be repeated."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, width)
        self.ask = nn.Conv2d(width, 3 * width, 1)
        self.answer = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.ask(self.norm(x)).view(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w)
        return x + self.answer(seen)


class SideNet(nn.Module):
    """U-Net over five sizes with gated convolutions and one layer of attention at the bottom.

    Args:
        widths: channels at 1, 1/2, 1/4, 1/8 and 1/16 of the size.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128, 160)) -> None:
        super().__init__()
        self.dims = {"widths": list(widths)}
        self.enter = Gated(PLANES, widths[0])
        self.enc = nn.ModuleList(
            nn.Sequential(Gated(a, b, stride=2), Gated(b, b)) for a, b in itertools.pairwise(widths)
        )
        deep = widths[-1]
        self.deep = nn.ModuleList(Gated(deep, deep, dilation=d) for d in (1, 2, 4, 1))
        self.look = Look(deep)
        self.dec = nn.ModuleList(Gated(a + b, a) for a, b in itertools.pairwise(widths))
        self.last = Gated(widths[0], widths[0])
        self.out = nn.Conv2d(widths[0], 3, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """The whole window, (N, 3, H, W), known part and all; where it is known it is no better than an exercise.

        Args:
            planes: (N, PLANES, H, W) from `side_planes`; H and W multiples of MULTIPLE.
        """
        x = self.enter(planes)
        skips = []
        for level in self.enc:
            skips.append(x)
            x = level(x)
        for layer in self.deep[:2]:
            x = x + layer(x)
        x = self.look(x)
        for layer in self.deep[2:]:
            x = x + layer(x)
        for skip, level in zip(reversed(skips), reversed(self.dec), strict=True):
            x = level(torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skip), 1))
        return planes[:, :3] + self.out(self.last(x))


def side_planes(
    picture: Tensor, known: Tensor, mosaic: Tensor, trust: Tensor, earlier: Tensor, drawn: Tensor
) -> Tensor:
    """What SideNet is given, (N, PLANES, H, W).

    Args:
        picture: (N, 3, H, W), RGB, [0, 1]; counts where `known`, (N, 1, H, W), is 1.
        mosaic: (N, 3, H, W), what other frames show; counts by `trust`, (N, 1, H, W), [0, 1].
        earlier: (N, 3, H, W), what was drawn for the frame before, brought to this one; counts where `drawn` is 1.
    """
    with torch.autocast(picture.device.type, enabled=False):
        weight = known + (1 - known) * trust
        seen = picture * known + mosaic * trust * (1 - known)
        base = continued(seen.float(), weight.float())
        base = picture * known + base * (1 - known)
    return torch.cat((base, known, mosaic * trust, trust, earlier * drawn, drawn), 1)


def continued(total: Tensor, weight: Tensor) -> Tensor:
    """Values spread smoothly over what is missing: each level of a pyramid takes what it lacks from the coarser one.

    S. J. Gortler et al., The Lumigraph, SIGGRAPH 1996 (pull-push).

    Args:
        total: (N, C, H, W), values times their weight.
        weight: (N, 1, H, W), [0, 1].
    """
    height, width = weight.shape[-2:]
    mean = total / weight.clamp(min=1e-6)
    if max(height, width) <= 2:
        coarse = total.sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
        return mean * (weight * 4).clamp(max=1) + coarse * (1 - (weight * 4).clamp(max=1))
    odd = (width % 2, height % 2)
    padded = [F.pad(v, (0, odd[0], 0, odd[1]), mode="replicate") for v in (total, weight)]
    coarser = continued(*(F.avg_pool2d(v, 2) for v in padded))
    coarse = F.interpolate(coarser, scale_factor=2.0, mode="bilinear", align_corners=False)[..., :height, :width]
    enough = (weight * 4).clamp(max=1)
    return mean * enough + coarse * (1 - enough)
