"""The critic of the last part of a run, by choice: it tells guessed colours from true ones, as NoGAN trains it.

NoGAN (J. Antic, DeOldify): the painter learns alone until nothing more comes of it, then a critic learns alone to tell
its pictures from true ones, and only then both learn together, for a short while. Here the critic looks at patches
(P. Isola et al. 2017) of what was guessed without seeds, since only there are several answers right; hinge loss and
spectral norm (T. Miyato et al. 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from restore_utils.restorers.color.network import Fill
from restore_utils.train.color.lessons import Lesson

ALONE, TOGETHER = 0.75, 0.8
"""Shares of a run's time from which the critic learns alone, and from which both learn together."""
WEIGHT = 0.01  # of the critic's opinion in the painter's loss: more gives blotches of red
_WIDTHS = (32, 64, 128)


class Critic(nn.Module):
    """Grey and colours (B, 3, H, W), in units of the network's, to an opinion of each patch (B, 1, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            layers += [spectral_norm(nn.Conv2d(inputs, width, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
            inputs = width
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(inputs, 1, 3, 1, 1)))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)


class Adversary:
    """A critic and its optimiser."""

    def __init__(self, device: torch.device, rate: float) -> None:
        self.critic = Critic().to(device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.99))

    def opinion(self, fill: Fill, lesson: Lesson) -> Tensor:
        """The painter's loss: how far guesses are taken for guesses; 0 where no lesson is without seeds."""
        if not bool(lesson.alone.any()):
            return fill.ab.new_zeros(())
        return -WEIGHT * self.critic(_pictures(lesson, fill.ab)[lesson.alone]).mean()

    def learn(self, fill: Fill, lesson: Lesson) -> float:
        """One step of the critic; returns its loss, 2 where it can tell nothing."""
        if not bool(lesson.alone.any()):
            return 2.0
        true = self.critic(_pictures(lesson, lesson.ab)[lesson.alone])
        made = self.critic(_pictures(lesson, fill.ab.detach())[lesson.alone])
        loss = F.relu(1 - true).mean() + F.relu(1 + made).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def state_dict(self) -> dict:
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])


def _pictures(lesson: Lesson, ab: Tensor) -> Tensor:
    """(B, 3, H / 2, W / 2): grey about 0, and colours."""
    return torch.cat((F.avg_pool2d(lesson.grey, 2) * 2 - 1, ab), 1)
