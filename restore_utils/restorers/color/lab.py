"""CIE L*a*b* (D65, 2 degrees) and sRGB, and the hull of ab values that sRGB can show.

Colours are computed with in a* and b*: equal steps are about equally visible at every lightness, which is not so of Cb
and Cr. IEC 61966-2-1 for sRGB, CIE 15:2004 for L*a*b*.
"""

from __future__ import annotations

import torch
from torch import Tensor

AB = 100.0
"""Networks compute with a*, b* divided by this."""

_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_TO_RGB = ((3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560), (0.0556434, -0.2040259, 1.0572252))
_WHITE = (0.95047, 1.0, 1.08883)
_EPS, _KAPPA = 216 / 24389, 24389 / 27


def linear(rgb: Tensor) -> Tensor:
    """sRGB code values in [0, 1] as linear light."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def coded(light: Tensor) -> Tensor:
    """Linear light as sRGB code values; below 0 it goes on as a straight line, so that nothing is clipped here."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-8) ** (1 / 2.4) - 0.055)


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", planes.new_tensor(matrix), planes)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) sRGB in [0, 1] as L* in [0, 100], a*, b* (about -110..110)."""
    xyz = _mixed(linear(rgb), _TO_XYZ) / rgb.new_tensor(_WHITE)[:, None, None]
    f = torch.where(xyz > _EPS, xyz.clamp(min=1e-8) ** (1 / 3), (_KAPPA * xyz + 16) / 116)
    x, y, z = f.unbind(-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(..., 3, H, W) L*a*b* as sRGB; what sRGB cannot show lies outside [0, 1] and is not clipped."""
    lightness, a, b = lab.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack((fy + a / 500, fy, fy - b / 200), -3)
    xyz = torch.where(f**3 > _EPS, f**3, (116 * f - 16) / _KAPPA) * lab.new_tensor(_WHITE)[:, None, None]
    return coded(_mixed(xyz, _TO_RGB))


def lightness(grey: Tensor) -> Tensor:
    """L* in [0, 100] of grey sRGB code values in [0, 1]."""
    y = linear(grey)
    return torch.where(y > _EPS, 116 * y.clamp(min=1e-8) ** (1 / 3) - 16, _KAPPA * y)


def ab_bins(step: float = 12.0) -> Tensor:
    """Centres of the squares of side `step` in the a*b* plane that hold colours of sRGB, (K, 2) (Zhang et al. 2016)."""
    side = torch.linspace(0, 1, 33)
    cube = torch.stack(torch.meshgrid(side, side, side, indexing="ij")).reshape(3, 1, -1)
    ab = rgb_to_lab(cube)[1:, 0].T
    return torch.unique((ab / step).round(), dim=0) * step
