"""Gate weave and jitter, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(_source: Source, options: Mapping[str, Any], _device: object):
    from restore_utils.restorers.steady.model import Steady

    return Steady(**options)


ENTRY = Restorer(
    "steady",
    _build,
    (
        Option("strength", 1.0, low=0.0, high=1.0, help="share of the weave to take out"),
        Option("smoothing", 9, low=1, high=240, help="frames over which the path of a free camera is smoothed"),
        Option("rotation", True, help="take out turning back and forth too"),
        Option("borders", "fill", choices=("fill", "crop"), help="fill the edges from neighbours, or enlarge a little"),
    ),
    task="gate weave and jitter",
)
