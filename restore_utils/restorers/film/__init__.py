"""film-small: finds damage, says what was there, and leaves the rest of the picture alone.

model     the FrameModel: what each frame goes through
network   FilmNet                              scratches   long ones, told from lines of the scene
align     neighbours laid over a frame         lines       what runs from top to bottom of a frame
judge     how likely each spot is damage       heal        takes a scratch out
spots     which of them are repaired           cues        marks for the projectionist
grain     grain for repairs                    mask        a person's own masks

Its training is restore_utils.train.film.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.film.model import load

    return load(source.path, device=device, **options)


ENTRY = Restorer(
    "film",
    _build,
    (
        Option("strength", 1.0, low=0.0, high=1.0, help="0: nothing is changed, 1: damage is wholly replaced"),
        Option("grain", 1.0, low=0.0, high=4.0, help="grain of repairs, as a multiple of what is around them"),
        Option("mask", "", help="a still or clip of your own: white = repair, black = never touch, grey = decide"),
        Option("sensitivity", 0.5, low=0.0, high=1.0, help="0: only what is beyond doubt, 1: also what may be true"),
        Option("smallest", 0.0, low=0.0, high=1.0, help="side of the smallest spot, a share of the picture's height"),
        Option("largest", 1.0, low=0.0, high=2.0, help="side of the largest spot, a share of the picture's height"),
        Option("polarity", "both", choices=("both", "dark", "bright"), help="which way damage sticks out"),
    ),
    from_file=True,
)
