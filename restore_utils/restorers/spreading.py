"""Values known in some places of a picture, spread over all of it."""

from __future__ import annotations

import cv2
import numpy as np


def spread_out(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted values (H, W, C) spread over a picture: each level of a pyramid takes what it lacks from a coarser one.

    S. J. Gortler et al., The Lumigraph, SIGGRAPH 1996 (pull-push).
    """
    height, width = weight.shape
    total = total.reshape(height, width, -1)
    mean = total / np.maximum(weight, 1e-6)[..., None]
    if max(height, width) <= 2:
        overall = total.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        coarse = np.broadcast_to(overall, total.shape)
    else:
        half = ((width + 1) // 2, (height + 1) // 2)
        soft, soft_weight = cv2.GaussianBlur(total, (3, 3), 0), cv2.GaussianBlur(weight, (3, 3), 0)
        coarser = spread_out(cv2.resize(soft, half).reshape(*half[::-1], -1), cv2.resize(soft_weight, half))
        coarse = cv2.resize(coarser, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    enough = np.minimum(weight * 2, 1)[..., None]
    return (coarse + (mean - coarse) * enough).astype(np.float32)
