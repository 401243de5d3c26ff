"""Sides that meet the picture: what they are off along the seam is taken into them and fades.

The difference is continued into the side as the harmonic function that has these values on the seam, which in each
frequency along the seam is an exponential (P. Pérez, M. Gangnet, A. Blake, Poisson Image Editing, SIGGRAPH 2003, for a
half-plane; screened, so that a common difference fades too). So somebody who is cut by the seam dissolves over as much
of the side as there is of them, and a step of light over a tenth of the picture. The picture itself is never changed.
"""

from __future__ import annotations

import cv2
import numpy as np

FADE = 0.12
"""Share of the known picture's longer side over which a common difference fades (1/e)."""
FINE = 0.4
"""Per pixel: nothing fades faster (1/e), or the first column of a side would not be continuous with the picture."""
STEADY = 17
"""Pixels along the seam: coarser differences are measured..."""
NEAR = 4
"""...on so many columns inside it."""


def at_right(plane: np.ndarray, across: bool, last: bool) -> np.ndarray:
    """A view of a side, or of what lies inside its seam, turned as if the side lay at the right of the picture.

    Args:
        across: whether the side lies at the left or right; else above or below.
        last: whether it lies at the right or below.
    """
    plane = plane if across else plane.swapaxes(0, 1)
    return plane if last else plane[:, ::-1]


def steady_profile(difference: np.ndarray) -> np.ndarray:
    """By how much a side is off along the seam, (H, 3), of differences (H, D, 3) inside the seam.

    The fine part is that of the last column, so that no line is to be seen; the rest is a mean over the last NEAR of
    them, which is steady in time.
    """
    mean, last = difference[:, -NEAR:].mean(1), difference[:, -1]
    return cv2.blur(mean - last, (1, STEADY), borderType=cv2.BORDER_REFLECT).reshape(mean.shape) + last


def continued(profile: np.ndarray, width: int, reach: float) -> np.ndarray:
    """Values along a seam, (H, 3), continued over `width` pixels, float32 (H, width, 3).

    Args:
        reach: pixels over which a common difference fades.
    """
    height = len(profile)
    frequency = 2 * np.pi * np.fft.rfftfreq(2 * height)
    decay = np.sqrt(np.square(np.minimum(frequency, FINE)) + 1 / reach**2)
    waves = np.fft.rfft(np.concatenate((profile, profile[::-1])), axis=0)
    distance = np.arange(width) + 1
    fading = np.exp(-decay[:, None] * distance)
    field = np.fft.irfft(waves[:, None] * fading[..., None], 2 * height, axis=0)
    return field[:height].astype(np.float32)
