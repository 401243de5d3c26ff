"""From the network's chances to spots that are repaired: which of them, and how far."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restore_utils.errors import OptionError
from restore_utils.restorers.film.align import Window

MAYBE, FULL = 0.2, 0.8
"""A spot reaches as far as the chance of damage is MAYBE; from there to FULL it is repaired ever more."""
_PIXELS, _CERTAIN = (60, 600, 6000), (0.5, 0.65, 0.8)
"""How sure it has to be of a spot of so many pixels in a picture of LINES rows, the mean over its surest half. A large
false repair takes a hand, a small one a glint."""
LINES = 480
ALONE = 1.0
"""How many times the noise a spot has to differ from each neighbour. What one of them shows as well is of the scene,
such as a post. Chosen on training footage, with another network of this kind than the one that ships."""
DIAL = (2.2, 0.0, -1.4)
"""What is taken off the logit of every chance at a sensitivity of 0, 0.5 and 1."""
POLARITIES = ("both", "dark", "bright")
_LEVEL = 6 / 255  # a grey level in Window.planes


@dataclass(frozen=True)
class Choice:
    """What of the damage that is seen is to be repaired.

    Args:
        sensitivity: 0 (only what is beyond doubt) to 1 (also what may be true).
        smallest, largest: side of a spot as a share of the picture's height; what is smaller or larger stays.
        polarity: which way damage sticks out: dark, bright or both.

    Raises:
        OptionError: a value out of range.
    """

    sensitivity: float = 0.5
    smallest: float = 0.0
    largest: float = 1.0
    polarity: str = "both"

    def __post_init__(self) -> None:
        if not 0 <= self.sensitivity <= 1:
            raise OptionError(f"sensitivity {self.sensitivity} is impossible: choose from 0 to 1")
        if not 0 <= self.smallest < self.largest:
            raise OptionError(f"smallest {self.smallest} and largest {self.largest} leave no spot: widen them")
        if self.polarity not in POLARITIES:
            raise OptionError(f"polarity {self.polarity} is unknown: choose one of {', '.join(POLARITIES)}")

    @property
    def shift(self) -> float:
        """What is added to every logit."""
        return -float(np.interp(self.sensitivity, (0, 0.5, 1), DIAL))


def soft_mask(chance: np.ndarray, window: Window, choice: Choice) -> np.ndarray:
    """How far each pixel is to be changed, (H, W) float32: 0 but in and about what is sure enough.

    Args:
        chance: (H, W) float32, [0, 1], with the choice's shift in it.
        window: in which they were found.
        choice: which spots.
    """
    apart = window.planes[8]
    maybe = (chance > MAYBE).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(maybe, connectivity=8)
    if count == 1:
        return np.zeros(chance.shape, np.float32)
    keep = chosen(chance, window, labels, boxes[:, cv2.CC_STAT_AREA], choice)
    mask = np.where(keep[labels], np.clip((chance - MAYBE) / (FULL - MAYBE), 0, 1), 0).astype(np.float32)
    # Compression smears damage over its rim, which would be left as an outline.
    wide = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    rim = (wide > 0) & (np.abs(apart) > _LEVEL)
    return np.where(rim, np.maximum(mask, cv2.blur(wide, (3, 3))), mask)


def chosen(chance: np.ndarray, window: Window, labels: np.ndarray, areas: np.ndarray, choice: Choice) -> np.ndarray:
    """Which of the labels (K,) are spots to be repaired; the first, what lies between them, is none."""
    height, count = chance.shape[0], len(areas)
    y, x = np.nonzero(labels)
    of, values = labels[y, x], chance[y, x]
    surer = values >= (np.bincount(of, values, count) / np.maximum(areas, 1))[of]
    y, x, of, values = y[surer], x[surer], of[surer], values[surer]
    pixels = np.maximum(np.bincount(of, None, count), 1)
    certainty = np.bincount(of, values, count) / pixels
    alike = areas * (LINES / height) ** 2
    keep = certainty > np.interp(np.log(np.maximum(alike, 1)), np.log(_PIXELS), _CERTAIN)
    noise = window.noise[y // 2, x // 2]
    for plane, valid in zip(window.planes[3:7], window.valid, strict=True):
        if valid:
            keep &= np.bincount(of, np.abs(plane[y, x]) / noise, count) > ALONE * pixels
    side = np.sqrt(areas) / height
    keep &= (side >= choice.smallest) & (side <= choice.largest)
    if choice.polarity != "both":
        way = np.bincount(of, np.sign(window.planes[8][y, x]) * values, count)
        keep &= way < 0 if choice.polarity == "dark" else way > 0
    keep[0] = False
    return keep
