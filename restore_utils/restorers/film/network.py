"""FilmNet: finds film damage in the middle one of five aligned frames and says what was there.

The neighbours come aligned, so that a defect of one frame stands out as a difference to all of them, and what was
there can be taken from them. The trunk is a small U-Net at half size (pixels folded into channels, so nothing is lost).
Beside it a line branch sees the *unaligned* frames averaged over 16 rows at full width: a long scratch is too weak to
be seen pixel by pixel, strong along the line, and stays at its place in the gate while the picture behind it moves.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore_utils.restorers.shared import ResidualBlock

SLOTS = 4  # neighbours: two before, two after
PLANES = 9  # full-size planes of the trunk's input, see restore_utils.restorers.film.align.Window
ROWS = 16  # rows in one average of the line branch


class Found(NamedTuple):
    """What FilmNet says, at full size."""

    mask: Tensor  # (N, 1, H, W): logit, damage where > 0
    weights: Tensor  # (N, SLOTS + 1, H, W): logits of the neighbours' and the network's own repair, before the softmax
    change: Tensor  # (N, 3, H, W): the network's own repair is the middle frame plus this
    lines: Tensor  # (N, 1, H / ROWS, W): logit, a long scratch runs through these rows; guides the training alone


class _Lines(nn.Module):
    """Averages over 16 rows of the unaligned frames -> features for the trunk, at half its width, and logits."""

    def __init__(self, frames: int, width: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(frames, width, (3, 9), padding=(1, 4))
        self.layers = nn.ModuleList(nn.Conv2d(2 * width, width, (5, 3), padding=(2, 1)) for _ in range(4))
        self.last = nn.Conv2d(2 * width, out, 1)
        self.says = nn.Conv2d(width, 1, 1)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.first(rows))
        for layer in self.layers:
            column = x.mean(2, keepdim=True).expand_as(x)
            x = F.relu(x + layer(torch.cat((x, column), 1)))
        n, c, h, w = x.shape
        folded = x.reshape(n, c, h, w // 2, 2).permute(0, 1, 4, 2, 3).reshape(n, 2 * c, h, w // 2)
        return self.last(folded), self.says(x)


def _folded(planes: Tensor, valid: Tensor, evidence: Tensor | None) -> Tensor:
    """Four pixels into channels, as F.pixel_unshuffle does, flags and evidence beside them: (N, C, H/2, W/2).

    Written at once with the channels last, as convolutions want them. What lies side by side stays so and is moved as
    one integer of twice the size, which takes half the time.
    """
    n, c, h, w = planes.shape
    pair = torch.int64 if planes.element_size() == 4 else torch.int32
    flags = 4 * c + valid.shape[1]
    x = planes.new_empty(n, h // 2, w // 2, flags + (0 if evidence is None else evidence.shape[1]))
    x[..., 4 * c : flags] = valid[:, None, None]
    if evidence is not None:
        x[..., flags:] = evidence.permute(0, 2, 3, 1)
    pairs = planes.contiguous().view(pair).view(n, c, h // 2, 2, w // 2)
    x.view(pair)[..., : 2 * c].unflatten(-1, (c, 2)).copy_(pairs.permute(0, 2, 4, 1, 3))
    return x.permute(0, 3, 1, 2)


def _add_rows(x: Tensor, rows: Tensor) -> Tensor:
    """x (N, C, H, W) += rows (N, C, H / k, W), bilinearly interpolated; as one product of matrices much the fastest."""
    n, c, h, w = x.shape
    count = rows.shape[2]
    one = torch.eye(count, device=x.device)[None, :, :, None]
    share = F.interpolate(one, size=(h, 1), mode="bilinear", align_corners=False)[0, :, :, 0].T.to(x.dtype)
    flat, low = (v.permute(0, 2, 3, 1).reshape(n, -1, w * c) for v in (x, rows.to(x.dtype)))
    return flat.baddbmm_(share.expand(n, -1, -1), low).view(n, h, w, c).permute(0, 3, 1, 2)


class FilmNet(nn.Module):
    """The network of the `film` restorers.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the size.
        line_width: channels of the line branch.
        evidence: half-size planes of the trunk's input, 0 or align.EVIDENCE.
        frames: in the line branch, SLOTS + 1 or with the distant ones.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 56, 112, 160),
        line_width: int = 24,
        evidence: int = 10,
        frames: int = 9,
    ) -> None:
        super().__init__()
        self.dims = {"widths": list(widths), "line_width": line_width, "evidence": evidence, "frames": frames}
        first = widths[0]
        self.stem = nn.Conv2d(4 * PLANES + SLOTS + evidence, first, 3, padding=1)
        self.lines = _Lines(frames, line_width, 2 * first)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.enc = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(w) for _ in range(1 if i == 0 else 2))) for i, w in enumerate(widths)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.dec = nn.ModuleList(nn.Sequential(ResidualBlock(w)) for w in widths[:-1])
        self.head = nn.Conv2d(first, 4 * (1 + SLOTS + 1 + 3), 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[:4] = -3.0  # little of a film is damaged

    def forward(self, planes: Tensor, valid: Tensor, rows: Tensor, evidence: Tensor | None = None) -> Found:
        """Find damage.

        Args:
            planes: (N, PLANES, H, W) features of the aligned window; H and W multiples of 16.
            valid: (N, SLOTS), 1 where the slot holds a neighbour of its side, else 0 or what Window.valid says.
            rows: (N, frames, H / 16, W) averages of the unaligned frames' high-passed luma.
            evidence: (N, evidence, H / 2, W / 2), if the network takes any.
        """
        folded, lines = self.folded(planes, valid, rows, evidence)
        mask, weights, change = F.pixel_shuffle(folded, 2).float().split((1, SLOTS + 1, 3), 1)
        return Found(mask, weights, change, lines.float())

    def folded(
        self, planes: Tensor, valid: Tensor, rows: Tensor, evidence: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As forward, but mask, weights and change in one, (N, 4 * 9, H/2, W/2), before F.pixel_shuffle; and lines.

        All but the mask are looked at only where there is damage, so they need not be unfolded everywhere.
        """
        features, lines = self.lines(rows)
        early, late = features.chunk(2, 1)
        x = F.relu(_add_rows(self.stem(_folded(planes, valid, evidence)), early))
        skips = []
        for level, block in enumerate(self.enc):
            x = block(x)
            if level < len(self.down):
                skips.append(x)
                x = F.relu(self.down[level](x))
        for level in reversed(range(len(self.dec))):
            x = skips[level] + F.interpolate(self.up[level](x), scale_factor=2, mode="nearest")
            x = self.dec[level](F.relu(_add_rows(x, late) if level == 0 else x))
        return self.head(x), lines
