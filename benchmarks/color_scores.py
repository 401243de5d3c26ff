"""How far colours are from true ones, and how steady they are. Pictures are (N, 3, H, W), sRGB, [0, 1]."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon
from skimage.color import deltaE_ciede2000
from torch import Tensor

from restore_utils.restorers.color.chroma import ab_of
from restore_utils.restorers.color.flow import Carried, steps
from restore_utils.restorers.color.lab import rgb_to_lab

_GAPS = (1, 2, 4)  # frames


def psnr(one: Tensor, other: Tensor) -> float:
    """Mean over frames, dB."""
    return float((-10 * (one - other).square().mean((1, 2, 3)).clamp(min=1e-9).log10()).mean())


def distance(one: Tensor, other: Tensor, every: int = 8) -> float:
    """Mean CIEDE2000 of every so many frames."""
    return float(
        np.mean([deltaE_ciede2000(*(_lab(x) for x in pair)) for pair in zip(one[::every], other[::every], strict=True)])
    )


def _lab(rgb: Tensor) -> np.ndarray:
    return rgb_to_lab(rgb.clamp(0, 1)).permute(1, 2, 0).numpy()


def colourfulness(rgb: Tensor) -> float:
    """Hasler and Suesstrunk 2003, mean over frames."""
    red, green, blue = (rgb * 255).flatten(2).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = (rg.var(1) + yb.var(1)).sqrt() + 0.3 * (rg.mean(1) ** 2 + yb.mean(1) ** 2).sqrt()
    return float(spread.mean())


def warped(rgb: Tensor, grey: Tensor) -> float:
    """Mean distance in the a*b* plane from the last frame's colours along the motion, where that is sure."""
    planes, ab = (grey[:, 0].numpy() * 255).astype(np.uint8), ab_of(rgb).permute(0, 2, 3, 1).numpy()
    found = []
    for n in range(1, len(planes)):
        step = steps(planes[n - 1], planes[n])[0]
        moved = Carried(ab[n - 1], np.ones(ab.shape[1:3], np.float32)).along(step).ab
        sure = step.trust > 0.7
        found.append(float(np.linalg.norm(moved - ab[n], axis=-1)[sure].mean()) * 100 if sure.any() else 0.0)
    return float(np.mean(found)) if found else 0.0


def cdc(rgb: Tensor) -> float:
    """Colour distribution consistency, times 1000 (Y. Liu et al. 2021): how far histograms of R, G and B drift.

    The mean Jensen-Shannon divergence between frames 1, 2 and 4 apart. It is blind to where colours are; see `warped`.
    """
    frames = (rgb.clamp(0, 1) * 255).round().byte().numpy()
    shares = np.stack([[np.bincount(plane.ravel(), minlength=256) for plane in frame] for frame in frames]) + 1e-9
    gaps = [
        float(np.mean(jensenshannon(shares[:-gap], shares[gap:], axis=-1) ** 2)) for gap in _GAPS if gap < len(frames)
    ]
    return 1000 * float(np.mean(gaps)) if gaps else 0.0
