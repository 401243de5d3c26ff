"""The colourists of R. Zhang et al.: ECCV 2016 (BSD-2-Clause) and SIGGRAPH 2017 (MIT), for their published weights.

Written anew from the papers' tables; the names of layers are those of the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore_utils.errors import ModelError

_MIDDLE, _RANGE, _AB = 50.0, 100.0, 110.0  # by which L* and a*, b* are normalised


def _stack(*widths: int, last_stride: int = 1, dilation: int = 1, norm: bool = True, first_relu: bool = False):
    layers: list[nn.Module] = [nn.ReLU()] if first_relu else []
    pairs = list(pairwise(widths))
    for i, (a, b) in enumerate(pairs):
        stride = last_stride if i == len(pairs) - 1 else 1
        layers += [nn.Conv2d(a, b, 3, stride, dilation, dilation), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(widths[-1])] if norm else []))


class Eccv16(nn.Module):
    """L* (B, 1, H, W) to a*, b* (B, 2, H, W), sides multiples of 8: a softmax over 313 colours and its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _stack(1, 64, 64, last_stride=2)
        self.model2 = _stack(64, 128, 128, last_stride=2)
        self.model3 = _stack(128, 256, 256, 256, last_stride=2)
        self.model4 = _stack(256, 512, 512, 512)
        self.model5 = _stack(512, 512, 512, 512, dilation=2)
        self.model6 = _stack(512, 512, 512, 512, dilation=2)
        self.model7 = _stack(512, 512, 512, 512)
        up = nn.ConvTranspose2d(512, 256, 4, 2, 1)
        self.model8 = nn.Sequential(up, nn.ReLU(), *_stack(256, 256, 256, norm=False), nn.Conv2d(256, 313, 1))
        self.model_out = nn.Conv2d(313, 2, 1, bias=False)

    def forward(self, lightness: Tensor) -> Tensor:
        x = (lightness - _MIDDLE) / _RANGE
        for i in range(1, 9):
            x = getattr(self, f"model{i}")(x)
        ab = self.model_out(x.softmax(1))
        return F.interpolate(ab, scale_factor=4.0, mode="bilinear", align_corners=False) * _AB


class Siggraph17(nn.Module):
    """L* (B, 1, H, W), hints a*, b* (B, 2, H, W) and where these lie (B, 1, H, W) to a*, b*; sides multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _stack(4, 64, 64)
        self.model2 = _stack(64, 128, 128)
        self.model3 = _stack(128, 256, 256, 256)
        self.model4 = _stack(256, 512, 512, 512)
        self.model5 = _stack(512, 512, 512, 512, dilation=2)
        self.model6 = _stack(512, 512, 512, 512, dilation=2)
        self.model7 = _stack(512, 512, 512, 512)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(512, 256, 4, 2, 1))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
        self.model8 = _stack(256, 256, 256, first_relu=True)
        self.model9up = nn.Sequential(nn.ConvTranspose2d(256, 128, 4, 2, 1))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
        self.model9 = _stack(128, 128, first_relu=True)
        self.model10up = nn.Sequential(nn.ConvTranspose2d(128, 128, 4, 2, 1))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, lightness: Tensor, ab: Tensor | None = None, where: Tensor | None = None) -> Tensor:
        ab = torch.cat((lightness, lightness), 1) * 0 if ab is None else ab
        where = lightness * 0 if where is None else where
        one = self.model1(torch.cat(((lightness - _MIDDLE) / _RANGE, ab / _AB, where), 1))
        two = self.model2(one[..., ::2, ::2])
        three = self.model3(two[..., ::2, ::2])
        x = three[..., ::2, ::2]
        for i in range(4, 8):
            x = getattr(self, f"model{i}")(x)
        x = self.model8(self.model8up(x) + self.model3short8(three))
        x = self.model9(self.model9up(x) + self.model2short9(two))
        x = self.model10(self.model10up(x) + self.model1short10(one))
        return self.model_out(x) * _AB


def build(state: Mapping[str, Tensor], where: str) -> Eccv16 | Siggraph17:
    """The network of a published file.

    Raises:
        ModelError: the file is neither of the two.
    """
    state = {k: v for k, v in state.items() if not k.startswith("model_class.") and not k.endswith("tracked")}
    with torch.device("meta"):
        net = Siggraph17() if "model10up.0.weight" in state else Eccv16()
    try:
        net.load_state_dict({k: v.float() for k, v in state.items()}, assign=True, strict=False)
        missing = [k for k, v in net.state_dict().items() if v.is_meta and not k.endswith("tracked")]
        unknown = state.keys() - net.state_dict().keys()
    except RuntimeError as error:
        missing, unknown = [" ".join(str(error).split())[:200]], ()
    if missing or unknown:
        raise ModelError(
            f"{where} is no colour network of Zhang et al.: {next(iter([*missing, *unknown]))} does not fit"
        )
    return net.eval()
