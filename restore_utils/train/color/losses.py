"""What the colour network is trained on, and how a lesson is put to it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.network import ColorNet, Fill, Seeds, joined, remember, remember_points
from restore_utils.train.color.lessons import Lesson

_KIN = 0.08  # units of AB within which a matched colour counts as right
_STRANGE = 0.35  # a match worse than this is worse than none


def answered(net: ColorNet, lesson: Lesson) -> Fill:
    """The network's answer to a lesson."""
    both = net.look(torch.cat((lesson.grey, lesson.other)))
    n = len(lesson.grey)
    look = type(both)([f[:n] for f in both.features], both.keys[:n], both.tone[:n])
    other = type(both)([], both.keys[n:], both.tone[n:])
    memory = joined(
        remember(other, lesson.other_ab, lesson.other_weight),
        remember_points(look, lesson.xy, lesson.xy_ab, lesson.xy_weight),
    )
    return net.fill(look, Seeds(lesson.points, lesson.carried, memory))


def rarity(ab: Tensor, bins: Tensor, power: float = 0.5) -> Tensor:
    """Weights of the bins for the loss, so that rare colours are not drowned by grey (Zhang et al. 2016, eq. 4).

    Args:
        ab: (B, 2, H, W) colours of the training pictures.
        power: 1 is the paper's; less gives fewer vivid guesses that are wrong.
    """
    nearest = torch.cdist(ab.permute(0, 2, 3, 1).reshape(-1, 2), bins).argmin(-1)
    share = torch.bincount(nearest, minlength=len(bins)).float()
    share = share / share.sum()
    weight = (0.5 * share + 0.5 / len(bins)) ** -power
    return weight / (weight * share).sum()


def losses(net: ColorNet, fill: Fill, lesson: Lesson, weights: Tensor) -> dict[str, Tensor]:
    """Each part of the loss, already weighted.

    nll: Laplace's negative log likelihood of the colours, which teaches the spread; plain: their distance; edges: that
    of their differences between neighbours; choice: cross entropy over the bins (weights: `rarity`); match: likelihood
    of the true colour under the matched ones, where "none" stands for a poor match.
    """
    off = (fill.ab - lesson.ab).square().sum(1, keepdim=True)
    distance = (off + 1e-6).sqrt()
    nll = (distance / fill.spread.exp() + 2 * fill.spread).mean()
    edges = sum(((fill.ab - lesson.ab).diff(dim=dim).square().sum(1) + 1e-6).sqrt().mean() for dim in (-1, -2))
    quarter = F.avg_pool2d(lesson.ab, 2).permute(0, 2, 3, 1).reshape(-1, 2)
    near, which = torch.cdist(quarter, net.bins).topk(4, largest=False)
    soft = (-0.5 * (near / 0.06) ** 2).softmax(-1)
    logs = fill.logits.permute(0, 2, 3, 1).reshape(-1, len(net.bins)).log_softmax(-1)
    choice = -((torch.gather(logs, 1, which) * soft).sum(-1) * weights[which[:, 0]]).mean()
    mixed, ab = fill.lookup
    eighth = F.avg_pool2d(lesson.ab, 4).flatten(2).transpose(1, 2)
    kin = torch.exp(-(ab - eighth[:, :, None]).norm(dim=-1) / _KIN)
    hit = (mixed[..., :-1] * kin).sum(-1) + mixed[..., -1] * _STRANGE
    return {
        "nll": 0.2 * nll,
        "plain": 2.0 * distance.mean(),
        "edges": 0.5 * edges,
        "choice": 0.12 * choice,
        "match": -0.1 * hit.clamp(min=1e-6).log().mean(),
    }
