"""What the generator and the critic minimise, and how pictures are measured; all differentiable, RGB in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore_utils.restorers.unet.network import normalise

VGG_LAYERS = (22, 32, 42)
"""Of VGG16-BN's features: what goes into the third, fourth and fifth max-pooling."""
GRADIENTS, STRUCTURE = 1.0, 0.5
"""Weights of the gradients and of MS-SSIM beside the pixels, in the structural loss."""
PLAIN, LEVEL = 0.1, 1 / 255
"""Changes by damage that count in full, and next to nothing; of white."""
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
_LUMA = (0.299, 0.587, 0.114)


def pixel(found: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Mean absolute difference."""
    return {"pixel": F.l1_loss(found, target)}


def structural(found: Tensor, target: Tensor, weight: Tensor | None = None, soft: float = 0.0) -> dict[str, Tensor]:
    """Pixels, gradients and multi-scale SSIM: what serves where no pretrained network can be had.

    Args:
        weight: (N, 1, H, W) of pixels, mean 1 in each picture, for the pixels and their gradients; see `standing_out`.
        soft: differences below it count by their square; 0: all count as they are (Charbonnier et al. 1994).
    """
    if weight is None:
        weight = found.new_ones(())
    error = found - target
    slopes = sum((_size(error.diff(dim=d), soft) * _beside(weight, d)).mean() for d in (2, 3))
    ms = 1 - ms_ssim(luma(found), luma(target))
    return {"pixel": (_size(error, soft) * weight).mean(), "gradient": GRADIENTS * slopes, "ms_ssim": STRUCTURE * ms}


def _size(error: Tensor, soft: float) -> Tensor:
    return (error.square() + soft**2).sqrt() - soft if soft else error.abs()


def _beside(weight: Tensor, dim: int) -> Tensor:
    """Weights of the steps from pixel to pixel."""
    if weight.dim() == 0:
        return weight
    return (weight.narrow(dim, 1, weight.shape[dim] - 1) + weight.narrow(dim, 0, weight.shape[dim] - 1)) / 2


def standing_out(damaged: Tensor, target: Tensor, focus: float) -> Tensor:
    """(N, 1, H, W) weights of pixels, mean 1 in each picture: more where damage changed more than it did elsewhere.

    Dust and scratches cover some thousandths of a picture: in a plain mean, grain and compression rule, and to leave
    the picture as it is costs next to nothing. Here a share `focus` of the loss goes to the pixels in proportion to the
    square of their change, up to PLAIN, and the rest to all alike. What changes the whole picture alike, as fading
    does, leaves all weights alike.
    """
    change = (damaged - target).abs().amax(1, keepdim=True).clamp(max=PLAIN).square() + LEVEL**2
    return (1 - focus) + focus * change / change.mean((1, 2, 3), keepdim=True)


class Feature(nn.Module):
    """Pixels, features of VGG16-BN and their Gram matrices (Johnson et al. 2016, as in fastai's lesson and DeOldify).

    Args:
        features: VGG16-BN's `features` up to the last of VGG_LAYERS. weights: of the three layers. gram: 0 for none.
    """

    def __init__(self, features: nn.Sequential, weights: Sequence[float], gram: float) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.weights, self.gram = tuple(weights), gram

    def _see(self, x: Tensor) -> list[Tensor]:
        seen, x = [], normalise(x)
        for i, layer in enumerate(self.features):
            # What is kept must not be overwritten by the next layer: VGG's ReLUs come before its pools, so it is not.
            x = layer(x)
            if i in VGG_LAYERS:
                seen.append(x)
        return seen

    def forward(self, found: Tensor, target: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self._see(target)
        parts = pixel(found, target)
        seen = [x.float() for x in self._see(found)]
        wanted = [x.float() for x in wanted]
        parts["feature"] = sum(w * F.l1_loss(a, b) for w, a, b in zip(self.weights, seen, wanted))
        if self.gram:
            grams = (w**2 * F.l1_loss(_gram(a), _gram(b)) for w, a, b in zip(self.weights, seen, wanted))
            parts["gram"] = self.gram * sum(grams)
        return parts


def _gram(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    flat = x.reshape(n, c, h * w)
    with torch.autocast(x.device.type, enabled=False):  # sums of many products: too coarse in half precision
        return flat @ flat.transpose(1, 2) / (c * h * w)


def judged(says: Tensor, real: bool) -> Tensor:
    """Cross-entropy of a critic's logits, with pictures that are real or not."""
    return F.binary_cross_entropy_with_logits(says, torch.full_like(says, float(real)))


def luma(x: Tensor) -> Tensor:
    """(N, 1, H, W) of (N, 3, H, W), BT.601."""
    return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _window(x: Tensor, size: int) -> Tensor:
    """Gaussian means over squares within the picture, (N, 1, H - size + 1, W - size + 1).

    As products of matrices: a convolution of one channel takes processors ten times as long.
    """
    down, across = (_bands(length, size).to(x) for length in x.shape[2:])
    return down @ x @ across.T


@cache
def _bands(length: int, size: int) -> Tensor:
    """(length - size + 1, length): row k takes the weighted mean of the places k to k + size - 1."""
    off = torch.arange(length) - torch.arange(length - size + 1)[:, None]
    bell = torch.exp(-((off - size // 2) ** 2) / (2 * 1.5**2)).where((off >= 0) & (off < size), torch.tensor(0.0))
    return bell / bell.sum(1, keepdim=True)


def _similar(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean of its part of contrast and structure, each (N,), of (N, 1, H, W)."""
    size = min(11, a.shape[2] - 1 + a.shape[2] % 2, a.shape[3] - 1 + a.shape[3] % 2)
    mean_a, mean_b = _window(a, size), _window(b, size)
    var_a, var_b = _window(a * a, size) - mean_a**2, _window(b * b, size) - mean_b**2
    both = _window(a * b, size) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * both + c2) / (var_a + var_b + c2)
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (structure * light).mean((1, 2, 3)), structure.mean((1, 2, 3))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of luma, (N,), of (N, 1, H, W): Gaussian window of 11, sigma 1.5 (Wang et al. 2004)."""
    return _similar(a, b)[0]


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM, a number, over as many of the five scales as leave 11 pixels."""
    count = next((k for k in range(5, 1, -1) if min(a.shape[2:]) >> (k - 1) >= 11), 1)
    weights = [w / sum(_MS_WEIGHTS[:count]) for w in _MS_WEIGHTS[:count]]
    value = a.new_ones(len(a))
    for k, weight in enumerate(weights):
        whole, structure = _similar(a, b)
        # Negative structure has no power: it counts as none. A little above none, where the slope is still finite.
        value = value * (whole if k == count - 1 else structure).clamp(min=1e-3) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return value.mean()


def detail(x: Tensor) -> Tensor:
    """Mean absolute Laplacian of luma, a number: how sharp pictures are."""
    y = luma(x)
    middle = y[:, :, 1:-1, 1:-1]
    around = y[:, :, :-2, 1:-1] + y[:, :, 2:, 1:-1] + y[:, :, 1:-1, :-2] + y[:, :, 1:-1, 2:]
    return (4 * middle - around).abs().mean()
