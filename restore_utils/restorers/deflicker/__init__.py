"""Flicker, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(_source: Source, options: Mapping[str, Any], _device: object):
    from restore_utils.restorers.deflicker.model import Deflicker

    return Deflicker(**options)


ENTRY = Restorer(
    "deflicker",
    _build,
    (Option("strength", 1.0, low=0.0, high=1.0, help="share of the flicker to take out"),),
    task="flicker",
)
