"""Dust and blotches, without weights: a motion-compensated median in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(_source: Source, options: Mapping[str, Any], _device: object):
    from restore_utils.restorers.median.model import Median

    return Median(**options)


ENTRY = Restorer(
    "median",
    _build,
    (Option("strength", 1.0, low=0.1, high=4.0, help="above 1 also fainter specks go, below 1 only stronger ones"),),
    task="dust and blotches",
)
