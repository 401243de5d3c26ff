"""Faded colour film: the balance of its dyes and their strength brought back, shot by shot, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(_source: Source, options: Mapping[str, Any], _device: object):
    from restore_utils.restorers.revive.model import load

    return load(**options)


ENTRY = Restorer(
    "revive",
    _build,
    (
        Option("strength", 1.0, low=0.0, high=1.0, help="share of the fading to take back"),
        Option("saturation", 1.0, low=0.0, high=3.0, help="factor on the colours that come of it"),
        Option("reference", "", help="a picture of the right colours: of this film, or of one like it"),
        Option("hints", "", help="a JSON file of points, strokes and regions whose colours you know, as for color"),
        Option("keep_luma", False, help="change colours only, and leave brightness and contrast as they are"),
    ),
    task="faded colour film: balance and strength of its dyes",
)
