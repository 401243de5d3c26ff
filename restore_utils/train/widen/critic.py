"""The critic of drawn sides: looks at patches round the seam, beside what is known of the picture."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDE = 128
"""Columns of a window that it sees: all that is hidden, and what lies beside it."""


class Critic(nn.Module):
    """A PatchGAN of 70 x 70 (Isola et al., CVPR 2017), conditional on the known part, with spectral norm.

    Args:
        width: channels of its first layer.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        normed = nn.utils.parametrizations.spectral_norm
        sizes = (7, width, 2 * width, 4 * width, 4 * width)
        strides = (2, 2, 2, 1)
        self.layers = nn.ModuleList(
            normed(nn.Conv2d(a, b, 4, stride, 1)) for (a, b), stride in zip(pairwise(sizes), strides, strict=True)
        )
        self.last = normed(nn.Conv2d(sizes[-1], 1, 4, 1, 1))

    def forward(self, picture: Tensor, known: Tensor) -> tuple[Tensor, list[Tensor]]:
        """How real each patch looks, (N, 1, h, w), and what was seen on the way.

        Args:
            picture: (N, 3, H, W), [0, 1]; known: (N, 1, H, W), 1 where it is no drawing.
        """
        picture, known = picture[..., :WIDE], known[..., :WIDE]
        x = torch.cat((2 * picture - 1, (2 * picture - 1) * known, known), 1)
        seen = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            seen.append(x)
        return self.last(x), seen


def hinge(real: Tensor, drawn: Tensor) -> Tensor:
    """What the critic minimises (Miyato et al., ICLR 2018)."""
    return F.relu(1 - real).mean() + F.relu(1 + drawn).mean()
