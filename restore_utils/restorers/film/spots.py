"""From the network's chances to spots that are repaired: which of them, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.errors import OptionError
from restore_utils.restorers.film.align import Window
from restore_utils.restorers.film.judge import EXTENT, FILL, MAYBE, SEED, SLENDER, Judge, Spots, candidates, features

FULL = 0.8
"""FilmNet's spots are repaired ever more from a chance of MAYBE to this one, the others from EXTENT to SEED."""
LARGE = (60, 250)
"""Pixels of a spot as thick as it is long, up to which it is small and from which on it is large: those of a hand are
some 250 in a picture of 480 rows. Seen on one reel, not learned."""
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

    def threshold(self, judge: Judge, sizes: np.ndarray) -> np.ndarray:
        """The logit from which on a spot is taken for damage, (K,).

        Args:
            sizes: (K,) pixels of each, as thick as they are long. A large false repair takes a hand, a small one a
                glint, so a large one has to be as sure as the next more cautious setting asks.
        """
        small = np.interp(self.sensitivity, (0, 0.5, 1), judge.dial)
        large = np.interp(self.sensitivity, (0, 0.5, 1), (judge.dial[0], *judge.dial[:2]))
        share = np.interp(np.log(np.maximum(sizes, 1)), np.log(LARGE), (0, 1))
        return small + share * (large - small)


class Damage(NamedTuple):
    """What of a frame is to be repaired, (H, W) each."""

    mask: np.ndarray  # float32: how far each pixel is changed
    sure: np.ndarray  # float32: how likely its spot is damage, 0.5 being enough for the choice; 0 where there is none
    plain: np.ndarray  # bool: spots that FilmNet did not see, so that its own repair would keep them


def damage(logit: np.ndarray, lines: np.ndarray, window: Window, judge: Judge, choice: Choice) -> Damage:
    """The spots of a frame that are sure enough.

    Args:
        logit: (H, W) float32, FilmNet's chance before the logistic function.
        lines: (H / 16, W) float32, the same of a long scratch.
        window: in which it was found.
        judge: tells how likely each spot is damage.
        choice: which spots are to be repaired.
    """
    chance = 1 / (1 + np.exp(-logit))
    spots = candidates(chance, window)
    if not spots.count:
        return Damage(np.zeros_like(logit), np.zeros_like(logit), np.zeros(logit.shape, bool))
    known = features(spots, logit, lines, window)
    # The square of its thickness: a scratch is long and not large.
    size = spots.areas[1:] * known[:, FILL] * np.exp(-np.abs(known[:, SLENDER]))
    beyond = judge(known) - choice.threshold(judge, size)
    keep = np.concatenate(([False], (beyond > 0) & _asked_for(spots, window, choice)))
    sure = np.concatenate(([0.0], 1 / (1 + np.exp(-beyond)))).astype(np.float32)
    plain = spots.labels > spots.seen
    share = np.where(plain, (spots.excess - EXTENT) / (SEED - EXTENT), (chance - MAYBE) / (FULL - MAYBE))
    mask = np.where(keep[spots.labels], np.clip(share, 0, 1), 0).astype(np.float32)
    # Compression smears damage over its rim, which would be left as an outline.
    wide = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    rim = (wide > 0) & (np.abs(window.planes[8]) > _LEVEL)
    mask = np.where(rim, np.maximum(mask, cv2.blur(wide, (3, 3))), mask)
    return Damage(mask, sure[spots.labels], plain)


def _asked_for(spots: Spots, window: Window, choice: Choice) -> np.ndarray:
    """Which spots (K,) are of the size and polarity that were chosen."""
    side = np.sqrt(spots.areas[1:]) / spots.labels.shape[0]
    keep = (side >= choice.smallest) & (side <= choice.largest)
    if choice.polarity != "both":
        signs = np.sign(window.planes[7]).ravel()
        way = np.bincount(spots.labels.ravel(), signs, spots.count + 1)[1:]
        keep &= way < 0 if choice.polarity == "dark" else way > 0
    return keep
