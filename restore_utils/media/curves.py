"""How samples that are no display values are shown to models, and written back: a view transform that can be undone.

Models are made for pictures as a display shows them. Film scans in printing densities (Cineon) look flat to them,
linear light (OpenEXR) dark. So RGB is taken through a curve on the way in and through its inverse on the way back.
Samples that no model touched never take that way.
"""

from __future__ import annotations

import numpy as np

CINEON, LINEAR = "cineon", "linear"
_DISPLAY_GAMMA = 2.2
_BLACK, _WHITE, _MOST = 95.0, 685.0, 1023.0
"""Codes of 10 bits: of the film's black, of its 90 % white, and the largest."""
_PER_DECADE = 300.0  # codes: a step is 0.002 of density, the negative's gamma is 0.6
_GAMMA = 1.7
_TOE, _SHOULDER = 0.02, 0.90
"""Where black and white are shown: what lies below and above keeps a straight line of its own, so nothing is lost."""
_OFFSET = 10 ** ((_BLACK - _WHITE) / _PER_DECADE)


def show(levels: np.ndarray, curve: str) -> np.ndarray:
    """Levels of the stored range, float32 [0, 1], as a display shows them, float32 [0, 1].

    Linear light gets a display's gamma. Of densities, what lies between black and white is converted as Kodak does it
    ("Conversion of 10-bit Log Film Data To 8-bit Linear or Video Data for the Cineon Digital Film System", 1995).
    """
    if curve == LINEAR:
        return levels ** np.float32(1 / _DISPLAY_GAMMA)
    if curve != CINEON:
        return levels
    codes = levels * np.float32(_MOST)
    light = (np.exp2((codes - _WHITE) * (np.log2(10) / _PER_DECADE)) - _OFFSET) / (1 - _OFFSET)
    shown = _TOE + (_SHOULDER - _TOE) * np.clip(light, 0, 1) ** (1 / _GAMMA)
    shown = np.where(codes < _BLACK, codes * (_TOE / _BLACK), shown)
    above = _SHOULDER + (codes - _WHITE) * ((1 - _SHOULDER) / (_MOST - _WHITE))
    return np.where(codes > _WHITE, above, shown).astype(np.float32)


def hold(shown: np.ndarray, curve: str) -> np.ndarray:
    """The inverse of show."""
    if curve == LINEAR:
        return shown ** np.float32(_DISPLAY_GAMMA)
    if curve != CINEON:
        return shown
    light = np.clip((shown - _TOE) / (_SHOULDER - _TOE), 0, 1) ** _GAMMA
    codes = _WHITE + np.log2(light * (1 - _OFFSET) + _OFFSET) * (_PER_DECADE / np.log2(10))
    codes = np.where(shown < _TOE, shown * (_BLACK / _TOE), codes)
    codes = np.where(shown > _SHOULDER, _WHITE + (shown - _SHOULDER) * ((_MOST - _WHITE) / (1 - _SHOULDER)), codes)
    return (codes / _MOST).astype(np.float32)
