"""DeOldify's generators (J. Antic, 2018-2024, MIT): fastai U-Nets on ResNets, for their published weights.

Written anew for inference: spectral and weight norm are multiplied in when a file is loaded. The names of layers are
those of the files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from restore_utils.errors import ModelError

STEP = 16
"""Pixels of the square per unit of render factor."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RANGE = 3.0  # results lie in (-3, 3) of normalised values
_TAPS = (6, 5, 4, 2)  # children of the ResNet whose outputs go across, deepest first
_WIDTHS = {"resnet34": (256, 128, 64, 64), "resnet101": (1024, 512, 256, 64)}
_DEEPEST = {"resnet34": 512, "resnet101": 2048}


def _conv(inputs: int, outputs: int, *, attention: bool = False, norm: bool = True, size: int = 3, active: bool = True):
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, padding=(size - 1) // 2, bias=not norm)]
    layers += [nn.ReLU(inplace=True)] if active else []
    layers += [nn.BatchNorm2d(outputs)] if norm else []
    layers += [_Attention(outputs)] if attention else []
    return nn.Sequential(*layers)


class _Attention(nn.Module):
    """Self-attention (H. Zhang et al., 2018); fused, since its table would grow with the fourth power of the side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv1d(width, width // 8, 1, bias=False) for _ in range(2))
        self.value = nn.Conv1d(width, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        # The softmax runs over what the files call the query.
        tables = (t.transpose(1, 2)[:, None] for t in (self.key(flat), self.query(flat), self.value(flat)))
        seen = F.scaled_dot_product_attention(*tables, scale=1.0)[:, 0].transpose(1, 2)
        return (self.gamma * seen + flat).view_as(x)


class _Shuffle(nn.Module):
    """Twice as large by pixel shuffle, with a blur against checkerboards, which fastai 1 always adds."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = _conv(inputs, 4 * outputs, norm=norm, size=1, active=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(F.relu(self.conv(x)), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)


class _Up(nn.Module):
    def __init__(self, inputs: int, across: int, up: int, widths: list[int], attention: bool, deep: bool) -> None:
        super().__init__()
        self.shuf = _Shuffle(inputs, up, norm=True)
        self.bn = nn.BatchNorm2d(across)
        if deep:
            self.conv1 = _conv(up + across, widths[0])
            self.conv2 = _conv(widths[0], widths[1], attention=attention)
        else:
            self.conv = _conv(up + across, widths[0], attention=attention)
        self.deep = deep

    def forward(self, x: Tensor, across: Tensor) -> Tensor:
        x = self.shuf(x)
        if x.shape[-2:] != across.shape[-2:]:
            x = F.interpolate(x, across.shape[-2:], mode="nearest")
        x = F.relu(torch.cat((x, self.bn(across)), 1))
        return self.conv2(self.conv1(x)) if self.deep else self.conv(x)


class _Last(nn.Module):
    """Two convolutions with the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_conv(width, width, norm=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers[1](self.layers[0](x))


class DeOldify(nn.Module):
    """RGB (B, 3, H, W) in [0, 1], sides multiples of 16, to RGB of the same shape; beyond [0, 1] is possible.

    Args:
        deep: the generator of the artistic weights (a ResNet-34), or the wide one of stable and video (a ResNet-101).
        factor: of the decoder's width; 1.5 and 2 in the published weights.
    """

    def __init__(self, deep: bool, factor: float | None = None) -> None:
        super().__init__()
        encoder = "resnet34" if deep else "resnet101"
        factor = factor or (1.5 if deep else 2)
        body = nn.Sequential(*list(getattr(torchvision.models, encoder)(weights=None).children())[:-2])
        deepest = _DEEPEST[encoder]
        middle = nn.Sequential(_conv(deepest, 2 * deepest), _conv(2 * deepest, deepest))
        layers: list[nn.Module] = [body, nn.BatchNorm2d(deepest), nn.ReLU(), middle]
        width = deepest
        for i, across in enumerate(_WIDTHS[encoder]):
            last = i == len(_TAPS) - 1
            if deep:
                up = width // 2
                outputs = int(((up + across) // 2 if last else up + across) * factor)
                widths = [outputs, outputs]
            else:
                outputs = int(512 * factor) // (2 if last else 1)
                up = outputs // 2
                widths = [outputs // 2]
            layers.append(_Up(width, across, up, widths, attention=i == len(_TAPS) - 3, deep=deep))
            width = widths[-1]
        layers += [_Shuffle(width, width, norm=False), nn.Identity(), _Last(width + 3)]
        layers += [_conv(width + 3, 3, norm=False, size=1, active=False)]
        self.layers = nn.ModuleList(layers)

    def forward(self, rgb: Tensor) -> Tensor:
        mean, std = (rgb.new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _STD))
        x = picture = (rgb - mean) / std
        across = []
        for i, layer in enumerate(self.layers[0]):
            x = layer(x)
            if i in _TAPS:
                across.append(x.clone() if i == _TAPS[-1] else x)
        x = self.layers[3](self.layers[2](self.layers[1](x)))
        for layer, tap in zip(self.layers[4:8], reversed(across), strict=True):
            x = layer(x, tap)
        x = self.layers[8](x)
        if x.shape[-2:] != picture.shape[-2:]:
            x = F.interpolate(x, picture.shape[-2:], mode="nearest")
        x = self.layers[11](self.layers[10](torch.cat((x, picture), 1)))
        return (torch.sigmoid(x) * 2 * _RANGE - _RANGE) * std + mean


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict with its norms of weights multiplied in."""
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        stem, _, leaf = key.rpartition(".")
        if leaf == "weight_orig":
            u, v = state[f"{stem}.weight_u"], state[f"{stem}.weight_v"]
            plain[f"{stem}.weight"] = value / torch.dot(u, value.flatten(1).mv(v))
        elif leaf == "weight_g":
            direction = state[f"{stem}.weight_v"]
            norm = direction.flatten(1).norm(dim=1).view(-1, *(1,) * (direction.dim() - 1))
            plain[f"{stem}.weight"] = value * direction / norm
        elif leaf not in ("weight_u", "weight_v", "num_batches_tracked"):
            plain[key] = value
    return plain


def build(state: Mapping[str, Tensor], where: str) -> DeOldify:
    """The network of a published file.

    Raises:
        ModelError: the file is not one of DeOldify's generators.
    """
    deep = "layers.4.conv1.0.weight_orig" in state
    if not deep and "layers.4.conv.0.weight_orig" not in state:
        raise ModelError(f"{where} is not a generator of DeOldify: download the file again")
    with torch.device("meta"):
        net = DeOldify(deep)
    try:
        net.load_state_dict({k: v.float() for k, v in folded(state).items()}, assign=True, strict=True)
    except RuntimeError as error:
        raise ModelError(f"{where} does not fit DeOldify's generator: {' '.join(str(error).split())[:200]}") from None
    return net.eval()
