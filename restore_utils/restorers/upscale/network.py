"""UpscaleNet: from five aligned frames the middle one clean, and clean and twice as large.

Plain 3x3 convolutions, mostly at half size (pixels folded into channels, so nothing is lost), which is what processors
are fast at. The network works on luma and two colour differences; chroma is looked at by fours, since nothing that is
worth enlarging was recorded with more of it. What it says is a change: of the middle frame, and of the Lanczos
enlargement of what is then clean. By construction the mean luma of each square of two by two pixels of the large frame
is that of the clean frame's pixel (back-projection, Irani and Peleg 1991), so that enlarging invents nothing coarser.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore_utils.restorers.shared import ResidualBlock

FRAMES = 5  # two before, one before, the middle one, one after, two after
SLOTS = FRAMES - 1
MIDDLE = FRAMES // 2
_LUMA = (0.299, 0.587, 0.114)
_AHEAD = 6  # a neighbour's difference to the middle frame, against luma


class Enlarged(NamedTuple):
    """What UpscaleNet says of a frame; neither is clamped."""

    clean: Tensor  # (N, 3, H, W) RGB: as large as it was
    large: Tensor  # (N, 3, 2 H, 2 W)


def to_luma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (..., 3, H, W) to luma (..., 1, H, W), BT.601, and the colour differences R - Y and B - Y (..., 2, H, W)."""
    red, green, blue = rgb.unbind(-3)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return luma.unsqueeze(-3), torch.stack((red - luma, blue - luma), -3)


def to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """The inverse of to_luma."""
    red, blue = (chroma + luma).unbind(-3)
    green = (luma.squeeze(-3) - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
    return torch.stack((red, green, blue), -3)


def twice(pictures: Tensor) -> Tensor:
    """(N, C, H, W) enlarged by two with Lanczos' window of three lobes; beyond its border a picture stays as there."""
    n, c, h, w = pictures.shape
    x = F.pad(pictures, (3, 3, 3, 3), mode="replicate")
    x = torch.stack(_halves(x, 2), 3).reshape(n, c, 2 * h, w + 6)
    return torch.stack(_halves(x, 3), 4).reshape(n, c, 2 * h, 2 * w)


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """What lies a quarter of a pixel before, and after, each pixel along a dimension, but for three at both ends.

    As sums of shifted pictures: convolutions with a single channel take seven times as long on a processor.
    """
    taps = [_lanczos(k - 2.75) for k in range(6)]
    taps = [tap / sum(taps) for tap in taps]
    count = x.shape[dim] - 6
    before, after = x.narrow(dim, 0, count) * taps[0], x.narrow(dim, 6, count) * taps[0]
    for k in range(1, 6):
        before = before.add(x.narrow(dim, k, count), alpha=taps[k])
        after = after.add(x.narrow(dim, 6 - k, count), alpha=taps[k])
    return before, after


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    x *= math.pi
    return 3 * math.sin(x) * math.sin(x / 3) / (x * x)


class UpscaleNet(nn.Module):
    """The network of `upscale` and `enhance`.

    Args:
        width: channels at half size.
        blocks: residual blocks of two convolutions at half size.
        fine: channels at full size, before and after those; 0: none.
    """

    def __init__(self, width: int = 32, blocks: int = 3, fine: int = 0) -> None:
        super().__init__()
        self.dims = {"width": width, "blocks": blocks, "fine": fine}
        chroma = 2 * FRAMES + SLOTS
        if fine:
            self.stem = nn.Conv2d(FRAMES, fine, 3, padding=1)
            self.down = nn.Conv2d(fine, width, 2, stride=2)
            self.colour = nn.Conv2d(chroma, width, 3, padding=1)
            self.up = nn.Conv2d(width, 4 * fine, 1)
            self.tail = nn.Sequential(ResidualBlock(fine), ResidualBlock(fine))
            self.head = nn.Conv2d(fine, 5, 3, padding=1)
            self.tint = nn.Conv2d(width, 8, 3, padding=1)
        else:
            self.stem = nn.Conv2d(4 * FRAMES + chroma, width, 3, padding=1)
            self.head = nn.Conv2d(width, 20, 3, padding=1)
            self.tint = nn.Conv2d(width, 8, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        for last in (self.head, self.tint):
            nn.init.normal_(last.weight, std=0.003)
            nn.init.zeros_(last.bias)

    @property
    def reach(self) -> int:
        """Pixels of the middle frame on each side on which a result depends."""
        half = 1 + 2 * len(self.body) + (0 if self.dims["fine"] else 1)
        full = 6 if self.dims["fine"] else 0
        return 2 * (half + 1) + full + 4

    def forward(self, frames: Tensor, valid: Tensor) -> Enlarged:
        """Enlarge the middle frame.

        Args:
            frames: (N, FRAMES, 3, H, W) RGB, [0, 1], the neighbours laid over the middle one; where there is no
                neighbour, the middle frame itself. H and W even.
            valid: (N, SLOTS), 1 where the slot holds a neighbour of its side, 0 none, else what align.sides says.
        """
        luma, chroma = to_luma(frames.float())
        middle, tint = luma[:, MIDDLE], chroma[:, MIDDLE]
        seen = (luma - luma[:, MIDDLE : MIDDLE + 1])[:, :, 0] * _AHEAD
        seen[:, MIDDLE] = middle[:, 0] * 2 - 1
        _n, _, height, width = seen.shape
        small = F.avg_pool2d(chroma.flatten(1, 2), 2) * 4
        flags = valid[:, :, None, None].expand(-1, -1, height // 2, width // 2).to(small.dtype)
        clean, detail, change = self._look(seen, torch.cat((small, flags), 1))
        clean = middle + clean.float()
        large = twice(clean) + detail.float()
        large = large + F.interpolate(clean - F.avg_pool2d(large, 2), scale_factor=2, mode="nearest")
        tint = tint + change.float()
        return Enlarged(to_rgb(clean, tint), to_rgb(large, twice(tint)))

    def _look(self, seen: Tensor, small: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Changes of luma (N, 1, H, W), of the enlarged luma (N, 1, 2 H, 2 W) and of colour (N, 2, H, W)."""
        seen, small = (x.to(self.stem.weight.dtype, memory_format=torch.channels_last) for x in (seen, small))
        if self.dims["fine"]:
            own = F.relu(self.stem(seen))
            x = self.body(F.relu(self.down(own) + self.colour(small)))
            said = self.head(self.tail(F.relu(own + F.pixel_shuffle(self.up(x), 2))))
        else:
            x = self.body(F.relu(self.stem(torch.cat((F.pixel_unshuffle(seen, 2), small), 1))))
            said = F.pixel_shuffle(self.head(x), 2)
        return said[:, :1], F.pixel_shuffle(said[:, 1:], 2), F.pixel_shuffle(self.tint(x), 2)
