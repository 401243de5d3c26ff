"""Lessons for SideNet: pictures with a hidden side, what other frames might have seen of it, how an answer is judged.

The training of the shipped weights and of one's own (train.widen) and the fitting to a shot (`adapt`) learn from these.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.restorers.widen.net import SideNet, side_planes

SIDE = 192
"""Lines and columns of a lesson."""
USUAL = 43
"""Hidden columns of a lesson that stands for 4:3 to 16:9."""
FEWEST, MOST = 16, 104
"""Hidden columns of the others."""
USUAL_SHARE = 0.65
SEEN_SHARE = 0.5
"""Of the lessons: those in which other frames have seen a part."""
EDGE, SLOPE = 0.3, 0.5
"""Weights in the loss of the step at the seam and of gradients, beside the mean absolute difference."""


def hidden_columns(count: int, generator: torch.Generator) -> Tensor:
    """How many columns are hidden in each of some lessons, (count,)."""
    usual = USUAL + 8 * (torch.rand(count, generator=generator) - 0.5)
    wide = FEWEST + (MOST - FEWEST) * torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < USUAL_SHARE, usual, wide).round()


def lesson(truth: Tensor, hidden: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the network is given of true windows, and what is known of them, (N, 1, SIDE, SIDE).

    What other frames saw reaches from the seam outwards, is a little off in place and light, and has holes.

    Args:
        truth: (N, 3, SIDE, SIDE), RGB, [0, 1].
        hidden: (N,), columns at the left that are hidden.
        generator: on the host.
    """
    count, device = len(truth), truth.device

    def rand() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator).to(device)

    def smooth(cells: int, channels: int = 1) -> Tensor:
        small = torch.randn(count, channels, cells, cells, generator=generator).to(device)
        return F.interpolate(small, SIDE, mode="bicubic", align_corners=False)

    x = torch.arange(SIDE, device=device, dtype=torch.float32).view(1, 1, 1, SIDE)
    edge = hidden.to(device).view(count, 1, 1, 1)
    known = (x >= edge).float().expand(count, 1, SIDE, SIDE)
    depth = edge * (0.1 + 1.1 * rand()) + 8 * smooth(5)
    holes = (smooth(6) > 1.1 + 1.5 * rand()).float()
    seen = (x > edge - depth).float() * (1 - holes) * (1 - known) * (rand() < SEEN_SHARE)
    trust = F.avg_pool2d(seen, 3, 1, 1) * (0.6 + 0.4 * rand()) * (1 - known)
    line = (torch.arange(SIDE, device=device) + 0.5) * 2 / SIDE - 1
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]
    off = (smooth(5, 2) * (1.5 * rand()) * 2 / SIDE).permute(0, 2, 3, 1)
    mosaic = F.grid_sample(truth, grid + off, padding_mode="border", align_corners=False)
    noise = torch.randn(truth.shape, generator=generator).to(device)
    mosaic = (mosaic * (1 + 0.05 * (rand() - 0.5)) + 0.03 * (rand() - 0.5) + 0.008 * noise).clamp(0, 1)
    nothing = torch.zeros_like(truth), torch.zeros_like(known)
    return side_planes(truth, known, mosaic, trust, *nothing), known


def losses(found: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The answer with the known part as it is, (N, 3, H, W), and the parts of its loss."""
    hidden = 1 - known
    area = 3 * hidden.sum().clamp(min=1)
    whole = found * hidden + truth * known
    error = whole - truth
    across, down = error.diff(dim=3).abs(), error.diff(dim=2).abs()
    edge = hidden[..., :-1] * known[..., 1:]
    slopes = (across * hidden[..., :-1]).sum() + (down * hidden[..., 1:, :]).sum()
    parts = {
        "pixel": (error.abs() * hidden).sum() / area,
        "slope": SLOPE * slopes / area,
        "seam": EDGE * (across * edge).sum() / (3 * edge.sum().clamp(min=1)),
    }
    return whole, parts


def fit(net: SideNet, windows: Iterator[Tensor], rate: float, generator: torch.Generator) -> None:
    """Train a network on windows, (N, 3, SIDE, SIDE), [0, 1] each, as long as there are some."""
    optimiser = torch.optim.AdamW(net.parameters(), rate, betas=(0.9, 0.99))
    for truth in windows:
        planes, known = lesson(truth, hidden_columns(len(truth), generator), generator)
        _, parts = losses(net(planes), truth, known)
        optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
