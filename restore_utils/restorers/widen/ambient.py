"""Sides without invention: the picture itself, stretched and blurred, as broadcasters do it; or plain black bars."""

from __future__ import annotations

import cv2
import numpy as np

from restore_utils.restorers.widen.canvas import Canvas

BLUR = 1 / 15
"""Sigma by the picture's height."""
DARKER = 0.65
PALER = 0.8
"""Light and saturation of sides that are to be seen as no part of the picture."""


def ambient(picture: np.ndarray, canvas: Canvas, plain: bool = False) -> np.ndarray:
    """The known picture stretched over the whole canvas and blurred, float32 (H2, W2, 3), grey levels of 255.

    Args:
        picture: RGB, uint8 (H, W, 3).
        plain: not darkened and paled: where it stands in for a part of the picture.
    """
    sigma = BLUR * canvas.height
    # Blurred so far it may as well be small.
    factor = max(1, int(sigma / 4))
    small = max(2, canvas.width // factor), max(2, canvas.height // factor)
    soft = cv2.resize(picture.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(soft, (0, 0), max(sigma / factor, 0.5), borderType=cv2.BORDER_REPLICATE)
    if not plain:
        gray = soft.mean(-1, keepdims=True)
        soft = DARKER * (gray + PALER * (soft - gray))
    return cv2.resize(soft, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)
