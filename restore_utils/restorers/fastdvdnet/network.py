"""FastDVDnet: noise taken away by five frames and two small U-nets, without any motion search.

M. Tassano, J. Delon, T. Veit, "FastDVDnet: Towards Real-Time Deep Video Denoising Without Flow Estimation", CVPR 2020.
Parameters have the names and shapes of the authors' files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from restore_utils.errors import ModelError

_WIDTHS = (32, 64, 128)
_PER_FRAME = 30  # channels given to each frame at the entrance


class FastDVDnet(nn.Module):
    """Two blocks in cascade: the first on three triples of neighbours, the second on its three answers."""

    def __init__(self) -> None:
        super().__init__()
        self.temp1, self.temp2 = Block(), Block()

    def forward(self, frames: Sequence[Tensor], sigma: Tensor) -> Tensor:
        """Five frames, each (B, 3, H, W), and the noise's deviation (B, 1, H, W), in [0, 1], to the middle frame."""
        return self.second([self.first(frames[i : i + 3], sigma) for i in range(3)], sigma)

    def first(self, triple: Sequence[Tensor], sigma: Tensor) -> Tensor:
        """The middle of three neighbours, cleaned once."""
        return self.temp1(triple, sigma)

    def second(self, triple: Sequence[Tensor], sigma: Tensor) -> Tensor:
        """The middle of three neighbours that were cleaned once."""
        return self.temp2(triple, sigma)


class Block(nn.Module):
    """A U-net over three frames and a map of the noise; it computes what to subtract from the middle frame."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = _WIDTHS
        entrance = 3 * _PER_FRAME
        self.inc = Convs(*_unit(3 * 4, entrance, groups=3), *_unit(entrance, a))
        self.downc0 = Convs(*_unit(a, b, stride=2), _double(b))
        self.downc1 = Convs(*_unit(b, c, stride=2), _double(c))
        self.upc2 = Convs(_double(c), _conv(c, 4 * b), nn.PixelShuffle(2))
        self.upc1 = Convs(_double(b), _conv(b, 4 * a), nn.PixelShuffle(2))
        self.outc = Convs(*_unit(a, a), _conv(a, 3))

    def forward(self, triple: Sequence[Tensor], sigma: Tensor) -> Tensor:
        x = torch.cat([part for frame in triple for part in (frame, sigma)], dim=1).to(
            self.outc.convblock[0].weight.dtype
        )
        full = self.inc(x)
        half = self.downc0(full)
        half = half + self.upc2(self.downc1(half))
        noise = self.outc(full + self.upc1(half))
        return triple[1] - noise.to(triple[1].dtype)


class Convs(nn.Module):
    """A sequence of layers under the name that the published files have for it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.convblock = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.convblock(x)


def _conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)


def _unit(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    return _conv(inputs, outputs, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _double(channels: int) -> Convs:
    return Convs(*_unit(channels, channels), *_unit(channels, channels))


def load(tensors: Mapping[str, Tensor]) -> FastDVDnet:
    """The network of a state dict.

    Raises:
        ModelError: when names or shapes are not those of a FastDVDnet.
    """
    network = FastDVDnet()
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ModelError(f"not the weights of a FastDVDnet: {' '.join(str(error).split())[:200]}") from error
    return network.eval().requires_grad_(False)
